"""Room for whole images in Fast DDS, the default middleware of ROS 2."""

from __future__ import annotations

import os
from pathlib import Path

PROFILE = Path(__file__).with_name("fastdds_large_messages.xml")
_PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def make_room_for_images() -> None:
    """Give this process the shared memory that images need; call it before the first node of the process.

    Fast DDS reads its profile once: in a process that had a node before, nothing changes.

    A best-effort subscriber never gets an image larger than its publisher's shared memory (512 kB unless told
    otherwise). A profile that the user has chosen stays; other middlewares do not look at it.
    """
    if not any(os.environ.get(variable) for variable in _PROFILE_VARIABLES):
        os.environ[_PROFILE_VARIABLES[0]] = str(PROFILE)
