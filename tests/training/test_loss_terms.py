"""Every loss against a second, plain numpy version written from its formula, pixel by pixel, domain by domain."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.surface_normals import normals_from_depth
from training.label_kind import LABEL_KINDS, LabelKind
from training.loss_terms import LOSS_TERMS, image_losses
from training.loss_terms.depth_sequence import depth_sequence_loss, silog_loss
from training.loss_terms.log_depth import (
    confidence_entropy_loss,
    image_scale_loss,
    log_gradient_loss,
    log_l1_loss,
    relative_l1_loss,
)
from training.loss_terms.normalised_regression import (
    MIN_DOMAIN_PX,
    PROPOSALS,
    depth_range_loss,
    random_proposal_loss,
)
from training.loss_terms.surface_normal import (
    depth_normal_consistency_loss,
    normal_branch_loss,
    normals_from_points,
    sky_loss,
)
from training.loss_terms.truth import Guess, Truth
from training.loss_terms.virtual_normal import plane_normal_loss, virtual_normal_loss

HEIGHT, WIDTH = 40, 56
LABEL_PER_METRE = 2.5
CAMERA = PinholeCamera(WIDTH, HEIGHT, 50.0, 52.0, 27.0, 18.0)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@pytest.fixture
def truth() -> Truth:
    rng = np.random.default_rng(3)
    depth = rng.uniform(2, 60, (HEIGHT, WIDTH)).astype(np.float32)
    depth[rng.random(depth.shape) < 0.2] = np.nan
    normal = rng.normal(size=(3, HEIGHT, WIDTH))
    normal[2] -= 2
    normal /= np.linalg.norm(normal, axis=0)
    normal[:, :5] = np.nan
    regions = np.zeros((HEIGHT, WIDTH), np.int32)
    regions[5:35, 5:30] = 4
    planes = np.zeros((HEIGHT, WIDTH), np.int32)
    planes[20:] = 1
    planes[:15, :25] = 2
    sky = np.zeros((HEIGHT, WIDTH), bool)
    sky[:3] = True
    return Truth(
        depth=torch.from_numpy(depth),
        rays=torch.from_numpy(CAMERA.rays()),
        label_per_metre=LABEL_PER_METRE,
        kind=LabelKind.DENSE,
        normal=torch.from_numpy(normal.astype(np.float32)),
        regions=torch.from_numpy(regions),
        planes=torch.from_numpy(planes),
        sky=torch.from_numpy(sky),
        content=torch.ones(HEIGHT, WIDTH, dtype=torch.bool),
    )


@pytest.fixture
def guess() -> Guess:
    rng = np.random.default_rng(4)
    maps = [rng.uniform(2, 60, (HEIGHT, WIDTH)).astype(np.float32) for _ in range(3)]
    confidences = [rng.uniform(0.2, 1.1, (HEIGHT, WIDTH)).astype(np.float32) for _ in range(3)]
    normals = []
    for _ in range(3):
        n = rng.normal(size=(3, HEIGHT, WIDTH))
        kappa = rng.uniform(0.1, 8, (1, HEIGHT, WIDTH))
        normals.append(np.concatenate([n / np.linalg.norm(n, axis=0), kappa]).astype(np.float32))
    return Guess(*[[torch.from_numpy(a) for a in group] for group in (maps, confidences, normals)])


def arrays(tensors) -> list[np.ndarray]:
    return [tensor.numpy().astype(np.float64) for tensor in tensors]


def sequence_weights(count: int) -> list[float]:
    return [0.9 ** (15 * (count - 1 - i) / (count - 1)) for i in range(count)]


def test_depth_sequence(guess, truth):
    target = truth.depth.numpy().astype(np.float64)
    known = np.isfinite(target)
    total = 0.0
    for w, d, c in zip(sequence_weights(3), arrays(guess.depths), arrays(guess.confidences), strict=True):
        error = np.abs(d - target)
        near = known & (error < target)
        total += w * (error[known].mean() + np.abs(c - (1 - error / target))[near].mean())
    assert float(depth_sequence_loss(guess, truth, generator())) == pytest.approx(total, rel=1e-5)


def test_the_confidence_target_does_not_pull_on_depth(guess, truth):
    depth = guess.depth.clone().requires_grad_()
    confidence = guess.confidence
    depth_sequence_loss(Guess([depth], [confidence]), truth, generator()).backward()
    known = truth.labelled
    torch.testing.assert_close(
        depth.grad[known], torch.sign(depth.detach() - truth.depth)[known] / known.sum(), rtol=1e-4, atol=1e-9
    )


def test_silog(guess, truth):
    known = truth.labelled.numpy()
    g = (np.log(guess.depth.numpy().astype(np.float64)) - np.log(truth.depth.numpy().astype(np.float64)))[known]
    assert float(silog_loss(guess, truth, generator())) == pytest.approx(np.mean(g**2) - 0.5 * np.mean(g) ** 2)


def test_silog_of_a_negative_depth_is_finite(guess, truth):
    depth = (-guess.depth).requires_grad_()
    loss = silog_loss(Guess([depth], guess.confidences[-1:]), truth, generator())
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(depth.grad).all()


def lower_median(values: np.ndarray) -> float:
    return float(np.sort(values)[(len(values) - 1) // 2])


def normalised(values: np.ndarray) -> np.ndarray:
    centred = values - lower_median(values)
    return centred / np.mean(np.abs(centred))


def domain_loss(d: np.ndarray, target: np.ndarray, domains) -> float:
    found = [
        np.mean(np.abs(normalised(d[domain]) - normalised(target[domain])))
        for domain in domains
        if domain.sum() >= MIN_DOMAIN_PX
    ]
    return float(np.mean(found))


def test_random_proposals(guess, truth):
    d, target = arrays([guess.depth, truth.depth])
    known = np.isfinite(target)
    drawn, domains = generator(), [known]
    for _ in range(PROPOSALS):
        spans = []
        for length in (HEIGHT, WIDTH):
            side = int(torch.randint(round(length / 8), round(length / 2) + 1, (), generator=drawn))
            start = int(torch.randint(length - side + 1, (), generator=drawn))
            spans.append(slice(start, start + side))
        domain = np.zeros_like(known)
        domain[spans[0], spans[1]] = known[spans[0], spans[1]]
        domains.append(domain)
    domains.append(known & (truth.regions.numpy() == 4))
    found = float(random_proposal_loss(guess, truth, generator()))
    assert found == pytest.approx(domain_loss(d, target, domains), rel=1e-4)


def test_a_crop_is_normalised_by_its_own_pixels(truth):
    """A prediction that is right up to a scale and shift of its own in every region costs nothing there."""
    rows = torch.arange(HEIGHT)[:, None].expand(HEIGHT, WIDTH)
    left = torch.arange(WIDTH)[None, :].expand(HEIGHT, WIDTH) < WIDTH // 2
    depth = torch.where(left, truth.depth * 3 + 5, truth.depth * 0.2 + 90)
    halves = dataclasses.replace(truth, regions=torch.where(left, 1, 2).int() + 0 * rows)
    domain_left = float(
        random_proposal_loss(
            Guess([torch.where(left, depth, truth.depth)], [depth]),
            dataclasses.replace(halves, depth=torch.where(left, truth.depth, torch.nan)),
            generator(),
        )
    )
    assert domain_left == pytest.approx(0, abs=1e-5)


def test_depth_ranges(guess, truth):
    d, target = arrays([guess.depth, truth.depth])
    known = np.isfinite(target)
    ends = torch.randint(int(known.sum()), (10, 2), generator=generator()).numpy()
    pairs = np.sort(target[known][ends], axis=1)
    domains = [known & (target >= low) & (target <= high) for low, high in pairs]
    found = float(depth_range_loss(guess, truth, generator()))
    assert found == pytest.approx(domain_loss(d, target, domains), rel=1e-4)


@pytest.mark.parametrize("loss", [random_proposal_loss, depth_range_loss])
def test_normalised_losses_forgive_scale_and_shift(truth, loss):
    wrong = Guess([truth.depth * 0.3 + 12], [truth.depth])
    assert float(loss(wrong, truth, generator())) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("loss", [random_proposal_loss, depth_range_loss])
def test_a_flat_domain_has_nothing_to_divide_by(guess, truth, loss):
    flat = dataclasses.replace(truth, depth=torch.full((HEIGHT, WIDTH), 9.0), regions=truth.regions * 0)
    assert float(loss(guess, flat, generator())) == 0


def points(depth: np.ndarray) -> np.ndarray:
    return (CAMERA.rays().astype(np.float64) * (depth / LABEL_PER_METRE)[..., None]).reshape(-1, 3)


def is_good_triangle(corners: np.ndarray) -> bool:
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        a, b = corners[j] - corners[i], corners[k] - corners[i]
        if np.all(np.abs(a) < 0.005):
            return False
        if abs(a @ b) > 0.867 * np.linalg.norm(a) * np.linalg.norm(b):
            return False
    return True


def triangle_normal(corners: np.ndarray) -> np.ndarray:
    n = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    return n / np.linalg.norm(n)


def drawn_triplets(chosen: np.ndarray, count: int, drawn: torch.Generator) -> np.ndarray:
    pixels = np.flatnonzero(chosen)
    return pixels[torch.randint(len(pixels), (count, 3), generator=drawn).numpy()]


def test_virtual_normals(guess, truth):
    target = truth.depth.numpy().astype(np.float64)
    triplets = drawn_triplets(np.isfinite(target), round(0.2 * target.size), generator())
    true_points, found_points = points(target), points(guess.depth.numpy().astype(np.float64))
    errors = [
        np.abs(triangle_normal(found_points[t]) - triangle_normal(true_points[t])).sum()
        for t in triplets
        if is_good_triangle(true_points[t])
    ]
    assert 50 < len(errors) < len(triplets)
    expected = np.mean(np.sort(errors)[int(0.25 * len(errors)) :])
    assert float(virtual_normal_loss(guess, truth, generator())) == pytest.approx(expected, rel=1e-4)


def test_virtual_normals_do_not_feel_the_scale(truth):
    """Also a second image's own principal point counts: the rays are the image's, never another's."""
    wrong = Guess([truth.depth * 0.4], [truth.depth])
    assert float(virtual_normal_loss(wrong, truth, generator())) == pytest.approx(0, abs=1e-4)
    moved = dataclasses.replace(truth, rays=truth.rays + torch.tensor([0.3, 0.0, 0.0]))
    guess = Guess([truth.depth.nan_to_num(3.0).flip(0)], [truth.depth])
    assert float(virtual_normal_loss(guess, moved, generator())) != pytest.approx(
        float(virtual_normal_loss(guess, truth, generator())), rel=1e-3
    )


