"""Small recordings for the readers' tests, with content that is easy to recognise."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.frame import Frame

WIDTH_PX, HEIGHT_PX = 64, 24
CAMERA = PinholeCamera(width_px=WIDTH_PX, height_px=HEIGHT_PX, fx=40.0, fy=41.0, cx=31.5, cy=11.25)
P2_BASELINE_M = 0.06


def textured_image(seed: int, *, gray: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (HEIGHT_PX, WIDTH_PX, 1 if gray else 3), dtype=np.uint8)
    return np.repeat(image, 3, axis=2) if gray else image


def turning_poses(count: int) -> np.ndarray:
    poses = np.tile(np.eye(4), (count, 1, 1))
    for index, pose in enumerate(poses):
        angle = 0.1 * index
        pose[:3, :3] = cv2.Rodrigues(np.array([0.02 * index, angle, -0.01 * index]))[0]
        pose[:3, 3] = [0.3 * index, -0.05 * index, 1.1 * index]
    return poses


class FrameList:
    """A ``FrameSource`` that is a list."""

    def __init__(self, frames: list[Frame], name: str = "frames") -> None:
        self.frames = frames
        self.name = name
        self.camera = frames[0].camera
        self.stamps_ns = np.array([frame.stamp_ns for frame in frames])
        poses = [frame.world_from_camera for frame in frames]
        self.world_from_camera = None if poses[0] is None else np.stack(poses)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Frame:
        return self.frames[index]


def made_up_drive(
    count: int = 4, *, gray: bool = False, depth: bool = True, start_ns: int = 1_317_042_651_168_593_664
) -> FrameList:
    rng = np.random.default_rng(5)
    poses = turning_poses(count)
    frames = []
    for index in range(count):
        depth_m = rng.uniform(1, 80, (HEIGHT_PX, WIDTH_PX)).astype(np.float32)
        depth_m[rng.uniform(size=depth_m.shape) < 0.5] = np.nan
        frames.append(
            Frame(
                index=index,
                stamp_ns=start_ns + index * 103_505_407,
                image=textured_image(index, gray=gray),
                camera=CAMERA,
                depth_m=depth_m if depth else None,
                world_from_camera=poses[index],
            )
        )
    return FrameList(frames)


def write_kitti_odometry(root: Path, count: int = 5, suffix: str = ".png", sequence: str = "03") -> Path:
    """A sequence with gray and colour cameras, times and poses; returns its folder."""
    folder = root / "sequences" / sequence
    for number in (0, 2):
        (folder / f"image_{number}").mkdir(parents=True)
        for index in range(count):
            cv2.imwrite(
                str(folder / f"image_{number}" / f"{index:06d}{suffix}"),
                textured_image(index, gray=number == 0)[..., ::-1],
            )
    k = CAMERA.matrix()
    lines = []
    for number, offset_m in ((0, 0.0), (2, P2_BASELINE_M)):
        projection = k @ np.column_stack([np.eye(3), [offset_m, 0.0, 0.0]])
        lines.append(f"P{number}: " + " ".join(f"{value:.12e}" for value in projection.ravel()))
    (folder / "calib.txt").write_text("\n".join(lines) + "\n")
    (folder / "times.txt").write_text("".join(f"{0.1036 * index:.6e}\n" for index in range(count)))
    (root / "poses").mkdir(exist_ok=True)
    np.savetxt(root / "poses" / f"{sequence}.txt", turning_poses(count)[:, :3].reshape(count, 12))
    return folder


DRIVE = "2011_09_26_drive_0013_sync"
# Scanner axes (x forward, y left, z up) to camera axes, with a lever arm.
CAMERA_0_FROM_SCANNER = np.array([[0, -1, 0, 0.02], [0, 0, -1, -0.08], [1, 0, 0, -0.27], [0, 0, 0, 1.0]])


def write_kitti_raw(root: Path, count: int = 3) -> Path:
    """A drive with colour images, stamps, calibration and OXTS (straight, 1 m a frame to the east)."""
    date = root / DRIVE[:10]
    folder = date / DRIVE
    (folder / "image_02" / "data").mkdir(parents=True)
    (folder / "oxts" / "data").mkdir(parents=True)
    stamps = []
    for index in range(count):
        cv2.imwrite(str(folder / "image_02" / "data" / f"{index:010d}.png"), textured_image(index)[..., ::-1])
        degrees_east = 8.4 + index / (6378137.0 * np.cos(np.radians(49.0))) * 180 / np.pi
        oxts = [49.0, degrees_east, 110.0, 0.0, 0.0, 0.0] + [0.0] * 24
        (folder / "oxts" / "data" / f"{index:010d}.txt").write_text(" ".join(f"{v:.15g}" for v in oxts))
        stamps.append(f"2011-09-26 13:10:51.{100_000_007 * (index + 1):09d}")
    (folder / "image_02" / "timestamps.txt").write_text("\n".join(stamps) + "\n")
    write_raw_calibration(date)
    return folder


def write_raw_calibration(date: Path) -> None:
    projection = CAMERA.matrix() @ np.column_stack([np.eye(3), [P2_BASELINE_M, 0.0, 0.003]])

    def line(key: str, values: np.ndarray) -> str:
        return f"{key}: " + " ".join(f"{value:.12e}" for value in np.ravel(values))

    (date / "calib_cam_to_cam.txt").write_text(
        "\n".join(
            [
                "calib_time: 09-Jan-2012 13:57:47",
                line("R_rect_00", np.eye(3)),
                line("S_rect_02", np.array([WIDTH_PX, HEIGHT_PX])),
                line("P_rect_02", projection),
            ]
        )
    )
    scanner = [line("R", CAMERA_0_FROM_SCANNER[:3, :3]), line("T", CAMERA_0_FROM_SCANNER[:3, 3])]
    (date / "calib_velo_to_cam.txt").write_text("\n".join(scanner))
    imu = [line("R", np.eye(3)), line("T", np.array([-0.8, 0.3, -0.8]))]
    (date / "calib_imu_to_velo.txt").write_text("\n".join(imu))
