"""What rectification left of a lens's radial distortion: one number that all images of a drive share.

A pixel u of the image lies, in the nominal camera, on ``a = (u - c) / f``, and in an ideal one on

    m = a (1 + k |a|^2)                                                  (Brown, 1971, the first term).

The images of KITTI have such a rest, and a visual odometry that takes them for ideal pays for it in its turns
(Cvisic, Markovic and Petrovic, ECMR 2021): where the whole image sweeps to one side and little of its motion tells
depth, a pixel that the lens adds is taken for parallax, and the map changes its size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from droid_bridge.projection import CellGrid
from metric3d_ros.camera import PinholeCamera


@dataclass(frozen=True)
class Lens:
    """The rest: ``radial`` is k, negative where the image is stretched towards its borders."""

    radial: float = 0.0

    def ideal(self, coords: Tensor, camera: PinholeCamera) -> Tensor:
        """Where an ideal lens would have shown what the image shows at coords.

        Parameters
        ----------
        coords : (..., 2, n) column and row in the image.
        camera : the nominal intrinsics, in the unit of the coordinates.
        """
        return coords + self.radial * self.jacobian(coords, camera)

    def jacobian(self, coords: Tensor, camera: PinholeCamera) -> Tensor:
        """Derivative (..., 2, n) of ``ideal`` by k."""
        focal = torch.tensor([[camera.fx], [camera.fy]]).to(coords)
        centre = torch.tensor([[camera.cx], [camera.cy]]).to(coords)
        a = (coords - centre) / focal
        return focal * a * (a * a).sum(dim=-2, keepdim=True)

    def ideal_grid(self, grid: CellGrid) -> CellGrid:
        """The grid with the rays that its cells have in truth."""
        seen = self.ideal(grid.coords, grid.camera)
        x = (seen[0] - grid.camera.cx) / grid.camera.fx
        y = (seen[1] - grid.camera.cy) / grid.camera.fy
        return replace(grid, rays=torch.stack([x, y, torch.ones_like(x)]))
