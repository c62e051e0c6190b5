"""Exported official networks against the reference's own outputs: in single precision, and in mixed within 1 %."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from test_golden_metric3d import ENTRIES, FOLDER, seeded_image, seeded_network

from training.export import export_official
from training.mixed_precision import keeps_nothing_single, keeps_single, measure
from training.models.nano import IMAGENET_MEAN_RGB, IMAGENET_STD_RGB
from training.models.raw_image import stride_px
from training.onnx_file import run_onnx

pytestmark = [
    pytest.mark.golden,
    pytest.mark.slow,
    pytest.mark.skipif(not ENTRIES, reason=f"no golden data at {FOLDER}"),
]

FULL_SIZE_PIXELS = 500_000
MAX_DEPTH_ERROR_P99 = 0.01


def raw_image(entry) -> np.ndarray:
    """The golden image before normalisation."""
    normalised = seeded_image(entry["height"], entry["width"], entry["block"], entry["seed"]).numpy()
    mean, std = (np.float32(values).reshape(1, 3, 1, 1) for values in (IMAGENET_MEAN_RGB, IMAGENET_STD_RGB))
    return normalised * std + mean


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: Path(entry["file"]).stem)
def test_an_exported_network_gives_the_golden_maps(entry, tmp_path) -> None:
    size_px = (entry["height"], entry["width"])
    network = seeded_network(entry["model"])
    if any(side % stride_px(network) for side in size_px):
        pytest.skip(f"{entry['file']} is of a size that is not exported: its maps are smaller than the image")
    golden = np.load(FOLDER / entry["file"])
    image, stride = raw_image(entry), entry["stride"]

    difference = export_official(entry["model"], network, "golden", *size_px, tmp_path / "network.onnx")
    found = run_onnx(tmp_path / "network.onnx", image)

    assert difference < 1e-3
    np.testing.assert_allclose(found["depth"][0, 0, ::stride, ::stride], golden["depth"], atol=1e-3, rtol=0)
    np.testing.assert_allclose(
        found["confidence"][0, 0, ::stride, ::stride], golden["confidence"], atol=5e-5, rtol=0
    )
    if "normals" in found:
        normals = golden["normal_kappa"][:3]
        np.testing.assert_allclose(found["normals"][0, :, ::stride, ::stride], normals, atol=1e-4, rtol=0)
    if image[0, 0].size < FULL_SIZE_PIXELS:  # the full sizes are in docs/mixed_precision.md: minutes on a CPU
        model = onnx.load(tmp_path / "network.onnx")
        mixed, plain = (measure(model, rule, image) for rule in (keeps_single, keeps_nothing_single))
        assert mixed.depth_p99 <= MAX_DEPTH_ERROR_P99
        assert mixed.depth_p99 < 0.7 * plain.depth_p99
