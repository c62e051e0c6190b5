"""Camera files: the YAML that ROS's camera calibration writes and camera drivers read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from metric3d_ros.calibration import CameraCalibration
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.errors import CameraError


def read_camera_file(path: Path, *, rectified: bool = False) -> PinholeCamera:
    """The camera of a ``camera_info`` YAML file.

    Parameters
    ----------
    path : a file with ``image_width``, ``image_height``, ``camera_matrix`` and, where there is distortion,
        ``distortion_model`` and ``distortion_coefficients``; matrices as ``{rows, cols, data}``.
    rectified : the images are rectified already: take ``projection_matrix`` and no distortion.

    Raises
    ------
    CameraError
        If the file cannot be read, is no camera file, or describes a camera that cannot be.
    """
    calibration = read_calibration(path)
    if rectified and not calibration.has_projection:
        raise CameraError(
            f"camera file {path} has no projection_matrix; give the file that the calibration wrote."
        )
    try:
        return calibration.rectified_camera() if rectified else calibration.raw_camera()
    except CameraError as error:
        raise CameraError(f"camera file {path}: {error}") from error


def read_calibration(path: Path) -> CameraCalibration:
    """All that a ``camera_info`` YAML file says; its rectification and projection matrices may be missing.

    Raises
    ------
    CameraError
        If the file cannot be read or is no camera file.
    """
    content = _load(path)
    width_px, height_px = (_size(content, key, path) for key in ("image_width", "image_height"))
    coefficients = _numbers(content.get("distortion_coefficients", []), "distortion_coefficients", path)
    return CameraCalibration(
        width_px=width_px,
        height_px=height_px,
        k=_matrix(content, "camera_matrix", 9, path),
        distortion_model=str(content.get("distortion_model") or ""),
        distortion=tuple(coefficients),
        r=_matrix(content, "rectification_matrix", 9, path, is_needed=False),
        p=_matrix(content, "projection_matrix", 12, path, is_needed=False),
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CameraError(
            f"camera file {path} cannot be read: {error.strerror or error}; check the path."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CameraError(f"camera file {path} is not YAML; give the file that the calibration wrote.") from error
    if not isinstance(content, dict):
        raise CameraError(f"camera file {path} holds no keys; give the file that the calibration wrote.")
    return content


def _size(content: dict[str, Any], key: str, path: Path) -> int:
    value = content.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise CameraError(f"camera file {path} says {key} is {value!r}; it must be a whole number of pixels.")
    return value


def _matrix(
    content: dict[str, Any], key: str, length: int, path: Path, *, is_needed: bool = True
) -> tuple[float, ...]:
    if key not in content and not is_needed:
        return (0.0,) * length
    if key not in content:
        raise CameraError(f"camera file {path} has no {key}; give the file that the calibration wrote.")
    values = _numbers(content[key], key, path)
    if len(values) != length:
        raise CameraError(f"camera file {path} has {len(values)} numbers in {key}; it takes 3x{length // 3}.")
    return tuple(values)


def _numbers(entry: Any, key: str, path: Path) -> list[float]:
    data: Any = entry.get("data") if isinstance(entry, dict) else entry
    try:
        return [float(value) for value in data]
    except (TypeError, ValueError) as error:
        raise CameraError(
            f"camera file {path} has {key} without a list of numbers; write it as data: [...]."
        ) from error
