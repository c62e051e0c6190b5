"""The global adjustment on keyframes whose matches are known exactly, through an ideal lens or one that is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from droid_bridge.errors import DroidBridgeError
from droid_bridge.global_adjustment.adjustment import GlobalAdjustmentOptions, adjust_globally
from droid_bridge.global_adjustment.lens import Lens
from droid_bridge.keyframe_archive import ArchivedKeyframe
from droid_bridge.lie import se3_exp, se3_inverse
from droid_bridge.matching.matcher import FramePair, Match, PairMatch
from droid_bridge.place_recognition import NO_FEATURES
from droid_bridge.projection import CellGrid, reproject_coords
from metric3d_ros.camera import PinholeCamera

CAMERA = PinholeCamera(320, 128, 180.0, 180.0, 159.5, 63.5)
ROWS, COLUMNS = 16, 40
GRID = CellGrid.of_camera(CAMERA.resized(COLUMNS, ROWS), torch.device("cpu"), torch.float64)


def drive(nodes: int, turn_rad: float) -> torch.Tensor:
    """Poses camera_from_world: a metre a keyframe, and in the middle third a turn of so much a keyframe."""
    poses = [torch.eye(4, dtype=torch.float64)]
    for k in range(1, nodes):
        turn = turn_rad if nodes // 3 <= k < 2 * nodes // 3 else 0.0
        step = se3_exp(torch.tensor([0.1, 0.0, -1.0, 0.0, turn, 0.0], dtype=torch.float64))
        poses.append(step @ poses[-1])
    return torch.stack(poses)


class TrueMatcher:
    """Knows where every cell is; an image's gray value is the number of its keyframe."""

    rematches = 0

    def __init__(
        self,
        poses: torch.Tensor,
        inverse_depth: torch.Tensor,
        lens: Lens,
        blind: frozenset[int],
        noise_cells: float = 0.0,
    ) -> None:
        self._poses, self._inverse_depth, self._lens, self._blind = poses, inverse_depth, lens, blind
        self._noise_cells, self._rng = noise_cells, np.random.default_rng(4)

    def prepare(self, image: np.ndarray) -> int:
        return int(image[0, 0, 0])

    def match(self, pairs: Sequence[FramePair[int]]) -> list[PairMatch]:
        return [
            PairMatch(self._seen(pair.first, pair.second), self._seen(pair.second, pair.first)) for pair in pairs
        ]

    def _seen(self, source: int, target: int) -> Match:
        relative = self._poses[target] @ se3_inverse(self._poses[source])
        depths = self._inverse_depth[source][None]
        ideal, ratio = reproject_coords(relative[None], depths, self._lens.ideal_grid(GRID))
        coords = ideal
        for _ in range(8):
            coords = ideal - self._lens.radial * self._lens.jacobian(coords, GRID.camera)
        limit = torch.tensor([[COLUMNS - 1.0], [ROWS - 1.0]])
        found = ((coords >= 0) & (coords <= limit)).all(dim=1) & (ratio > 0.2)
        if min(source, target) in self._blind:
            found = torch.zeros_like(found)
        weight = (100.0 * found)[0].reshape(ROWS, COLUMNS, 1).expand(-1, -1, 2)
        coords = coords + torch.from_numpy(self._rng.normal(0, 1, coords.shape)) * self._noise_cells
        placed = torch.where(found[:, None], coords, 0.0)[0].T.reshape(ROWS, COLUMNS, 2)
        return Match(placed.numpy().astype(np.float32), weight.numpy().astype(np.float32))


def true_depths(nodes: int) -> torch.Tensor:
    """Inverse depths (nodes, cells) of scenes from 4 to 40 m."""
    rng = np.random.default_rng(3)
    return torch.from_numpy(np.exp(-rng.uniform(np.log(4), np.log(40), (nodes, ROWS * COLUMNS))))


def keyframes_of(inverse_depth: torch.Tensor, poses: torch.Tensor) -> list[ArchivedKeyframe]:
    shape = (ROWS, COLUMNS)
    return [
        ArchivedKeyframe(
            number=k,
            frame_index=3 * k,
            stamp_ns=k,
            camera_from_world=poses[k].numpy(),
            inverse_depth=inverse_depth[k].numpy().reshape(shape).astype(np.float16),
            inverse_depth_sigma=np.full(shape, 0.05, np.float16),
            rgb=np.zeros((*shape, 3), np.uint8),
            log_scale=float("nan"),
            log_growth=0.0,
            travelled_m=float(k),
            features=NO_FEATURES,
        )
        for k in range(len(poses))
    ]


def gray(node: int) -> np.ndarray:
    return np.full((CAMERA.height_px, CAMERA.width_px), node, np.uint8)


def centres(poses: np.ndarray) -> np.ndarray:
    """Of similarities camera_from_world."""
    return np.linalg.inv(poses)[:, :3, 3]


def shape_error(found: np.ndarray, truth: torch.Tensor) -> float:
    """Largest distance between two paths from the same start, as a share of the way, after one scale."""
    estimate, true = centres(found), centres(truth.numpy())
    scale = (estimate * true).sum() / (estimate * estimate).sum()
    return float(np.linalg.norm(scale * estimate - true, axis=1).max() / len(true))


