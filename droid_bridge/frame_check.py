"""Which frames the front end refuses, before anything of them is used."""

from __future__ import annotations

import numpy as np

from droid_bridge.errors import FrameError
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.frame import Frame

MIN_SIDE_PX = 48  # six cells: fewer leave no room for a flow


def check_frame(frame: Frame, first_camera: PinholeCamera | None, last_stamp_ns: int | None) -> None:
    """Refuse a frame that cannot be tracked.

    Parameters
    ----------
    frame : the frame.
    first_camera : camera of the first frame, whose size all have.
    last_stamp_ns : stamp of the frame before.

    Raises
    ------
    FrameError
        If the image is not uint8 (height, width, 3), its size differs from the first frame's or from its camera's
        or depth's or is below ``MIN_SIDE_PX``, or its stamp is not after the last one.
    """
    image = frame.image
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        found = f"{getattr(image, 'dtype', type(image).__name__)} {getattr(image, 'shape', '')}".strip()
        raise FrameError(f"frame {frame.index} has an image of {found}; give uint8 (height, width, 3) RGB.")
    height, width = image.shape[:2]
    expected = first_camera or frame.camera
    for name, size in (
        ("camera", (frame.camera.height_px, frame.camera.width_px)),
        ("first frame", (expected.height_px, expected.width_px)),
        ("depth", (height, width) if frame.depth_m is None else frame.depth_m.shape),
    ):
        if size != (height, width):
            raise FrameError(
                f"frame {frame.index} is {width}x{height} px but its {name} is {size[1]}x{size[0]} px; "
                "give one size, or reset the odometry."
            )
    if min(height, width) < MIN_SIDE_PX:
        raise FrameError(f"frame {frame.index} is {width}x{height} px; give at least {MIN_SIDE_PX} px a side.")
    if last_stamp_ns is not None and frame.stamp_ns <= last_stamp_ns:
        raise FrameError(
            f"frame {frame.index} has stamp {frame.stamp_ns} ns, not after {last_stamp_ns} ns; "
            "send frames in order, or reset the odometry."
        )
