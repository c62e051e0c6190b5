"""The pose graph: keyframes as similarities, held together by odometry, loops and the scale of their depth priors.

Node k is ``X_k``, the similarity that takes world points in metres to camera k in the front end's own unit there,
so its scale s_k is how many of the front end's units a metre has. With E_ij the measured ``j_from_i``

    odometry, loops    r_ij = log(X_j X_i^-1 E_ij^-1)                       Strasdat et al. (RSS 2010), eq. 18
    scale reading      r_k  = log s_k - z_k - e_k                           z_k = log(map depth / prior depth)
    height reading     r_k  = log s_k + b - h_k                             h_k = log(map height / height taken)
    height             r    = b                                             b = log(height / height taken)
    prior's error      r_k  = e_k - exp(-d_k / L) e_k-1                     d_k metres between the keyframes
    steady drift       r_k  = g_k - g_k-1                                   odometry's scale grows by g a metre

A depth network errs by stretches of road: its log-scale error e is a first-order Gauss-Markov process over the way
travelled, so a hundred readings in a row count as one, and readings kilometres apart as many. It is the model of
``scale_process``, which filters it along the way. Here later readings count for earlier scales as well: without a
loop this is the smoother of that filter (Rauch, Tung and Striebel, 1965), solved as least squares.
The sum of squares is minimised by Gauss-Newton over all X_k, e_k, g_k and b. Loops carry Cauchy's loss, which
starts wide so that a loop far from closed still pulls (graduated non-convexity, Yang et al., RA-L 2020); so do
readings, each at the width beyond which the filter weighs them down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import splu

from droid_bridge.lie import (
    sim3_adjoint,
    sim3_bracket,
    sim3_inverse,
    sim3_log,
    sim3_retract,
    sim3_scale,
)
from droid_bridge.scale_process import ScaleProcess

DOF = 7
_FIRST_NODE_SIGMA = 1e-6
_ANNEALING = (1e6, 100.0, 10.0, 3.0, 1.0)
_MAX_STEPS_PER_WIDTH = 12
_CONVERGED_STEP = 1e-5  # metres, radians and log scale alike


@dataclass(frozen=True)
class PoseEdges:
    """Measured transforms between nodes.

    Attributes
    ----------
    source, target : int64 (E,) node numbers.
    target_from_source : float64 (E, 4, 4) similarities between the units of the two nodes.
    information : float64 (E, 7, 7) of a left perturbation: translation (1/unit^2), rotation (1/rad^2), log scale.
    is_loop : bool (E,) whether the edge can be wrong as a whole.
    """

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    target_from_source: NDArray[np.float64]
    information: NDArray[np.float64]
    is_loop: NDArray[np.bool_]


@dataclass(frozen=True)
class ScaleReadings:
    """What depth priors and the ground say of the nodes' scales, and how their errors hang together.

    Attributes
    ----------
    log_scale : float64 (nodes,) log of map depth over prior depth; NaN without a reading.
    travelled_m : float64 (nodes,) way to each node, increasing.
    process : how both err.
    height_log_scale : float64 (nodes,) log of the camera's height above the ground in the map over the one it
        is taken to have; NaN where no ground is seen; None where it stays at no height.
    """

    log_scale: NDArray[np.float64]
    travelled_m: NDArray[np.float64]
    process: ScaleProcess
    height_log_scale: NDArray[np.float64] | None = None

    def height_steps_m(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The nodes (n,) that see the ground, and the way (n,) from each one before; infinite for the first."""
        if self.height_log_scale is None:
            return np.zeros(0, np.int64), np.zeros(0)
        at = np.flatnonzero(np.isfinite(self.height_log_scale))
        return at, np.diff(self.travelled_m[at], prepend=-np.inf)


@dataclass(frozen=True)
class PoseGraphResult:
    """Where the nodes are best placed.

    Attributes
    ----------
    camera_from_world : float64 (nodes, 4, 4) similarities.
    prior_log_error : float64 (nodes,) the shared error of the depth priors; 0 where nothing is read.
    drift_per_m : float64 (nodes,) the steady change of the log scale at each node; 0 where nothing is read.
    chi2 : float64 (E,) squared normalised residual of each edge.
    steps : Gauss-Newton steps taken.
    """

    camera_from_world: NDArray[np.float64]
    prior_log_error: NDArray[np.float64]
    drift_per_m: NDArray[np.float64]
    chi2: NDArray[np.float64]
    steps: int


