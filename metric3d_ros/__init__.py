"""Metric depth from one camera: an image and its intrinsics in, metres out."""

__version__ = "0.1.0"
