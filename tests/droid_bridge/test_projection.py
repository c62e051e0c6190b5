from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from droid_bridge.lie import se3_exp, se3_retract
from droid_bridge.projection import CellGrid, relative_poses, reproject, reproject_coords
from metric3d_ros.camera import PinholeCamera

CAMERA = PinholeCamera(6, 4, fx=5.0, fy=6.0, cx=2.3, cy=1.6)
GRID = CellGrid.of_camera(CAMERA, torch.device("cpu"), torch.float64)
SOURCE, TARGET = torch.tensor([0, 1, 2, 0]), torch.tensor([1, 0, 1, 2])


def _scene(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tangents = 0.15 * torch.randn(3, 6, generator=generator, dtype=torch.float64)
    inverse_depth = 0.2 + 0.5 * torch.rand(3, 24, generator=generator, dtype=torch.float64)
    return se3_exp(tangents), inverse_depth


def test_a_point_is_seen_where_pinhole_geometry_says() -> None:
    poses, inverse_depth = _scene(0)
    seen = reproject(poses, inverse_depth, SOURCE, TARGET, GRID)
    rays = CAMERA.rays().reshape(-1, 3).astype(np.float64)
    for edge, (i, j) in enumerate(zip(SOURCE.tolist(), TARGET.tolist(), strict=True)):
        points_in_source = rays / inverse_depth[i].numpy()[:, None]
        target_from_source = poses[j].numpy() @ np.linalg.inv(poses[i].numpy())
        points = points_in_source @ target_from_source[:3, :3].T + target_from_source[:3, 3]
        pixels = points @ CAMERA.matrix().T
        np.testing.assert_allclose(seen.coords[edge].T.numpy(), pixels[:, :2] / pixels[:, 2:], atol=1e-5)
        depth_ratio = points[:, 2] / points_in_source[:, 2]
        np.testing.assert_allclose(seen.depth_ratio[edge].numpy(), depth_ratio, atol=1e-6)


def test_without_motion_every_cell_stays() -> None:
    poses = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)
    coords, depth_ratio = reproject_coords(
        relative_poses(poses, torch.tensor([0]), torch.tensor([1])), torch.full((1, 24), 0.3), GRID32
    )
    torch.testing.assert_close(coords[0], GRID32.coords)
    torch.testing.assert_close(depth_ratio, torch.ones(1, 24))


GRID32 = CellGrid.of_camera(CAMERA, torch.device("cpu"))


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_jacobians_agree_with_finite_differences(seed: int) -> None:
    poses, inverse_depth = _scene(seed)
    seen = reproject(poses, inverse_depth, SOURCE, TARGET, GRID)
    step = 1e-6
    for frame in range(3):
        for axis in range(6):
            tangent = torch.zeros(6, dtype=torch.float64)
            tangent[axis] = step
            ahead, behind = poses.clone(), poses.clone()
            ahead[frame] = se3_retract(poses[frame], tangent)
            behind[frame] = se3_retract(poses[frame], -tangent)
            numeric = (
                reproject(ahead, inverse_depth, SOURCE, TARGET, GRID).coords
                - reproject(behind, inverse_depth, SOURCE, TARGET, GRID).coords
            ) / (2 * step)
            by_target = seen.pose_jacobian[:, axis]
            by_source = -torch.einsum("enck,en->eck", seen.pose_jacobian, seen.source_adjoint[:, :, axis])
            analytic = by_target * (frame == TARGET)[:, None, None] + by_source * (frame == SOURCE)[:, None, None]
            torch.testing.assert_close(analytic, numeric, atol=1e-5, rtol=1e-5)
    numeric = (
        reproject(poses, inverse_depth + step, SOURCE, TARGET, GRID).coords
        - reproject(poses, inverse_depth - step, SOURCE, TARGET, GRID).coords
    ) / (2 * step)
    torch.testing.assert_close(seen.inverse_depth_jacobian, numeric, atol=1e-5, rtol=1e-5)


def test_points_behind_the_target_are_told_by_the_depth_ratio() -> None:
    forward = se3_exp(torch.tensor([0.0, 0.0, -5.0, 0.0, 0.0, 0.0], dtype=torch.float64))[None]
    coords, depth_ratio = reproject_coords(forward, torch.full((1, 24), 1 / 3.0, dtype=torch.float64), GRID)
    assert (depth_ratio < 0).all()
    assert torch.isfinite(coords).all()
