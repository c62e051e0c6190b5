"""A KITTI odometry folder with small images and drives of a few hundred metres."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

FRAMES = 240
SPACING_M = 1.25


def write_small_kitti(root: Path, sequences: tuple[str, ...] = ("00", "03", "09")) -> Path:
    """Winding drives of 300 m at ten frames a second; returns ``root``."""
    (root / "poses").mkdir(parents=True)
    for number, sequence in enumerate(sequences):
        folder = root / "sequences" / sequence
        (folder / "image_2").mkdir(parents=True)
        image = np.random.default_rng(number).integers(0, 256, (24, 64, 3), dtype=np.uint8)
        encoded = cv2.imencode(".png", image)[1].tobytes()
        for index in range(FRAMES):
            (folder / "image_2" / f"{index:06d}.png").write_bytes(encoded)
        (folder / "calib.txt").write_text("P2: 40 0 31.5 0 0 40 11.5 0 0 0 1 0\n")
        (folder / "times.txt").write_text("".join(f"{0.1 * index:.6f}\n" for index in range(FRAMES)))
        poses = winding_poses(0.3 + 0.2 * number)
        np.savetxt(root / "poses" / f"{sequence}.txt", poses[:, :3].reshape(-1, 12))
    return root


def winding_poses(swing: float) -> np.ndarray:
    poses = np.tile(np.eye(4), (FRAMES, 1, 1))
    for index in range(1, FRAMES):
        heading = swing * np.sin(index / 30)
        poses[index, :3, :3] = cv2.Rodrigues(np.array([0.0, heading, 0.0]))[0]
        poses[index, :3, 3] = poses[index - 1, :3, 3] + SPACING_M * poses[index, :3, 2]
    return poses
