"""Runs a depth network's ONNX file through ONNX Runtime on the CPU.

The file takes ``image`` (1, 3, H, W) float32, raw RGB from 0 to 255, and gives ``depth`` and, optionally,
``confidence``, both (1, 1, H, W); its metadata says the model's name and canonical focal length.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from metric3d_ros.canonical import CANONICAL_FOCAL_PX
from metric3d_ros.engines.engine import ModelInfo, NetworkOutput
from metric3d_ros.errors import EngineError

RANK_OF_IMAGE_BATCH = 4


class OnnxRuntimeEngine:
    """A depth network loaded from an ONNX file.

    Parameters
    ----------
    path : the ONNX file.
    threads : threads for one inference; 0 lets ONNX Runtime take every core.

    Raises
    ------
    EngineError
        If the file is missing, is not ONNX, or lacks the input or outputs a depth network has.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        self._path = path
        self._session = _open_session(path, threads)
        self._model = _model_info(self._session, path)
        self._output_names = [output.name for output in self._session.get_outputs()]
        if "depth" not in self._output_names:
            raise EngineError(
                f"{path} gives {', '.join(self._output_names)} but no output named depth; "
                "export it with training.export."
            )

    @property
    def model(self) -> ModelInfo:
        """The network's description, from the file's metadata."""
        return self._model

    @property
    def identity(self) -> str:
        """The engine in a few words."""
        provider = self._session.get_providers()[0]
        return f"onnxruntime {onnxruntime.__version__} {provider} {self._path.name}"

    def run(self, network_image: NDArray[np.uint8]) -> NetworkOutput:
        """Depth of one letterboxed RGB image (input height, input width, 3), uint8."""
        expected = (self._model.input_height_px, self._model.input_width_px, 3)
        if network_image.shape != expected:
            raise EngineError(
                f"network image has shape {network_image.shape}, {self._model.name} takes {expected}; "
                "letterbox it first."
            )
        batch = np.ascontiguousarray(network_image.transpose(2, 0, 1)[None], dtype=np.float32)
        try:
            values: list[NDArray[np.float32]] = self._session.run(None, {"image": batch})
        except Exception as error:
            raise EngineError(f"{self._path.name} failed on an image: {error}") from error
        maps = dict(zip(self._output_names, values, strict=True))
        confidence = maps.get("confidence")
        return NetworkOutput(
            depth_canonical=maps["depth"][0, 0],
            confidence=None if confidence is None else confidence[0, 0],
        )


def _open_session(path: Path, threads: int) -> Any:
    if not path.is_file():
        raise EngineError(f"model file {path} is not there; give a model name or the path of an ONNX file.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Threads that spin between images take the cores from the SLAM beside them, and from their own next image.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise EngineError(f"{path} cannot be loaded as an ONNX network: {error}") from error


def _model_info(session: Any, path: Path) -> ModelInfo:
    inputs = {entry.name: entry.shape for entry in session.get_inputs()}
    shape = inputs.get("image")
    if shape is None or len(shape) != RANK_OF_IMAGE_BATCH or not all(isinstance(n, int) for n in shape[1:]):
        raise EngineError(
            f"{path} takes {inputs}, not a fixed-size image (1, 3, H, W); export it with training.export."
        )
    metadata = session.get_modelmeta().custom_metadata_map
    return ModelInfo(
        name=metadata.get("model", path.stem),
        input_height_px=shape[2],
        input_width_px=shape[3],
        canonical_focal_px=_number(metadata, "canonical_focal_px", CANONICAL_FOCAL_PX, path),
        min_confidence=_number(metadata, "min_confidence", 0.0, path),
    )


def _number(metadata: dict[str, str], key: str, default: float, path: Path) -> float:
    text = metadata.get(key)
    if text is None:
        return default
    try:
        return float(text)
    except ValueError as error:
        raise EngineError(f"{path} says {key} is {text!r}; it must be a number: export it again.") from error
