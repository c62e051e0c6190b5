"""A run that starts from an exported network starts with exactly its outputs, and says so when it cannot."""

from __future__ import annotations

import hashlib

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from training.errors import TrainingError
from training.models.nano import Nano, NanoForExport
from training.warm_start import check_sha256, measure_normalisation, restore_weights

WIDTHS, DEPTHS, DECODER_WIDTHS = (8, 12, 16, 20, 24), (1, 1, 1, 1), (20, 16, 12)
SIZE_PX = (64, 96)


def small_network(seed: int, decoder_widths: tuple[int, ...] = DECODER_WIDTHS) -> Nano:
    """A network whose every normalisation has statistics, gains and shifts of its own."""
    torch.manual_seed(seed)
    network = Nano(WIDTHS, DEPTHS, decoder_widths)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    nn.init.normal_(network.head.weight, std=0.1)
    return network.eval()


def batches_of_images(seed: int, count: int = 4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 6, 3, 8, 12, generator=generator) * 255
    return [nn.functional.interpolate(batch, size=SIZE_PX, mode="bilinear") for batch in coarse]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "small.onnx"
    torch.onnx.export(
        NanoForExport(small_network(1)).eval(),
        (torch.zeros(1, 3, *SIZE_PX),),
        str(path),
        input_names=["image"],
        output_names=["depth", "confidence"],
        opset_version=16,
        dynamo=False,
    )
    return path


def outputs(network: nn.Module, image: torch.Tensor) -> list[np.ndarray]:
    with torch.inference_mode():
        return [output.numpy() for output in NanoForExport(network).eval()(image)]


def test_a_restored_network_gives_what_the_file_gives(exported):
    network = small_network(2)
    (images,) = batches_of_images(0, 1)
    restore_weights(network, exported, images[:1])
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"image": images[:1].numpy()})
    for found, wanted in zip(outputs(network, images[:1]), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_measuring_changes_the_statistics_but_no_output(exported):
    network = small_network(2)
    batches = batches_of_images(0)
    restore_weights(network, exported, batches[0][:1])
    before = outputs(network, batches[0])
    measure_normalisation(network, batches)
    for found, wanted in zip(outputs(network, batches[0]), before, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=1e-5)


def test_a_measured_network_means_the_same_while_it_trains(exported):
    """Without the measurement, the first training step would normalise away what the file has learned."""
    batches = batches_of_images(0)
    errors = []
    for measured in (False, True):
        network = small_network(2)
        restore_weights(network, exported, batches[0][:1])
        if measured:
            measure_normalisation(network, batches)
        with torch.inference_mode():
            restful, _ = network.eval()(batches[1])
            training, _ = network.train()(batches[1])
        errors.append(float((training - restful).abs().mean() / restful.std()))
    assert errors[1] < 0.5 * errors[0]


def test_a_network_with_a_finer_last_step_begins_with_what_the_file_gives_and_learns_in_it(exported):
    torch.manual_seed(3)
    network = Nano(WIDTHS, DEPTHS, (*DECODER_WIDTHS, 8))
    batches = batches_of_images(0)
    restore_weights(network, exported, batches[0][:1])
    measure_normalisation(network, batches)
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"image": batches[0][:1].numpy()})
    for found, wanted in zip(outputs(network.eval(), batches[0][:1]), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=1e-5)
    assert network.fine is not None
    log_depth, _ = network.train()(batches[0])
    log_depth.square().mean().backward()
    assert network.fine.head.weight.grad is not None
    assert float(network.fine.head.weight.grad.abs().sum()) > 0


def test_a_file_with_a_finer_last_step_is_not_for_a_network_without(tmp_path):
    path = tmp_path / "fine.onnx"
    fine = NanoForExport(small_network(1, (*DECODER_WIDTHS, 8))).eval()
    torch.onnx.export(fine, (torch.zeros(1, 3, *SIZE_PX),), str(path), opset_version=16, dynamo=False)
    with pytest.raises(TrainingError, match="another architecture"):
        restore_weights(small_network(2), path, torch.zeros(1, 3, *SIZE_PX))
    again = small_network(2, (*DECODER_WIDTHS, 8))
    (images,) = batches_of_images(0, 1)
    restore_weights(again, path, images[:1])
    for found, wanted in zip(outputs(again, images[:1]), outputs(fine.network, images[:1]), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_another_architecture_or_another_file_is_refused(exported, tmp_path):
    wide = Nano((8, 12, 16, 20, 28), DEPTHS, DECODER_WIDTHS)
    with pytest.raises(TrainingError, match="another architecture"):
        restore_weights(wide, exported, torch.zeros(1, 3, *SIZE_PX))
    check_sha256(exported, hashlib.sha256(exported.read_bytes()).hexdigest())
    with pytest.raises(TrainingError, match="the recipe wants 0000"):
        check_sha256(exported, "0000")
    with pytest.raises(TrainingError, match=r"no network\.initial at"):
        check_sha256(tmp_path / "none.onnx", "0000")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a network")
    with pytest.raises(TrainingError, match="cannot be read as ONNX"):
        restore_weights(wide, broken, torch.zeros(1, 3, *SIZE_PX))
