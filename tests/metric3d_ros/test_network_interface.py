"""Which network files are depth networks, and at what size they are run."""

from __future__ import annotations

import numpy as np
import pytest
from networks import write_network

from metric3d_ros.engines.agreement import street_picture
from metric3d_ros.engines.network_interface import FREE_SIZE_PX, read_interface
from metric3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from metric3d_ros.errors import EngineError

COMMUNITY_OUTPUTS = ("predicted_depth", "normal_confidence", "predicted_normal")
FREE = {"height_px": "height", "width_px": "width", "batch": "batch_size"}


def community(path, **options):
    """A file with the community export's names; its normal_confidence must not be taken for the depth's."""
    return write_network(path, inputs=("pixel_values",), outputs=COMMUNITY_OUTPUTS, **{**FREE, **options})


@pytest.mark.parametrize("rank", [3, 4])
def test_community_files_load(tmp_path, rank):
    engine = OnnxRuntimeEngine(community(tmp_path / "metric3d-vit-small.onnx", rank=rank), size_px=(28, 56))
    picture = street_picture(28, 56)
    output = engine.run(picture)
    np.testing.assert_array_equal(output.depth_canonical, picture[..., 0])
    assert output.confidence is None
    np.testing.assert_allclose(output.normals[..., 0], picture[..., 0] / 255, rtol=1e-6)
    assert (output.normals[..., 2] == -1).all()
    assert engine.model.name == "metric3d-vit-small"
    assert engine.model.canonical_focal_px == 1000
    assert engine.model.min_confidence == -np.inf
    assert not engine.model.gives_confidence
    assert OnnxRuntimeEngine(write_network(tmp_path / "ours.onnx")).model.gives_confidence


def test_a_network_that_looks_twice_is_told_where(tmp_path):
    picture = street_picture(32, 64)
    path = write_network(tmp_path / "twice.onnx", first_row_shape=[1], metadata={"headroom_deg": "6"})
    engine = OnnxRuntimeEngine(path)
    assert engine.model.looks_twice
    assert engine.model.headroom_deg == 6
    np.testing.assert_array_equal(engine.run(picture).depth_canonical, picture[..., 0])
    parted = engine.run(picture, first_row=12).depth_canonical
    np.testing.assert_array_equal(parted[:12], picture[:12, :, 1])
    np.testing.assert_array_equal(parted[12:], picture[12:, :, 0])
    once = OnnxRuntimeEngine(write_network(tmp_path / "once.onnx"))
    assert not once.model.looks_twice
    with pytest.raises(EngineError, match="once looks once, not over and under row 12"):
        once.run(picture, first_row=12)


def test_a_file_of_free_size_is_run_at_the_size_it_was_trained_at(tmp_path):
    model = OnnxRuntimeEngine(community(tmp_path / "free.onnx")).model
    assert (model.input_height_px, model.input_width_px) == FREE_SIZE_PX == (616, 1064)


def test_one_free_length_is_enough_to_ask_for(tmp_path):
    path = community(tmp_path / "half_free.onnx", height_px=28)
    assert OnnxRuntimeEngine(path).model.input_height_px == 28
    with pytest.raises(EngineError, match="takes 28x56 px only, not 56x56"):
        OnnxRuntimeEngine(path, size_px=(56, 56))


@pytest.mark.parametrize("size_px", [(30, 56), (28, 42), (0, 28)])
def test_a_free_size_must_fit_the_patches(tmp_path, size_px):
    with pytest.raises(EngineError, match="must be multiples of 28, such as 616x1064"):
        OnnxRuntimeEngine(community(tmp_path / "free.onnx"), size_px=size_px)


def test_a_fixed_size_is_what_it_is(tmp_path):
    path = write_network(tmp_path / "fixed.onnx")
    assert OnnxRuntimeEngine(path, size_px=(32, 64)).model.input_width_px == 64
    with pytest.raises(EngineError, match=r"fixed\.onnx takes 32x64 px only, not 616x1064; leave the size out or"):
        OnnxRuntimeEngine(path, size_px=(616, 1064))


NO_DEPTH_NETWORK = [
    ({"inputs": ("data",)}, "goes from data to depth, confidence, normals, which is no depth network"),
    ({"inputs": ("image", "intrinsics")}, "goes from image, intrinsics to depth"),
    ({"outputs": ("disparity",)}, "goes from image to disparity"),
    ({"inputs": ("pixel_values",)}, "goes from pixel_values to depth"),
    ({"batch": 2}, r"takes an input of shape \(2, 3, 32, 64\), not one RGB image"),
    ({"metadata": {"canonical_focal_px": "long"}}, "canonical_focal_px is 'long'; it must be a number"),
    ({"metadata": {"canonical_focal_px": "-1000"}}, "canonical_focal_px is '-1000'; it must be"),
    ({"metadata": {"canonical_focal_px": "0"}}, "canonical_focal_px is '0'; it must be"),
    ({"metadata": {"min_confidence": "nan"}}, "min_confidence is 'nan'; it must be a number"),
    ({"metadata": {"placement": "left"}}, "placement is 'left'; it must be image_centre or principal_row"),
    ({"metadata": {"headroom_deg": "6"}}, "headroom_deg is 6 but has no input first_row, so it looks once"),
    (
        {"metadata": {"headroom_deg": "60"}, "first_row_shape": [1]},
        "headroom_deg is 60; it must be from 0 to below 45",
    ),
    ({"first_row_shape": [1, 1]}, r"first_row of shape \(1, 1\), not one number \(1,\)"),
    ({"metadata": {"headroom_deg": "high"}}, "headroom_deg is 'high'; it must be a number"),
]


@pytest.mark.parametrize(
    ("options", "sentence"), NO_DEPTH_NETWORK, ids=[str(case[0]) for case in NO_DEPTH_NETWORK]
)
def test_other_networks_are_refused_in_one_sentence(tmp_path, options, sentence):
    with pytest.raises(EngineError, match=sentence) as refused:
        OnnxRuntimeEngine(write_network(tmp_path / "other.onnx", **options))
    assert "\n" not in str(refused.value)


def test_a_network_without_confidence_and_normals_gives_depth(tmp_path):
    output = OnnxRuntimeEngine(write_network(tmp_path / "bare.onnx", outputs=("depth",))).run(
        street_picture(32, 64)
    )
    assert output.confidence is None
    assert output.normals is None


def test_a_confidence_without_bounds_may_keep_every_depth(tmp_path):
    path = write_network(tmp_path / "raw.onnx", metadata={"min_confidence": "-inf"})
    assert OnnxRuntimeEngine(path).model.min_confidence == -np.inf


def test_maps_of_another_size_than_the_input_are_refused():
    interface = read_interface({"image": (1, 3, 32, 64)}, ["depth"], {}, "small.onnx")
    with pytest.raises(EngineError, match=r"small gave depth of shape \(1, 1, 28, 56\) for an input of"):
        interface.network_output({"depth": np.zeros((1, 1, 28, 56), np.float32)})


def test_half_precision_maps_become_float32():
    interface = read_interface({"image": (1, 3, 2, 4)}, ["depth"], {}, "half.onnx")
    output = interface.network_output({"depth": np.ones((1, 1, 2, 4), np.float16)})
    assert output.depth_canonical.dtype == np.float32
