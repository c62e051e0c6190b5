"""Annotated images of flat ground whose depth can be said by hand, and recipes small enough for a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

CAMERA_HEIGHT_M = 1.5
WIDTH_PX, HEIGHT_PX = 128, 64


def write_ground(folder: Path, images: int = 12, seed: int = 0) -> Path:
    """Speckled ground under a blue sky through cameras of several focal lengths; returns the annotation file."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(images):
        focal_px = float(rng.uniform(60, 180))
        horizon = int(rng.integers(20, 32))
        rows = np.arange(HEIGHT_PX - horizon) + 1.0
        depth_m = np.zeros((HEIGHT_PX, WIDTH_PX))
        depth_m[horizon:] = np.minimum(focal_px * CAMERA_HEIGHT_M / rows, 200)[:, None]
        image = rng.integers(60, 120, (HEIGHT_PX, WIDTH_PX, 3), dtype=np.uint8)
        image[:horizon] = (230, 170, 130)
        sem = np.where(depth_m > 0, 1, 9).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), image)
        cv2.imwrite(str(folder / f"{number}_depth.png"), (depth_m * 256).astype(np.uint16))
        cv2.imwrite(str(folder / f"{number}_sem.png"), sem)
        files.append(
            {
                "rgb": f"{number}.png",
                "depth": f"{number}_depth.png",
                "depth_scale": 256.0,
                "cam_in": [focal_px, focal_px, (WIDTH_PX - 1) / 2, horizon],
                "sem": f"{number}_sem.png",
            }
        )
    path = folder / "ground.json"
    path.write_text(json.dumps({"files": files}))
    return path


def ground_values(annotations: Path, output: Path) -> dict[str, Any]:
    """A recipe of nano for ``write_ground``'s images."""
    return {
        "network": {
            "name": "nano",
            "widths": [8, 16, 24, 32, 48],
            "depths": [1, 1, 1, 1],
            "decoder_widths": [32, 24, 16],
        },
        "views": [{"height_px": 64, "width_px": 128, "resize_range": [0.9, 1.1], "edge_mask_probability": 0.0}],
        "groups": {
            "ground": [
                {
                    "reader": "annotations",
                    "path": str(annotations),
                    "kind": "dense",
                    "sky_ids": [9],
                    "plane_ids": [1],
                }
            ]
        },
        "losses": {"log_l1": 1.0, "silog": 0.5, "random_proposal": 0.2, "confidence_entropy": 0.2},
        "optimizer": {
            "encoder_learning_rate": 4e-3,
            "decoder_learning_rate": 4e-3,
            "encoder_weight_decay": 0.01,
            "decoder_weight_decay": 0.01,
        },
        "schedule": {"steps": 6, "warmup_steps": 2},
        "output": str(output),
        "batch_size": 4,
        "checkpoint_every_steps": 3,
        "log_every_steps": 1,
        "precision": "32-true",
        "ema_decay": 0.9,
        "workers": 0,
        "threads": 1,
        "seed": 3,
    }