def test_plane_normals(guess, truth):
    drawn, per_plane = generator(), []
    space = points(guess.depth.numpy().astype(np.float64))
    for number in (1, 2):
        triplets = drawn_triplets(truth.planes.numpy() == number, 5000, drawn)
        normals = []
        for t in triplets:
            if is_good_triangle(space[t]):
                n = triangle_normal(space[t])
                normals.append(-n if n @ space[t].mean(axis=0) > 0 else n)
        mean = np.mean(normals, axis=0)
        mean /= np.linalg.norm(mean)
        per_plane.append(np.mean(1 - np.array(normals) @ mean))
    assert float(plane_normal_loss(guess, truth, generator())) == pytest.approx(np.mean(per_plane), rel=1e-3)


def ground_depth(slope: float = 0.0) -> torch.Tensor:
    """Depth in the label's unit of a ground 1.5 m under the camera that rises to the right."""
    rays = torch.from_numpy(CAMERA.rays())
    # Points p with n . p = -1.5 and n = (slope, -1, 0).
    along = rays[..., 0] * slope - rays[..., 1]
    return torch.where(along < -0.05, -1.5 / along, torch.full_like(along, 20.0)) * LABEL_PER_METRE


def test_a_flat_plane_costs_nothing_whichever_way_it_leans(truth):
    ground = dataclasses.replace(truth, planes=torch.zeros_like(truth.planes))
    ground.planes[30:] = 1
    for slope in (0.0, 0.2):
        depth = ground_depth(slope)
        assert float(plane_normal_loss(Guess([depth], [depth]), ground, generator())) == pytest.approx(0, abs=1e-4)


