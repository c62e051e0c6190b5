from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from droid_bridge.lie import (
    quaternion_from_rotation,
    rotation_from_quaternion,
    se3_adjoint,
    se3_exp,
    se3_inverse,
    se3_log,
    se3_orthonormalised,
    se3_retract,
    sim3_adjoint,
    sim3_bracket,
    sim3_exp,
    sim3_inverse,
    sim3_log,
    sim3_retract,
    sim3_scale,
    skew,
    so3_exp,
    so3_log,
)

torch.set_num_threads(1)

coordinate = st.floats(-20, 20, allow_nan=False)
direction = st.tuples(*[st.floats(-1, 1, allow_nan=False)] * 3).filter(lambda v: math.hypot(*v) > 0.1)
angle = st.one_of(st.floats(0, math.pi - 1e-3), st.sampled_from([0.0, 1e-12, 1e-8, 9e-5, 1.1e-4, 3.1]))


@st.composite
def tangents(draw: st.DrawFn) -> torch.Tensor:
    axis = np.array(draw(direction))
    rotation = axis / np.linalg.norm(axis) * draw(angle)
    return torch.tensor([*[draw(coordinate) for _ in range(3)], *rotation], dtype=torch.float64)


@given(tangents())
@settings(max_examples=200, deadline=None)
def test_log_inverts_exp(tangent: torch.Tensor) -> None:
    torch.testing.assert_close(se3_log(se3_exp(tangent)), tangent, atol=1e-8, rtol=1e-8)


@given(tangents())
@settings(max_examples=100, deadline=None)
def test_exp_is_the_matrix_exponential(tangent: torch.Tensor) -> None:
    generator = torch.zeros(4, 4, dtype=torch.float64)
    generator[:3, :3] = skew(tangent[3:])
    generator[:3, 3] = tangent[:3]
    torch.testing.assert_close(se3_exp(tangent), torch.linalg.matrix_exp(generator), atol=1e-10, rtol=1e-10)


@given(tangents())
@settings(max_examples=100, deadline=None)
def test_rotations_agree_with_scipy(tangent: torch.Tensor) -> None:
    expected = Rotation.from_rotvec(tangent[3:].numpy())
    rotation = so3_exp(tangent[3:])
    np.testing.assert_allclose(rotation.numpy(), expected.as_matrix(), atol=1e-12)
    quaternion = expected.as_quat()
    quaternion = quaternion * (1 if quaternion[3] >= 0 else -1)
    np.testing.assert_allclose(quaternion_from_rotation(rotation).numpy(), quaternion, atol=1e-7)


def test_log_is_right_at_half_a_turn() -> None:
    for axis in torch.eye(3, dtype=torch.float64):
        rotation = so3_exp(axis * math.pi)
        torch.testing.assert_close(so3_exp(so3_log(rotation)), rotation, atol=1e-9, rtol=0)
        assert abs(float(torch.linalg.vector_norm(so3_log(rotation))) - math.pi) < 1e-6


@given(tangents(), tangents())
@settings(max_examples=100, deadline=None)
def test_adjoint_moves_a_perturbation_through_a_transform(pose: torch.Tensor, small: torch.Tensor) -> None:
    transform = se3_exp(pose)
    moved = se3_exp(se3_adjoint(transform) @ (small * 1e-3)) @ transform
    torch.testing.assert_close(moved, transform @ se3_exp(small * 1e-3), atol=1e-9, rtol=1e-9)


@given(tangents())
@settings(max_examples=100, deadline=None)
def test_inverse_undoes(tangent: torch.Tensor) -> None:
    transform = se3_exp(tangent)
    torch.testing.assert_close(
        transform @ se3_inverse(transform), torch.eye(4, dtype=torch.float64), atol=1e-10, rtol=0
    )


@given(tangents())
@settings(max_examples=50, deadline=None)
def test_quaternions_round_trip(tangent: torch.Tensor) -> None:
    rotation = so3_exp(tangent[3:])
    torch.testing.assert_close(rotation_from_quaternion(quaternion_from_rotation(rotation)), rotation)


def test_gradient_of_exp_is_finite_at_zero() -> None:
    tangent = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    jacobian = torch.autograd.functional.jacobian(se3_exp, tangent)
    assert torch.isfinite(jacobian).all()
    torch.testing.assert_close(jacobian[:3, 3, :3], torch.eye(3, dtype=torch.float64))


