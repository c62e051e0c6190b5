"""A graph that looks twice: what each look sees, how it is put together, and what its file holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch.nn import functional

from metric3d_ros.letterbox import PADDING_RGB
from training.errors import TrainingError
from training.mixed_weights import mix_with_start
from training.models.nano import Nano, NanoForExport
from training.onnx_file import convolutions_of_looks, run_onnx, write_onnx
from training.two_looks import TwoLooks, overview_size_px
from training.warm_start import restore_weights

SMALL = {"widths": (4, 4, 8, 8, 8), "depths": (1, 1, 1, 1), "decoder_widths": (8, 8, 8)}
SIZE_PX, OVERVIEW_PX = (96, 192), (64, 128)
OUTPUTS = ("depth", "confidence")
IMAGE = np.random.default_rng(0).uniform(0, 255, (1, 3, *SIZE_PX)).astype(np.float32)


def _network(seed: int) -> Nano:
    torch.manual_seed(seed)
    network = Nano(**SMALL)
    torch.nn.init.normal_(network.head.weight, std=0.3)
    return network.eval()


def _exported(path: Path, seed: int) -> Path:
    write_onnx(TwoLooks(_network(seed), *SIZE_PX).eval(), OUTPUTS, SIZE_PX, {}, path, looks_twice=True)
    return path


def _exported_once(path: Path, seed: int) -> Path:
    write_onnx(NanoForExport(_network(seed)).eval(), OUTPUTS, SIZE_PX, {}, path)
    return path


def _once(network: Nano, image: torch.Tensor) -> list[np.ndarray]:
    with torch.inference_mode():
        return [output[0, 0].numpy() for output in NanoForExport(network)(image)]


def _twice(network: Nano, image: torch.Tensor, first_row: int) -> list[np.ndarray]:
    with torch.inference_mode():
        outputs = TwoLooks(network, *SIZE_PX).eval()(image, torch.tensor([float(first_row)]))
    return [output[0, 0].numpy() for output in outputs]


def _overview(network: Nano, image: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Log depth and confidence of the smaller image, at the size of the input and at the scale of its own."""
    smaller = functional.interpolate(image, size=OVERVIEW_PX, mode="bilinear", align_corners=False)
    with torch.inference_mode():
        log_depth, logit = network(smaller)
    parts = (log_depth, torch.sigmoid(logit))
    log_depth, confidence = (
        functional.interpolate(part, size=SIZE_PX, mode="bilinear", align_corners=False)[0, 0].numpy()
        for part in parts
    )
    return log_depth, confidence


def _lower(network: Nano, image: torch.Tensor, first_row: int) -> tuple[np.ndarray, np.ndarray]:
    """Log depth and confidence of the image with padding over a row."""
    parted = image.clone()
    parted[:, :, :first_row] = torch.tensor(PADDING_RGB).view(1, 3, 1, 1)
    depth, confidence = _once(network, parted)
    return np.log(depth), confidence


@pytest.mark.parametrize("first_row", [0, 20])
def test_both_looks_are_averaged_below_the_row_and_the_overview_is_alone_over_it(first_row):
    """An overview at the scale that all below has in the lower look; the lower look comes in over 32 rows."""
    network, image = _network(1), torch.from_numpy(IMAGE)
    log_over, confidence_over = _overview(network, image)
    log_below, confidence_below = _lower(network, image, first_row)
    weight = (confidence_below * confidence_over)[first_row::4, ::4]
    difference = (log_below - log_over)[first_row::4, ::4]
    log_over = log_over + (weight * difference).sum() / weight.sum()
    rows = np.arange(SIZE_PX[0])[:, None]
    lower = 0.7 * np.clip((rows - first_row + 1) / 32, 0, 1)
    depth, confidence = _twice(network, image, first_row)
    np.testing.assert_allclose(depth, np.exp(lower * log_below + (1 - lower) * log_over), rtol=1e-4)
    np.testing.assert_allclose(confidence, lower * confidence_below + (1 - lower) * confidence_over, rtol=1e-4)
    np.testing.assert_allclose(depth[:first_row], np.exp(log_over[:first_row]), rtol=1e-4)
    np.testing.assert_allclose(confidence[:first_row], confidence_over[:first_row], rtol=1e-4)


def test_an_overview_of_which_nothing_is_known_below_has_its_own_scale():
    """Two thirds of the pixels a side see two thirds of the focal length: the same metres, 1.5 canonical ones."""
    network, image = _network(1), torch.from_numpy(IMAGE)
    depth, _ = _twice(network, image, SIZE_PX[0])
    np.testing.assert_allclose(depth, np.exp(_overview(network, image)[0]) / 1.5, rtol=1e-4)


def test_a_file_holds_the_weights_once(tmp_path):
    path = _exported(tmp_path / "twice.onnx", seed=1)
    once = _exported_once(tmp_path / "once.onnx", seed=1)
    assert path.stat().st_size - once.stat().st_size < 50_000
    looks = convolutions_of_looks(onnx.load(path).graph)
    assert len(looks) == 2
    assert [node.input[1] for node in looks[0]] == [node.input[1] for node in looks[1]]


def test_a_run_may_begin_with_such_a_file(tmp_path):
    path, network = _exported(tmp_path / "twice.onnx", seed=1), Nano(**SMALL)
    restore_weights(network, path, torch.from_numpy(IMAGE))
    for found, expected in zip(
        _once(network, torch.from_numpy(IMAGE)), _once(_network(1), torch.from_numpy(IMAGE)), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("exported_start", [_exported, _exported_once])
def test_it_may_be_mixed_with_a_start_that_looks_once_or_twice(tmp_path, exported_start):
    start = exported_start(tmp_path / "start.onnx", seed=2)
    trained, expected = _exported(tmp_path / "trained.onnx", seed=1), _exported(tmp_path / "same.onnx", seed=2)
    mixed = tmp_path / "mixed.onnx"
    mix_with_start(trained, start, 1.0, mixed)
    for name, values in run_onnx(expected, IMAGE).items():
        np.testing.assert_allclose(run_onnx(mixed, IMAGE)[name], values, rtol=1e-5)
    assert mixed.stat().st_size < 1.01 * trained.stat().st_size
    mix_with_start(trained, start, 0.5, mixed)
    assert not np.allclose(run_onnx(mixed, IMAGE)["depth"], run_onnx(trained, IMAGE)["depth"])


def test_an_overview_is_smaller_and_of_the_same_shape():
    assert overview_size_px(352, 1056) == (256, 768)
    for size_px in ((32, 64), (64, 160), (32, 32)):
        with pytest.raises(TrainingError, match="no smaller or of another shape"):
            overview_size_px(*size_px)
