from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metric3d_ros.quaternion import quaternion_from_rotation, rotation_from_quaternion

Rotation = pytest.importorskip("scipy.spatial.transform", reason="scipy comes with the [slam] extra").Rotation


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 1e-3))
def test_quaternion_round_trip(quaternion: list[float]) -> None:
    rotation = rotation_from_quaternion(np.array(quaternion))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    back = quaternion_from_rotation(rotation)
    assert np.linalg.norm(back) == pytest.approx(1)
    assert back[3] >= 0
    np.testing.assert_allclose(rotation_from_quaternion(back), rotation, atol=1e-12)


@given(st.floats(-np.pi, np.pi), st.sampled_from([[1, 0, 0], [0, 1, 0], [0, 0, 1]]))
def test_quaternion_turns_as_rodrigues_does(angle: float, axis: list[int]) -> None:
    rotation = cv2.Rodrigues(angle * np.array(axis, dtype=np.float64))[0]
    expected = np.array([*(np.sin(angle / 2) * np.array(axis)), np.cos(angle / 2)])
    quaternion = quaternion_from_rotation(rotation)
    assert abs(quaternion @ expected) == pytest.approx(1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-4, 4), min_size=3, max_size=3))
def test_quaternions_agree_with_scipy(rotation_vector: list[float]) -> None:
    rotation = Rotation.from_rotvec(rotation_vector).as_matrix()
    quaternion = quaternion_from_rotation(rotation)
    np.testing.assert_allclose(Rotation.from_quat(quaternion).as_matrix(), rotation, atol=1e-9)
    np.testing.assert_allclose(rotation_from_quaternion(quaternion[None])[0], rotation, atol=1e-9)
    assert quaternion[3] >= 0
