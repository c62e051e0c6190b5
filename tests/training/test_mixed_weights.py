"""The mean of two networks' weights: the ends are the networks themselves, and only like goes with like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from training.errors import TrainingError
from training.mixed_weights import mix_with_start
from training.models.nano import Nano, NanoForExport
from training.onnx_file import run_onnx, write_onnx

SMALL = {"widths": (4, 4, 8, 8, 8), "depths": (1, 1, 1, 1)}
IMAGE = np.random.default_rng(0).uniform(0, 255, (1, 3, 64, 96)).astype(np.float32)


def _exported(path: Path, seed: int, size_px: tuple[int, int] = (64, 96), last: int = 8) -> Path:
    torch.manual_seed(seed)
    network = NanoForExport(Nano(**SMALL, decoder_widths=(8, 8, last))).eval()
    write_onnx(network, ("depth", "confidence"), size_px, {"model": "nano"}, path)
    return path


def _tensors(path: Path) -> dict[str, np.ndarray]:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


def test_the_ends_are_the_networks_themselves(tmp_path: Path) -> None:
    start = _exported(tmp_path / "start.onnx", seed=1, size_px=(32, 64))
    start_at_this_size = _exported(tmp_path / "same.onnx", seed=1)
    for share, expected in ((0.0, _exported(tmp_path / "trained.onnx", seed=2)), (1.0, start_at_this_size)):
        mixed = _exported(tmp_path / "mixed.onnx", seed=2)
        mix_with_start(mixed, start, share, mixed)
        for name, values in run_onnx(expected, IMAGE).items():
            np.testing.assert_allclose(run_onnx(mixed, IMAGE)[name], values, rtol=1e-5)


def test_between_them_lies_the_mean_and_the_file_says_so(tmp_path: Path) -> None:
    start, mixed = _exported(tmp_path / "start.onnx", seed=1), _exported(tmp_path / "mixed.onnx", seed=2)
    ours, theirs = _tensors(mixed), _tensors(start)
    mix_with_start(mixed, start, 0.25, mixed)
    model = onnx.load(mixed)
    weights = [name for node in model.graph.node if node.op_type == "Conv" for name in node.input[1:]]
    stored = _tensors(mixed)
    for name in weights:
        np.testing.assert_allclose(stored[name], 0.75 * ours[name] + 0.25 * theirs[name], atol=1e-6)
    assert {p.key: p.value for p in model.metadata_props} == {"model": "nano", "start_share": "0.25"}


def test_another_architecture_and_no_share_are_refused_and_change_nothing(tmp_path: Path) -> None:
    trained = _exported(tmp_path / "trained.onnx", seed=2)
    before = trained.read_bytes()
    with pytest.raises(TrainingError, match="of another architecture"):
        mix_with_start(trained, _exported(tmp_path / "wide.onnx", seed=1, last=12), 0.5, trained)
    with pytest.raises(TrainingError, match="from 0 to 1"):
        mix_with_start(trained, trained, 1.5, trained)
    assert trained.read_bytes() == before