def test_orthonormalising_repairs_and_leaves_good_poses_alone() -> None:
    good = se3_exp(torch.tensor([1.0, -2.0, 3.0, 0.4, -0.2, 0.9], dtype=torch.float64))
    torch.testing.assert_close(se3_orthonormalised(good), good)
    torch.manual_seed(0)
    bad = good.clone()
    bad[:3, :3] += 1e-3 * torch.randn(3, 3, dtype=torch.float64)
    repaired = se3_orthonormalised(bad)[:3, :3]
    torch.testing.assert_close(repaired @ repaired.T, torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(repaired, good[:3, :3], atol=5e-3, rtol=0)


def test_ten_thousand_steps_stay_on_the_group() -> None:
    pose = torch.eye(4, dtype=torch.float64)
    step = torch.tensor([0.1, 0.0, 1.0, 0.01, 0.02, -0.005], dtype=torch.float64)
    for _ in range(10_000):
        pose = se3_retract(pose, step)
    rotation = pose[:3, :3]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64), atol=1e-14, rtol=0)


def test_shapes_are_batched_and_types_kept() -> None:
    tangent = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(1))
    transform = se3_exp(tangent)
    assert transform.shape == (2, 5, 4, 4)
    assert transform.dtype == torch.float32
    assert se3_adjoint(transform).shape == (2, 5, 6, 6)
    assert se3_log(transform).shape == (2, 5, 6)


log_scale = st.one_of(st.floats(-2, 2), st.sampled_from([0.0, 1e-12, -1e-9, 1e-5]))


@st.composite
def similarity_tangents(draw: st.DrawFn) -> torch.Tensor:
    return torch.cat([draw(tangents()), torch.tensor([draw(log_scale)], dtype=torch.float64)])


@given(similarity_tangents())
@settings(max_examples=60, deadline=None)
def test_log_inverts_exp_of_similarities(tangent: torch.Tensor) -> None:
    torch.testing.assert_close(sim3_log(sim3_exp(tangent)), tangent, atol=1e-7, rtol=1e-7)


@given(similarity_tangents())
@settings(max_examples=30, deadline=None)
def test_a_similarity_turns_scales_and_moves(tangent: torch.Tensor) -> None:
    similarity = sim3_exp(tangent)
    rotation = Rotation.from_rotvec(tangent[3:6].numpy()).as_matrix()
    assert float(sim3_scale(similarity)) == pytest.approx(math.exp(float(tangent[6])), rel=1e-9)
    np.testing.assert_allclose(similarity[:3, :3].numpy(), math.exp(float(tangent[6])) * rotation, atol=1e-8)
    # Without the scale it is SE(3).
    rigid = torch.cat([tangent[:6], torch.zeros(1, dtype=torch.float64)])
    torch.testing.assert_close(sim3_exp(rigid), se3_exp(tangent[:6]), atol=1e-9, rtol=1e-9)


@given(similarity_tangents(), similarity_tangents(), similarity_tangents())
@settings(max_examples=30, deadline=None)
def test_similarities_are_a_group(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> None:
    first, second, third = sim3_exp(a), sim3_exp(b), sim3_exp(c)
    torch.testing.assert_close(first @ sim3_inverse(first), torch.eye(4, dtype=torch.float64), atol=1e-9, rtol=0)
    product = first @ second
    assert float(sim3_scale(product)) == pytest.approx(math.exp(float(a[6] + b[6])), rel=1e-9)
    torch.testing.assert_close(sim3_inverse(product), sim3_inverse(second) @ sim3_inverse(first))
    torch.testing.assert_close(product @ third, first @ (second @ third))


@given(similarity_tangents(), similarity_tangents())
@settings(max_examples=30, deadline=None)
def test_adjoint_moves_a_perturbation_through_a_similarity(pose: torch.Tensor, small: torch.Tensor) -> None:
    similarity = sim3_exp(pose)
    moved = sim3_exp(sim3_adjoint(similarity) @ (small * 1e-3)) @ similarity
    torch.testing.assert_close(moved, similarity @ sim3_exp(small * 1e-3), atol=1e-8, rtol=1e-8)


@given(similarity_tangents())
@settings(max_examples=20, deadline=None)
def test_adjoint_of_an_exponential_is_the_exponential_of_the_bracket(tangent: torch.Tensor) -> None:
    expected = torch.linalg.matrix_exp(sim3_bracket(tangent))
    torch.testing.assert_close(sim3_adjoint(sim3_exp(tangent)), expected, atol=1e-7, rtol=1e-7)


def test_five_hundred_similar_steps_stay_on_the_group() -> None:
    pose = torch.eye(4, dtype=torch.float64)
    step = torch.tensor([0.1, 0.0, 1.0, 0.01, 0.02, -0.005, 2e-3], dtype=torch.float64)
    for _ in range(500):
        pose = sim3_retract(pose, step)
    assert float(sim3_scale(pose)) == pytest.approx(math.e, rel=1e-9)
    rotation = pose[:3, :3] / math.e
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64), atol=1e-9, rtol=0)
