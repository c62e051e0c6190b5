"""The depth node's parameters: declared with description and range, and read as one value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from metric3d_ros.camera_height import KnownCameraHeight
from metric3d_ros.engines.choice import AUTO, CHOICES, EngineRequest, open_engine
from metric3d_ros.engines.engine import MAX_HEADROOM_DEG, DepthEngine
from metric3d_ros.engines.tensorrt_api import FP32
from metric3d_ros.estimator import MAX_DEPTH_M, MetricDepthEstimator
from metric3d_ros.model_zoo import model_path
from metric3d_ros.ros.depth_outputs import OUTPUTS
from metric3d_ros.ros.lifecycle import AutostartNode

MODEL_THRESHOLD = -1.0
MODEL_HEADROOM = -1.0
UNKNOWN_HEIGHT = 0.0
CPU = "onnxruntime_cpu"
RAW, COMPRESSED = "raw", "compressed"
TRANSPORTS = (RAW, COMPRESSED)


@dataclass(frozen=True)
class DepthTuning:
    """What may change while the node runs.

    Attributes
    ----------
    rectified : the images are rectified, so that P is their camera; otherwise the node rectifies them.
    max_depth_m : depth beyond it is no reading.
    min_confidence : confidence below it is no reading; None takes the model's own threshold.
    camera_height_m : of the camera above flat ground, which gives depth its scale; None leaves the network's.
    headroom_deg : what lies higher is hidden from the network's closer look; None takes the model's own, 0 hides
        nothing.
    """

    rectified: bool
    max_depth_m: float
    min_confidence: float | None
    camera_height_m: float | None
    headroom_deg: float | None = None

    def estimator(self, engine: DepthEngine, before: MetricDepthEstimator | None = None) -> MetricDepthEstimator:
        """The estimator that runs ``engine`` so, with what one ``before`` it read of the same camera height.

        Raises
        ------
        CameraError
            If the camera height is not a positive number.
        EngineError
            If headroom is asked of a network that looks once.
        """
        camera_height = before.camera_height if before is not None else None
        if self.camera_height_m is None:
            camera_height = None
        elif camera_height is None or camera_height.height_m != self.camera_height_m:
            camera_height = KnownCameraHeight(self.camera_height_m)
        return MetricDepthEstimator(
            engine, self.max_depth_m, self.min_confidence, camera_height, self.headroom_deg
        )


def declare_parameters(node: AutostartNode) -> None:
    """Declare every parameter of the depth node."""
    node.declare_described("model", "nano", "Name of a packaged model, or the path of an ONNX file.")
    node.declare_described(
        "engine", AUTO, f"What runs the network: {', '.join(CHOICES)}; auto takes the best that works."
    )
    node.declare_described(
        "precision", FP32, "fp32, or fp16 for engines that compile; building one takes minutes, once."
    )
    node.declare_described("threads", 0, "CPU threads of one inference; 0 takes every core.", bounds=(0, 256))
    node.declare_described(
        "image_transport", RAW, "raw subscribes to image, compressed to image/compressed (CompressedImage)."
    )
    node.declare_described(
        "rectified",
        True,
        "True: images are rectified, P is their camera; false: K and D are, and the node rectifies to P.",
        read_only=False,
    )
    node.declare_described(
        "max_depth_m",
        MAX_DEPTH_M,
        "Depth beyond this is published as NaN.",
        read_only=False,
        bounds=(0.1, 10_000.0),
    )
    node.declare_described(
        "min_confidence",
        MODEL_THRESHOLD,
        "Confidence below this is published as NaN; -1 takes the model's own threshold.",
        read_only=False,
        bounds=(-1.0, 1.0),
    )
    node.declare_described(
        "camera_height_m",
        UNKNOWN_HEIGHT,
        "Height of the lens above flat ground, which gives depth its scale; 0 where it is not known.",
        read_only=False,
        bounds=(0.0, 100.0),
    )
    node.declare_described(
        "headroom_deg",
        MODEL_HEADROOM,
        "What lies higher over the principal row than this is hidden from the closer look of a network that looks "
        "twice; 0 hides nothing, as indoors; -1 takes the model's own.",
        read_only=False,
        bounds=(-1.0, MAX_HEADROOM_DEG),
    )
    for output in OUTPUTS:
        node.declare_described(output.parameter, output.is_on, f"Offer {output.topic}: {output.description}")


def tuning_of(node: AutostartNode, changes: Iterable[Any] = ()) -> DepthTuning:
    """The tuning as the node's parameters have it once ``changes`` (rclpy Parameters) are made."""
    changed = {parameter.name: parameter.value for parameter in changes}

    def value_of(name: str) -> Any:
        return changed[name] if name in changed else node.value_of(name)

    min_confidence = value_of("min_confidence")
    camera_height_m, headroom_deg = value_of("camera_height_m"), value_of("headroom_deg")
    return DepthTuning(
        rectified=value_of("rectified"),
        max_depth_m=value_of("max_depth_m"),
        min_confidence=None if min_confidence == MODEL_THRESHOLD else min_confidence,
        camera_height_m=None if camera_height_m == UNKNOWN_HEIGHT else camera_height_m,
        headroom_deg=None if headroom_deg == MODEL_HEADROOM else headroom_deg,
    )


def refusal_of(changes: Iterable[Any]) -> str:
    """Why these parameters (rclpy Parameters) cannot be; empty where they can."""
    for parameter in changes:
        if parameter.name == "min_confidence" and MODEL_THRESHOLD < parameter.value < 0:
            return (
                f"min_confidence {parameter.value:g} is below 0; give 0 to 1, or -1 for the model's own threshold."
            )
        if parameter.name == "headroom_deg" and MODEL_HEADROOM < parameter.value < 0:
            return f"headroom_deg {parameter.value:g} is below 0; give 0 for none, or -1 for the model's own."
        if parameter.name == "image_transport" and parameter.value not in TRANSPORTS:
            return f"image_transport {parameter.value!r} is not known; use {' or '.join(TRANSPORTS)}."
    return ""


def open_engine_of(node: AutostartNode) -> DepthEngine:
    """The engine that the node's parameters ask for.

    Raises
    ------
    Metric3dError
        If there is no such model, or the engine does not run it here.
    """
    request = EngineRequest(
        model_path(node.value_of("model")),
        precision=node.value_of("precision"),
        threads=node.value_of("threads"),
    )
    return open_engine(request, node.value_of("engine"))