def test_normal_branch(guess, truth):
    target = truth.normal.numpy().astype(np.float64)
    total = 0.0
    for w, n in zip(sequence_weights(3), arrays(guess.normal_kappas), strict=True):
        dot = (n[:3] * target).sum(axis=0)
        counted = np.isfinite(dot) & (np.abs(dot) < 0.999)
        k, angle = n[3][counted], np.arccos(dot[counted])
        total += w * np.mean(-np.log(k**2 + 1) + k * angle + np.log(1 + np.exp(-k * math.pi)))
    assert float(normal_branch_loss(guess, truth, generator())) == pytest.approx(total, rel=1e-4)


def test_the_right_normal_has_a_finite_gradient(truth):
    exact = torch.cat([truth.normal.nan_to_num(0.5), torch.full((1, HEIGHT, WIDTH), 3.0)]).requires_grad_()
    normal_branch_loss(Guess([truth.depth], [truth.depth], [exact]), truth, generator()).backward()
    assert torch.isfinite(exact.grad).all()


def test_normals_of_points_are_those_of_inference():
    depth = ground_depth(0.1)
    found, known = normals_from_points(torch.from_numpy(CAMERA.rays()) * depth.unsqueeze(-1))
    expected = normals_from_depth(depth.numpy(), CAMERA)
    inside = np.s_[2:-2, 2:-2]
    assert known[inside].all()
    np.testing.assert_allclose(found.permute(1, 2, 0).numpy()[inside], expected[inside], atol=1e-3)