def optimise(
    camera_from_world: NDArray[np.float64],
    edges: PoseEdges,
    readings: ScaleReadings | None = None,
    loop_cauchy: float = 3.0,
) -> PoseGraphResult:
    """Place the nodes; the first keeps its pose, and its scale too where no reading fixes one.

    Parameters
    ----------
    camera_from_world : float64 (nodes, 4, 4) similarities to start from.
    edges : at least a chain through all nodes.
    readings : scales by the depth priors, or None.
    loop_cauchy : normalised residual at which a loop counts half.
    """
    graph = _Graph(camera_from_world, edges, readings)
    is_far = bool((graph.chi2()[edges.is_loop] > loop_cauchy**2).any())
    widths = _ANNEALING if is_far else _ANNEALING[-1:]
    steps = 0
    for width in widths:
        for _ in range(_MAX_STEPS_PER_WIDTH):
            steps += 1
            if graph.step(width * loop_cauchy) < _CONVERGED_STEP:
                break
    return PoseGraphResult(graph.poses.numpy().copy(), graph.prior_error, graph.drift_per_m, graph.chi2(), steps)


def edge_chi2(camera_from_world: NDArray[np.float64], edges: PoseEdges) -> NDArray[np.float64]:
    """Squared normalised residuals (E,) of edges between nodes (nodes, 4, 4) where they are."""
    poses = torch.from_numpy(camera_from_world)
    between = poses[edges.target] @ sim3_inverse(poses[edges.source])
    residual = sim3_log(between @ sim3_inverse(torch.from_numpy(edges.target_from_source))).numpy()
    chi2: NDArray[np.float64] = np.einsum("ei,eij,ej->e", residual, edges.information, residual)
    return chi2


