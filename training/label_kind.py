"""Where a depth label comes from, and what it may therefore teach."""

from __future__ import annotations

from enum import Enum


class LabelKind(Enum):
    """The source of a depth label.

    Attributes
    ----------
    is_metric : its unit is the metre; structure from motion knows shapes up to a scale of its own.
    is_dense : neighbours of a labelled pixel are labelled, so differences between neighbours mean something.
    """

    is_metric: bool
    is_dense: bool

    LIDAR = ("lidar", True, False)
    STEREO = ("stereo", True, True)
    SFM = ("sfm", False, True)
    DENSE = ("dense", True, True)

    def __new__(cls, name: str, is_metric: bool, is_dense: bool) -> LabelKind:
        """A member whose value is its name in recipes."""
        member = object.__new__(cls)
        member._value_ = name
        member.is_metric = is_metric
        member.is_dense = is_dense
        return member


# What a batch holds of a sample's kind is its place in this list.
LABEL_KINDS = tuple(LabelKind)


def label_kind(name: str) -> LabelKind:
    """The kind that a recipe calls ``name``."""
    return next(kind for kind in LABEL_KINDS if kind.value == name)