@pytest.mark.parametrize("has_normals", [True, False])
def test_depth_normal_consistency(guess, truth, has_normals):
    if not has_normals:
        truth = dataclasses.replace(truth, normal=torch.full_like(truth.normal, torch.nan))
    d = guess.depth.numpy().astype(np.float64) / LABEL_PER_METRE
    space = CAMERA.rays().astype(np.float64) * d[..., None]
    normal, kappa = guess.normal_kappas[-1][:3].numpy(), guess.normal_kappas[-1][3].numpy()
    confidence = guess.confidence.numpy()
    floors = [np.sort(v.ravel())[math.ceil(0.3 * v.size) - 1] for v in (confidence, kappa)]
    errors = []
    for row in range(HEIGHT):
        for column in range(WIDTH):
            sure = confidence[row, column] > 0.5 and confidence[row, column] >= floors[0]
            if row < 3 or not sure or kappa[row, column] < floors[1]:
                continue
            total = np.zeros(3)
            for r in (2, 1):
                if not (r <= row < HEIGHT - r and r <= column < WIDTH - r):
                    continue
                n = np.cross(
                    space[row + r, column] - space[row - r, column],
                    space[row, column + r] - space[row, column - r],
                )
                n /= np.linalg.norm(n)
                total += -n if n @ space[row, column] > 0 else n
            if np.linalg.norm(total) > 0:
                errors.append(1 - normal[:, row, column] @ total / np.linalg.norm(total))
    weight = 1 if has_normals else 2
    found = float(depth_normal_consistency_loss(guess, truth, generator()))
    assert found == pytest.approx(weight * np.mean(errors), rel=1e-3)


def test_consistency_does_not_pull_on_depth(guess, truth):
    depth = guess.depth.clone().requires_grad_()
    normal = guess.normal_kappas[-1].clone().requires_grad_()
    depth_normal_consistency_loss(Guess([depth], [guess.confidence], [normal]), truth, generator()).backward()
    assert depth.grad is None
    assert normal.grad[:3].abs().sum() > 0


def test_sky(guess, truth):
    sky = truth.sky.numpy()
    expected = np.abs(guess.depth.numpy() - 200)[sky].mean() + (1 + guess.normal_kappas[-1][2].numpy()[sky]).mean()
    assert float(sky_loss(guess, truth, generator())) == pytest.approx(expected, rel=1e-5)


def test_log_depth_losses(guess, truth):
    d, target = arrays([guess.depth, truth.depth])
    g = np.log(d) - np.log(target)
    confidence = np.clip(guess.confidence.numpy().astype(np.float64), 1e-4, 1 - 1e-4)
    known = np.isfinite(g)
    goal = np.where(known, np.clip(1 - np.abs(np.exp(g) - 1), 0, None), 0)
    entropy = -(goal * np.log(confidence) + (1 - goal) * np.log(1 - confidence))
    assert float(log_l1_loss(guess, truth, generator())) == pytest.approx(np.nanmean(np.abs(g)), rel=1e-5)
    relative = np.where(g < np.log(3), np.abs(np.exp(g) - 1), 2 + 3 * (g - np.log(3)))
    assert float(relative_l1_loss(guess, truth, generator())) == pytest.approx(np.nanmean(relative), rel=1e-5)
    assert float(image_scale_loss(guess, truth, generator())) == pytest.approx(abs(np.nanmean(g)), rel=1e-4)
    assert float(confidence_entropy_loss(guess, truth, generator())) == pytest.approx(entropy.mean(), rel=1e-4)
    lidar = dataclasses.replace(truth, kind=LabelKind.LIDAR)
    found = float(confidence_entropy_loss(guess, lidar, generator()))
    assert found == pytest.approx(entropy[known].mean(), rel=1e-4)
    gradient = sum(
        np.nanmean(np.abs(np.diff(g[::step, ::step], axis=axis))) / 4 for step in (1, 2, 4, 8) for axis in (0, 1)
    )
    assert float(log_gradient_loss(guess, truth, generator())) == pytest.approx(gradient, rel=1e-4)