class _Graph:
    """The current estimate and its linearisation."""

    def __init__(
        self, camera_from_world: NDArray[np.float64], edges: PoseEdges, readings: ScaleReadings | None
    ) -> None:
        self.poses = torch.from_numpy(np.array(camera_from_world, dtype=np.float64))
        self.prior_error = np.zeros(len(self.poses))
        self.drift_per_m = np.zeros(len(self.poses))
        self.height_log_error = 0.0
        self._first = self.poses[:1].clone()
        self._edges = edges
        self._measured_inverse = sim3_inverse(torch.from_numpy(edges.target_from_source))
        self._readings = readings
        self._reading_at = self._height_at = np.zeros(0, np.int64)
        self._height_sigma = np.zeros(0)
        if readings is not None:
            self._reading_at = np.flatnonzero(np.isfinite(readings.log_scale))
            self._height_at, step_m = readings.height_steps_m()
            self._height_sigma = readings.process.height_sigma * np.sqrt(readings.process.height_sharing(step_m))
        self._is_metric = self._reading_at.size + self._height_at.size > 0

    def chi2(self) -> NDArray[np.float64]:
        """Squared normalised residuals (E,) of the edges."""
        return edge_chi2(self.poses.numpy(), self._edges)

    def step(self, loop_width: float) -> float:
        """One Gauss-Newton step; gives the largest change of any unknown."""
        normal, gradient = _NormalEquations(), np.zeros((DOF + 2) * len(self.poses) + 1)
        self._add_edges(normal, gradient, loop_width)
        self._add_first_node(normal, gradient)
        self._add_readings(normal, gradient)
        change = _solved(normal, gradient)
        nodes = len(self.poses)
        moves = change[: DOF * nodes].reshape(nodes, DOF)
        self.poses = sim3_retract(self.poses, torch.from_numpy(moves))
        self.prior_error = self.prior_error + change[DOF * nodes : (DOF + 1) * nodes]
        self.drift_per_m = self.drift_per_m + change[(DOF + 1) * nodes : -1]
        self.height_log_error += float(change[-1])
        return float(np.abs(change).max())

    def _add_edges(self, normal: _NormalEquations, gradient: NDArray[np.float64], loop_width: float) -> None:
        edges = self._edges
        between = self.poses[edges.target] @ sim3_inverse(self.poses[edges.source])
        residual = sim3_log(between @ self._measured_inverse)
        way_m = self._way_m()
        residual[:, -1] -= torch.from_numpy(self.drift_per_m[edges.source] * way_m)
        # The inverse left Jacobian to second order: a loop that is far from closed needs more than the identity.
        bracket = sim3_bracket(residual)
        by_target = torch.eye(DOF, dtype=torch.float64) - 0.5 * bracket + bracket @ bracket / 12
        by_source = (-by_target @ sim3_adjoint(between)).numpy()
        r, j = residual.numpy(), by_target.numpy()
        chi2 = np.einsum("ei,eij,ej->e", r, edges.information, r)
        weight = np.where(edges.is_loop, 1 / (1 + chi2 / loop_width**2), 1.0)
        information = weight[:, None, None] * edges.information
        columns = DOF * np.stack([edges.source, edges.target], axis=1)[:, :, None] + np.arange(DOF)
        drift_columns = (DOF + 1) * len(self.poses) + edges.source[:, None]
        by_drift = np.zeros((len(way_m), DOF, 1))
        by_drift[:, -1, 0] = -way_m
        jacobian = np.concatenate([by_source, j, by_drift], axis=2)
        weighted = jacobian.transpose(0, 2, 1) @ information
        columns = np.concatenate([columns.reshape(len(columns), 2 * DOF), drift_columns], axis=1)
        normal.add_blocks(columns, weighted @ jacobian)
        np.add.at(gradient, columns, -(weighted @ r[:, :, None])[..., 0])

    def _way_m(self) -> NDArray[np.float64]:
        """Way (E,) over which each edge's scale drifts; 0 for loops, and where nothing is read."""
        edges, readings = self._edges, self._readings
        if readings is None or not self._is_metric:
            return np.zeros(len(edges.source))
        way_m = readings.travelled_m[edges.target] - readings.travelled_m[edges.source]
        return np.where(edges.is_loop, 0.0, way_m)

    def _add_first_node(self, normal: _NormalEquations, gradient: NDArray[np.float64]) -> None:
        held = DOF - 1 if self._is_metric else DOF
        residual = sim3_log(self.poses[:1] @ sim3_inverse(self._first)).numpy()[0, :held]
        information = 1 / _FIRST_NODE_SIGMA**2
        normal.add_diagonal(np.arange(held), np.full(held, information))
        gradient[:held] -= information * residual

    def _add_readings(self, normal: _NormalEquations, gradient: NDArray[np.float64]) -> None:
        nodes = len(self.poses)
        error_column = DOF * nodes + np.arange(nodes)
        readings, at = self._readings, self._reading_at
        if readings is None or not self._is_metric:
            unread = DOF * nodes + np.arange(2 * nodes + 1)
            normal.add_diagonal(unread, np.ones(len(unread)))
            return
        process = readings.process
        log_scale = torch.log(sim3_scale(self.poses)).numpy()
        scale_column = DOF * np.arange(nodes) + DOF - 1
        misfit = log_scale[at] - readings.log_scale[at] - self.prior_error[at]
        doubt = np.hypot(1, misfit / (process.outlier_sigmas * process.frame_sigma))
        normal.add_scalars(
            gradient,
            columns=np.stack([scale_column[at], error_column[at]], axis=1),
            jacobian=np.tile([1.0, -1.0], (at.size, 1)),
            residual=misfit,
            sigma=process.frame_sigma * doubt,
        )
        self._add_heights(normal, gradient, log_scale, scale_column)
        way_m = np.diff(readings.travelled_m)
        self._add_drift(normal, gradient, (DOF + 1) * nodes, process, way_m)
        kept = np.exp(-way_m / process.error_length_m)
        fresh = process.error_sigma * np.sqrt(np.maximum(1 - kept**2, 1e-6))
        normal.add_scalars(
            gradient,
            columns=np.stack([error_column[:-1], error_column[1:]], axis=1),
            jacobian=np.stack([-kept, np.ones_like(kept)], axis=1),
            residual=self.prior_error[1:] - kept * self.prior_error[:-1],
            sigma=fresh,
        )
        normal.add_scalars(
            gradient,
            columns=error_column[:1, None],
            jacobian=np.ones((1, 1)),
            residual=self.prior_error[:1],
            sigma=np.array([process.error_sigma]),
        )

    def _add_heights(
        self,
        normal: _NormalEquations,
        gradient: NDArray[np.float64],
        log_scale: NDArray[np.float64],
        scale_column: NDArray[np.int64],
    ) -> None:
        """What the ground says of the scale, with nothing of what the priors err by, and the height itself."""
        readings, at = self._readings, self._height_at
        height_column = len(gradient) - 1
        if readings is None or readings.height_log_scale is None:
            normal.add_diagonal(np.array([height_column]), np.ones(1))
            return
        process = readings.process
        normal.add_scalars(
            gradient,
            columns=np.array([[height_column]]),
            jacobian=np.ones((1, 1)),
            residual=np.array([self.height_log_error]),
            sigma=np.array([process.told_height_sigma]),
        )
        misfit = log_scale[at] + self.height_log_error - readings.height_log_scale[at]
        doubt = np.hypot(1, misfit / (process.outlier_sigmas * process.height_sigma))
        normal.add_scalars(
            gradient,
            columns=np.stack([scale_column[at], np.full(at.size, height_column)], axis=1),
            jacobian=np.ones((at.size, 2)),
            residual=misfit,
            sigma=self._height_sigma * doubt,
        )

    def _add_drift(
        self,
        normal: _NormalEquations,
        gradient: NDArray[np.float64],
        first_column: int,
        process: ScaleProcess,
        way_m: NDArray[np.float64],
    ) -> None:
        """The steady drift: what is expected of it before the drive, and how little it changes."""
        columns = first_column + np.arange(len(self.poses))
        drift = self.drift_per_m
        normal.add_scalars(
            gradient,
            columns=columns[:1, None],
            jacobian=np.ones((1, 1)),
            residual=drift[:1],
            sigma=np.array([process.drift_sigma_per_m]),
        )
        normal.add_scalars(
            gradient,
            columns=np.stack([columns[:-1], columns[1:]], axis=1),
            jacobian=np.tile([-1.0, 1.0], (len(way_m), 1)),
            residual=np.diff(drift),
            sigma=process.drift_walk_sigma * np.sqrt(np.maximum(way_m, 1e-3)),
        )


