"""What every official network returns: one home, so that parity, export and evaluation treat them alike."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class CanonicalPrediction(NamedTuple):
    """Maps of one batch of normalised images (B, 3, H, W), in the canonical camera space (focal length 1000 px).

    Attributes
    ----------
    depth : (B, 1, H', W'), canonical depth; metres are depth * f / 1000 with f in pixels of the network's input.
        H' and W' are H and W wherever these are multiples of the network's stride.
    confidence : (B, 1, H', W'), raw: trained towards 1 - abs(d - d*) / d*, not bounded.
    normal_kappa : (B, 4, H', W'), unit surface normal in the camera frame (x right, y down, z forward), pointing
        towards the camera, and its concentration kappa; None for networks without normals.
    """

    depth: Tensor
    confidence: Tensor
    normal_kappa: Tensor | None = None