def test_relative_error_is_abs_rel_and_then_a_line_without_a_step(truth):
    """Up to three times the truth it is the measure called AbsRel; there it neither jumps nor kinks."""

    def error_at(ratio: float) -> float:
        guess = Guess([truth.depth.nan_to_num(1.0) * ratio], [truth.depth])
        return float(relative_l1_loss(guess, truth, generator()))

    assert error_at(1.7) == pytest.approx(0.7, rel=1e-5)
    assert [error_at(ratio) for ratio in (2.999, 3.0, 3.001)] == pytest.approx([1.999, 2.0, 2.001], abs=1e-4)
    assert error_at(60.0) == pytest.approx(2 + 3 * math.log(20), rel=1e-4)


def test_padding_teaches_no_confidence(guess, truth):
    content = torch.ones_like(truth.content)
    content[:, :9] = False
    changed = guess.confidence.clone()
    changed[:, :9] = 0.99
    inside = dataclasses.replace(truth, content=content)
    one, other = (
        float(confidence_entropy_loss(Guess([guess.depth], [confidence]), inside, generator()))
        for confidence in (guess.confidence, changed)
    )
    assert one == other


@pytest.mark.parametrize("name", LOSS_TERMS)
def test_an_image_without_any_label_costs_nothing_and_moves_nothing(name, guess):
    depth = guess.depth.clone().requires_grad_()
    empty = Truth(
        depth=torch.full((HEIGHT, WIDTH), torch.nan),
        rays=torch.from_numpy(CAMERA.rays()),
        label_per_metre=1.0,
        kind=LabelKind.LIDAR,
        normal=torch.full((3, HEIGHT, WIDTH), torch.nan),
        regions=torch.zeros(HEIGHT, WIDTH, dtype=torch.int32),
        planes=torch.zeros(HEIGHT, WIDTH, dtype=torch.int32),
        sky=torch.zeros(HEIGHT, WIDTH, dtype=torch.bool),
        content=torch.zeros(HEIGHT, WIDTH, dtype=torch.bool),
    )
    loss = LOSS_TERMS[name].function(Guess([depth], [guess.confidence + 0 * depth], ()), empty, generator())
    loss.backward()
    assert loss.item() == 0
    assert torch.count_nonzero(depth.grad) == 0


@pytest.mark.parametrize("name", LOSS_TERMS)
def test_unlabelled_pixels_never_make_a_gradient_infinite(name, guess, truth):
    depth, normal = guess.depth.clone().requires_grad_(), guess.normal_kappas[-1].clone().requires_grad_()
    LOSS_TERMS[name].function(
        Guess([depth], [guess.confidence + 0 * depth], [normal]), truth, generator()
    ).backward()
    gradients = [tensor.grad for tensor in (depth, normal) if tensor.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_a_label_teaches_only_what_it_knows(guess, truth):
    weights = dict.fromkeys(LOSS_TERMS, 1.0)
    learned = {
        kind: set(image_losses(weights, guess, dataclasses.replace(truth, kind=kind), generator()))
        for kind in LABEL_KINDS
    }
    assert learned[LabelKind.DENSE] == learned[LabelKind.STEREO] == set(LOSS_TERMS)
    metric = {"depth_sequence", "silog", "log_l1", "relative_l1", "image_scale", "confidence_entropy"}
    assert learned[LabelKind.SFM] == set(LOSS_TERMS) - metric
    assert learned[LabelKind.LIDAR] == set(LOSS_TERMS) - {"log_gradient"}