def disturbed(poses: torch.Tensor) -> torch.Tensor:
    """What a front end makes of it: every step a little off."""
    rng = np.random.default_rng(1)
    found = [poses[0]]
    for k in range(1, len(poses)):
        step = poses[k] @ se3_inverse(poses[k - 1])
        noise = torch.from_numpy(rng.normal(0, 1, 6) * [0.05, 0.05, 0.05, 0.006, 0.006, 0.006])
        found.append(se3_exp(noise) @ step @ found[-1])
    return torch.stack(found)


def run(  # type: ignore[no-untyped-def]
    lens: Lens,
    turn_rad: float,
    blind: frozenset[int] = frozenset(),
    nodes: int = 18,
    noise_cells: float = 0.0,
    **options: object,
):
    truth, depths = drive(nodes, turn_rad), true_depths(nodes)
    start = disturbed(truth)
    rng = np.random.default_rng(2)
    guessed = depths * torch.from_numpy(np.exp(rng.normal(0, 0.1, depths.shape)))
    adjusted = adjust_globally(
        keyframes_of(guessed, start),
        start.numpy(),
        (),
        gray,
        CAMERA,
        TrueMatcher(truth, depths, lens, blind, noise_cells),
        GlobalAdjustmentOptions(iterations=12, **options),  # type: ignore[arg-type]
    )
    return adjusted, truth, start


def test_path_and_shape_come_back_from_what_the_front_end_left() -> None:
    adjusted, truth, start = run(Lens(), 0.05)
    assert shape_error(start.numpy(), truth) > 0.01
    assert shape_error(adjusted.camera_from_world, truth) < 0.001
    assert adjusted.cost_after < 0.01 * adjusted.cost_before
    assert abs(adjusted.lens.radial) < 5e-4


def test_a_lens_that_bends_is_seen_in_a_turn() -> None:
    bent = Lens(-0.012)
    adjusted, truth, _ = run(bent, 0.05, radial_sigma=0.05)
    assert adjusted.lens.radial == pytest.approx(bent.radial, abs=1.5e-3)
    assert shape_error(adjusted.camera_from_world, truth) < 0.002


@pytest.mark.parametrize(("radial", "is_seen"), [(-0.012, True), (-0.0005, False)])
def test_a_lens_that_explains_next_to_nothing_is_taken_as_ideal(radial: float, is_seen: bool) -> None:
    adjusted, truth, _ = run(Lens(radial), 0.05, noise_cells=0.03, radial_sigma=0.05)
    assert adjusted.lens.radial == pytest.approx(radial if is_seen else 0, abs=2e-3 if is_seen else 1e-6)
    assert shape_error(adjusted.camera_from_world, truth) < 0.01


def test_without_its_correction_the_lens_stays_in_the_path() -> None:
    adjusted, truth, _ = run(Lens(-0.012), 0.05, corrects_lens=False)
    assert adjusted.lens.radial == pytest.approx(0, abs=1e-6)
    assert shape_error(adjusted.camera_from_world, truth) > 0.002


def test_a_straight_drive_says_nothing_of_the_lens() -> None:
    adjusted, _, _ = run(Lens(-0.012), 0.0)
    assert abs(adjusted.lens.radial) < 1e-3


def test_a_gap_is_told() -> None:
    """Nothing ties keyframe 8 to the next ones."""
    adjusted, _, _ = run(Lens(), 0.05, blind=frozenset({4, 5, 6, 7, 8}))
    assert not adjusted.is_tied[8]
    assert adjusted.is_tied[:3].all()
    assert adjusted.is_tied[10:].all()
    assert np.isfinite(adjusted.camera_from_world).all()


def test_the_unit_stays_on_average_what_it_was() -> None:
    adjusted, _, start = run(Lens(), 0.05)
    before = np.linalg.norm(np.diff(centres(start.numpy()), axis=0), axis=1).sum()
    after = np.linalg.norm(np.diff(centres(adjusted.camera_from_world), axis=0), axis=1).sum()
    assert after / before == pytest.approx(1, abs=0.05)


def test_the_lens_jacobian_is_its_derivative() -> None:
    coords = GRID.coords
    step = 1e-4
    numeric = (Lens(0.01 + step).ideal(coords, GRID.camera) - Lens(0.01 - step).ideal(coords, GRID.camera)) / (
        2 * step
    )
    assert torch.allclose(numeric, Lens(0.01).jacobian(coords, GRID.camera), atol=1e-8)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"iterations": 0}, "iterations is 0"), ({"gaps": (2, 3)}, "it must hold 1"), ({"gaps": (1, 0)}, "gaps is")],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(DroidBridgeError, match=message):
        GlobalAdjustmentOptions(**options)  # type: ignore[arg-type]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    truth, depths = drive(4, 0.0), true_depths(4)
    with pytest.raises(DroidBridgeError, match="cannot be kept in"):
        adjust_globally(
            keyframes_of(depths, truth),
            truth.numpy(),
            (),
            gray,
            CAMERA,
            TrueMatcher(truth, depths, Lens(), frozenset()),
            GlobalAdjustmentOptions(),
            tmp_path / "missing",
        )
