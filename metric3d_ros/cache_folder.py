"""Where downloaded and built files are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "METRIC3D_CACHE"
DEFAULT_CACHE = "~/.cache/metric3d_ros"


def cache_folder() -> Path:
    """The folder that ``METRIC3D_CACHE`` names, else ``~/.cache/metric3d_ros``; it need not exist yet."""
    return Path(os.environ.get(CACHE_VARIABLE) or DEFAULT_CACHE).expanduser()
