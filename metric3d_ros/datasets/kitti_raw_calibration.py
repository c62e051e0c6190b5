"""The calibration of a KITTI raw recording day: its rectified cameras, and where IMU and scanner are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.calibration import CameraCalibration
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.kitti_files import calibration_matrix, camera_from_rectified, read_calibration
from metric3d_ros.errors import DatasetError

CAMERAS = (0, 1, 2, 3)


class RectifiedCamera:
    """One rectified camera of a recording day, and where the IMU and the scanner are seen from it.

    Raises
    ------
    DatasetError
        If there is no such camera, or the calibration lacks it.
    """

    def __init__(self, date_folder: Path, number: int) -> None:
        if number not in CAMERAS:
            raise DatasetError(f"camera is {number!r}; KITTI has 0 and 1 (gray), 2 and 3 (colour).")
        self._path = date_folder / "calib_cam_to_cam.txt"
        self._number = number
        self._calibration = read_calibration(self._path)
        self.projection = self._matrix(f"P_rect_{number:02d}", (3, 4))
        width_px, height_px = self._matrix(f"S_rect_{number:02d}", (1, 2))[0]
        self.camera = PinholeCamera.from_matrix(self.projection, int(width_px), int(height_px))
        self._date_folder = date_folder
        self._rectified_from_camera_0 = np.eye(4)
        self._rectified_from_camera_0[:3, :3] = self._matrix("R_rect_00", (3, 3))

    def camera_from_scanner(self) -> NDArray[np.float64]:
        """Scanner to this rectified camera, 4x4."""
        camera_0_from_scanner = _read_rigid(self._date_folder / "calib_velo_to_cam.txt")
        return camera_from_rectified(self.projection) @ self._rectified_from_camera_0 @ camera_0_from_scanner

    def camera_from_imu(self) -> NDArray[np.float64]:
        """IMU to this rectified camera, 4x4."""
        return self.camera_from_scanner() @ _read_rigid(self._date_folder / "calib_imu_to_velo.txt")

    def raw_calibration(self) -> CameraCalibration:
        """The raw camera, whose distorted images unsynchronised drives hold, with the way to the rectified one.

        The rectified image keeps the raw one's size here; its top left corner is the image of ``camera``.
        """
        width_px, height_px = self._matrix(f"S_{self._number:02d}", (1, 2))[0]
        return CameraCalibration(
            width_px=int(width_px),
            height_px=int(height_px),
            k=tuple(self._matrix(f"K_{self._number:02d}", (3, 3)).ravel()),
            distortion_model="plumb_bob",
            distortion=tuple(self._matrix(f"D_{self._number:02d}", (1, 5))[0]),
            r=tuple(self._matrix(f"R_rect_{self._number:02d}", (3, 3)).ravel()),
            p=tuple(self.projection.ravel()),
        )

    def _matrix(self, key: str, shape: tuple[int, int]) -> NDArray[np.float64]:
        return calibration_matrix(self._calibration, key, shape, self._path)


def _read_rigid(path: Path) -> NDArray[np.float64]:
    calibration = read_calibration(path)
    transform = np.eye(4)
    transform[:3, :3] = calibration_matrix(calibration, "R", (3, 3), path)
    transform[:3, 3] = calibration_matrix(calibration, "T", (3, 1), path)[:, 0]
    return transform
