"""From annotations to the robot: a short run, its export, and the depth node that runs it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from annotated_ground import HEIGHT_PX, WIDTH_PX, ground_values, write_ground

from metric3d_ros.estimator import MetricDepthEstimator
from training.annotated_views import AnnotatedViews
from training.errors import TrainingError
from training.fabric_trainer import fit
from training.label_kind import LabelKind
from training.run_export import export_run, main
from training.run_recipe import run_recipe_from_values

STEPS = 80


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    values = ground_values(write_ground(folder / "data", images=48), folder / "out")
    values["schedule"] = {"steps": STEPS, "warmup_steps": 5}
    values["losses"] = {"log_l1": 1.0, "silog": 0.5, "image_scale": 0.5, "confidence_entropy": 0.2}
    values["batch_size"] = 8
    values["log_every_steps"] = 20
    values["checkpoint_every_steps"] = STEPS
    return fit(run_recipe_from_values(values), quiet=True)


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "ground.onnx"
    assert main([str(run.recipe.output) + "/checkpoint.pt", "--out", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def unseen(tmp_path_factory):
    """Two grounds the run has not seen, through cameras of their own."""
    return AnnotatedViews(write_ground(tmp_path_factory.mktemp("unseen"), images=8, seed=77), LabelKind.DENSE)


def abs_rel(found_m, true_m) -> float:
    counted = np.isfinite(true_m) & (true_m < 40) & np.isfinite(found_m)
    assert counted.sum() > 0.9 * (np.isfinite(true_m) & (true_m < 40)).sum()
    return float(np.mean(np.abs(found_m[counted] / true_m[counted] - 1)))


@pytest.mark.slow
def test_the_engine_reads_metres_of_ground_it_has_not_seen(exported, unseen):
    estimator = MetricDepthEstimator(
        MetricDepthEstimator.from_model(str(exported), threads=1).engine, min_confidence=0.0
    )
    errors = [
        abs_rel(estimator.predict(view.image, view.camera).depth_m, view.depth_m)
        for view in (unseen[index] for index in range(8))
    ]
    assert np.mean(errors) < 0.3


def test_the_file_says_where_it_is_from(run, exported):
    properties = {p.key: p.value for p in onnx.load(exported).metadata_props}
    assert properties["recipe_sha256"] == run.recipe.sha256()
    assert properties["training_steps"] == str(STEPS)
    assert (properties["input_height_px"], properties["input_width_px"]) == (str(HEIGHT_PX), str(WIDTH_PX))


def test_a_run_without_canonical_space_is_not_exported(run, tmp_path):
    from dataclasses import replace

    metres = replace(run.checkpoint(), recipe=replace(run.recipe, canonical="none"))
    with pytest.raises(TrainingError, match="canonical=none"):
        export_run(metres, None, tmp_path / "no.onnx")
    with pytest.raises(TrainingError, match="multiples of 32"):
        export_run(run.checkpoint(), (60, 128), tmp_path / "no.onnx")
    with pytest.raises(TrainingError, match="the headroom is 60 degrees; give one from 0 to below 45"):
        export_run(run.checkpoint(), None, tmp_path / "no.onnx", headroom_deg=60)
    with pytest.raises(TrainingError, match="did not begin with an exported network"):
        export_run(run.checkpoint(), None, tmp_path / "no.onnx", start_share=0.5)
    assert not list(tmp_path.iterdir())


@pytest.mark.ros
@pytest.mark.slow
def test_the_depth_node_runs_what_was_trained(exported, unseen, tmp_path):
    pytest.importorskip("rclpy", reason="rclpy is not installed: source a ROS install or take the [ros] extra")
    from graph_probe import GraphProbe, NodeProcess, info_message, rgb_message
    from sensor_msgs.msg import CameraInfo, Image

    from metric3d_ros.ros.messages import depth_m_from_message

    view = unseen[0]
    camera = view.camera
    info = info_message(camera.width_px, camera.height_px, camera.fx, 10)
    info.k[2], info.k[5] = camera.cx, camera.cy
    info.p[2], info.p[6] = camera.cx, camera.cy
    reliable = {
        f"qos_overrides./{topic}.subscription.reliability": "reliable" for topic in ("image", "camera_info")
    }
    parameters = {"model": str(exported), "threads": "1", "min_confidence": "0.0", **reliable}
    probe = GraphProbe()
    node = NodeProcess("metric3d_ros.ros.depth_node", tmp_path / "depth.log", parameters)
    try:
        images, infos = probe.publisher(Image, "image"), probe.publisher(CameraInfo, "camera_info")
        depth = probe.collect(Image, "depth/image")
        assert probe.wait_for(lambda: images.get_subscription_count() == infos.get_subscription_count() == 1)
        assert probe.wait_for(lambda: probe.node.count_publishers("depth/image") == 1), node.log
        probe.spin_for(0.5)
        infos.publish(info)
        probe.spin_for(0.3)
        images.publish(rgb_message(view.image, 10))
        assert probe.wait_for(lambda: len(depth) >= 1), node.log
    finally:
        node.stop()
        probe.close()
    assert abs_rel(depth_m_from_message(depth[0]), view.depth_m) < 0.4
