"""princeton-vl's lietorch where it is installed; the one file that imports it.

It makes one kernel of what plain torch does in twenty, which pays on a GPU. PyPI's ``lietorch`` is another project
(convolutions on Lie groups); it is told apart by what it exports, and left alone.
"""

from __future__ import annotations

import importlib
import warnings
from functools import lru_cache
from types import ModuleType

from torch import Tensor

NAMESAKE = (
    "the installed lietorch is not princeton-vl's (it has no SE3 and Sim3 groups), so poses are computed by plain "
    "torch; uninstall it, or install https://github.com/princeton-vl/lietorch instead."
)
_GROUPS = ("SE3", "Sim3")
_OPERATIONS = ("exp", "log", "matrix")


@lru_cache(maxsize=1)
def lietorch() -> ModuleType | None:
    """The library, or None where it is not installed; a namesake is named in one warning and counts as none."""
    try:
        module = importlib.import_module("lietorch")
    except (ImportError, OSError):  # OSError: compiled for another torch
        return None
    groups = [getattr(module, name, None) for name in _GROUPS]
    if not all(hasattr(group, operation) for group in groups for operation in _OPERATIONS):
        warnings.warn(NAMESAKE, RuntimeWarning, stacklevel=2)
        return None
    return module


def serves(tensor: Tensor) -> bool:
    """Whether the library is there and pays for this tensor."""
    return tensor.is_cuda and lietorch() is not None


def group_exp(group: str, tangent: Tensor) -> Tensor:
    """Matrices (..., 4, 4) of tangent vectors of ``SE3`` (..., 6) or ``Sim3`` (..., 7)."""
    matrices: Tensor = getattr(lietorch(), group).exp(tangent.contiguous()).matrix()
    return matrices


def group_log(group: str, elements: Tensor) -> Tensor:
    """Tangent vectors of elements: translation, quaternion x, y, z, w and for ``Sim3`` the scale (..., 7 or 8)."""
    tangent: Tensor = getattr(lietorch(), group)(elements.contiguous()).log()
    return tangent