class _NormalEquations:
    """Collects the blocks of a sparse symmetric matrix."""

    def __init__(self) -> None:
        self._rows: list[NDArray[np.int64]] = []
        self._columns: list[NDArray[np.int64]] = []
        self._values: list[NDArray[np.float64]] = []

    def add_blocks(self, columns: NDArray[np.int64], blocks: NDArray[np.float64]) -> None:
        """Add dense blocks (n, k, k) at the unknowns (n, k)."""
        self._rows.append(np.broadcast_to(columns[:, :, None], blocks.shape).ravel())
        self._columns.append(np.broadcast_to(columns[:, None, :], blocks.shape).ravel())
        self._values.append(blocks.ravel())

    def add_diagonal(self, columns: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Add to the diagonal."""
        self.add_blocks(columns[:, None], values[:, None, None])

    def add_scalars(
        self,
        gradient: NDArray[np.float64],
        columns: NDArray[np.int64],
        jacobian: NDArray[np.float64],
        residual: NDArray[np.float64],
        sigma: NDArray[np.float64],
    ) -> None:
        """Add n scalar residuals (n,) of k unknowns (n, k) each."""
        information = 1 / sigma**2
        self.add_blocks(columns, information[:, None, None] * jacobian[:, :, None] * jacobian[:, None, :])
        np.add.at(gradient, columns, -(information * residual)[:, None] * jacobian)

    def matrix(self, size: int) -> coo_matrix:
        """The sum of all blocks."""
        entries = (np.concatenate(self._rows), np.concatenate(self._columns))
        return coo_matrix((np.concatenate(self._values), entries), shape=(size, size))


def _solved(normal: _NormalEquations, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
    """The step (unknowns,). Metres and radians differ by orders of magnitude, so the matrix is scaled to ones."""
    matrix = normal.matrix(len(gradient)).tocsc()
    scaling = 1 / np.sqrt(matrix.diagonal())
    balanced = (diags(scaling) @ matrix @ diags(scaling)).tocsc()
    factors = splu(balanced, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    return np.asarray(scaling * factors.solve(scaling * gradient), dtype=np.float64)
