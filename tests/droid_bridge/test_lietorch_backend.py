"""Which lietorch is taken, and that poses go there and come back right, by a double of its interface."""

from __future__ import annotations

import sys
import warnings
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.linalg import expm, logm
from scipy.spatial.transform import Rotation

from droid_bridge import lie, lietorch_backend


def generator(tangent: np.ndarray) -> np.ndarray:
    matrix = np.zeros((4, 4))
    matrix[:3, :3] = np.cross(np.eye(3), tangent[3:6]) + (tangent[6] if len(tangent) == 7 else 0) * np.eye(3)
    matrix[:3, 3] = tangent[:3]
    return matrix


class Group:
    """Elements as the library stores them: translation, quaternion x, y, z, w, and a scale for Sim3."""

    def __init__(self, data: torch.Tensor) -> None:
        self.data = data

    @classmethod
    def exp(cls, tangent: torch.Tensor) -> Group:
        elements = []
        for row in tangent.reshape(-1, tangent.shape[-1]).numpy():
            matrix = expm(generator(row))
            scale = np.cbrt(np.linalg.det(matrix[:3, :3]))
            quaternion = Rotation.from_matrix(matrix[:3, :3] / scale).as_quat()
            elements.append([*matrix[:3, 3], *quaternion, *([scale] if len(row) == 7 else [])])
        return cls(torch.tensor(np.array(elements)).reshape(*tangent.shape[:-1], -1))

    def matrix(self) -> torch.Tensor:
        matrices = []
        for row in self.data.reshape(-1, self.data.shape[-1]).numpy():
            matrix = np.eye(4)
            matrix[:3, :3] = Rotation.from_quat(row[3:7]).as_matrix() * (row[7] if len(row) == 8 else 1)
            matrix[:3, 3] = row[:3]
            matrices.append(matrix)
        return torch.tensor(np.array(matrices)).reshape(*self.data.shape[:-1], 4, 4)

    def log(self) -> torch.Tensor:
        size = 7 if self.data.shape[-1] == 8 else 6
        rows = []
        for matrix in self.matrix().reshape(-1, 4, 4).numpy():
            log = np.real(logm(matrix))
            turn = [log[2, 1] - log[1, 2], log[0, 2] - log[2, 0], log[1, 0] - log[0, 1]]
            rows.append([*log[:3, 3], *(np.array(turn) / 2), np.trace(log) / 3][:size])
        return torch.tensor(np.array(rows)).reshape(*self.data.shape[:-1], size)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch):
    def install(**exports: object) -> None:
        module = ModuleType("lietorch")
        for name, value in exports.items():
            setattr(module, name, value)
        monkeypatch.setitem(sys.modules, "lietorch", module)
        lietorch_backend.lietorch.cache_clear()

    yield install
    lietorch_backend.lietorch.cache_clear()


def test_without_it_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lietorch", None)
    lietorch_backend.lietorch.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lietorch_backend.lietorch() is None
    lietorch_backend.lietorch.cache_clear()


def test_the_namesake_is_refused_in_one_sentence_and_once(installed) -> None:
    installed(nn=object(), bspline=object())
    with pytest.warns(RuntimeWarning, match="not princeton-vl's") as said:
        assert lietorch_backend.lietorch() is None
        assert lietorch_backend.lietorch() is None
    assert len(said) == 1


def test_on_the_cpu_plain_torch_serves(installed) -> None:
    installed(SE3=Group, Sim3=Group)
    assert lietorch_backend.lietorch() is not None
    assert not lietorch_backend.serves(torch.zeros(3, 6))


def test_results_are_the_same(installed, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    rigid = torch.randn(2, 5, 6, dtype=torch.float64)
    similar = torch.randn(2, 5, 7, dtype=torch.float64)
    plain = [lie.se3_exp(rigid), lie.sim3_exp(similar)]
    plain += [lie.se3_log(plain[0]), lie.sim3_log(plain[1])]
    installed(SE3=Group, Sim3=Group)
    monkeypatch.setattr(lietorch_backend, "serves", lambda tensor: True)
    theirs = [lie.se3_exp(rigid), lie.sim3_exp(similar), lie.se3_log(plain[0]), lie.sim3_log(plain[1])]
    for one, other in zip(theirs, plain, strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)
