"""How the scale of a map and the errors of a depth network change along the way: the one home of that model.

Four unknowns travel with the camera, over a step of ds metres:

    scale   l <- l + g ds + w_l     log (map depth / true depth), a random walk that drifts, var(w_l) = q_l ds
    drift   g <- g + w_g            its systematic part, 1/m,                                var(w_g) = q_g ds
    error   e <- exp(-ds/L) e + w_e log (prior depth / true depth), shared by all depths seen within some L metres,
                                    var(w_e) = sigma_e^2 (1 - exp(-2 ds/L))
    height  b <- b                  log (camera's height above the ground / the height it is taken to have)

A frame with a prior measures their difference, log (map depth / prior depth), with noise of its own:

    z = l - e + v,    var(v) = sigma_v^2.

Where the camera stays at one height above the ground, the height at which the matches show the ground measures

    h = l + b + v_h,    var(v_h) = sigma_h^2 max(1, 2 L_h / ds)

ds metres after the last such reading. Its error is shared over some L_h metres, so readings that follow each other
sooner tell no more together than independent ones of this variance. What a depth network errs by is not in it. A
height that is told makes b small, and so h measures the scale; one that is not leaves b to be found, and h tells
how the scale changes.

Averaging z over frames treats errors that last for L metres as if each frame had its own, and lets the scale
follow them; the filter does not. What it forgets is set by how the map alone drifts, which takes hundreds of
metres. A constant error of the prior cannot be seen by anything that has only the prior to measure with.

How far a prior errs, and whether its errors last, differs from one to the next: a laser's do not, a network's do.
So a few filters with other sigma_e and sigma_v run side by side, each counts as much as it foresees what comes
(Magill, IEEE Transactions on Automatic Control 10, 1965), and the drive itself tells what its prior is worth.
float64 throughout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

_SCALE, _DRIFT, _ERROR, _HEIGHT = range(4)
_BY_PRIOR = np.array([1.0, 0.0, -1.0, 0.0])
_BY_HEIGHT = np.array([1.0, 0.0, 0.0, 1.0])
# What lies at less than half or more than twice the height told is not the ground, or that is not the height.
_LARGEST_HEIGHT_ERROR = math.log(2)


@dataclass(frozen=True)
class ScaleProcess:
    """The statistics of the model.

    Attributes
    ----------
    error_sigma : relative error of the prior that neighbouring frames share, sigma_e.
    error_length_m : the distance over which it is shared, L.
    frame_sigma : relative error of the scale of one image, shared with no other, sigma_v.
    walk_sigma_per_root_m : random change of the map's scale over one metre, the root of q_l.
    turn_sigma_per_root_rad : the same for a turn, which takes away the view that carried the scale.
    drift_sigma_per_m : systematic change of the map's scale per metre, as it is expected before the drive.
    drift_walk_sigma : change of the drift over one metre, the root of q_g.
    start_sigma : how far the map's scale may be off before anything is measured.
    height_sigma, height_length_m : relative error of the camera's height above the ground as the matches show it,
        and the distance over which it is shared, sigma_h and L_h.
    told_height_sigma : relative error of the height that the camera is taken to have.
    error_sigmas, frame_sigmas : the values of sigma_e and sigma_v among which a drive decides.
    patience : surprising measurements in a row after which the map has changed, and not the prior.
    outlier_sigmas : surprise beyond which a measurement pulls the less the farther off it is.
    """

    error_sigma: float = 0.1
    error_length_m: float = 50.0
    frame_sigma: float = 0.03
    walk_sigma_per_root_m: float = 1e-3
    turn_sigma_per_root_rad: float = 0.05
    drift_sigma_per_m: float = 1e-4
    drift_walk_sigma: float = 1e-6
    start_sigma: float = 10.0
    height_sigma: float = 0.03
    height_length_m: float = 10.0
    told_height_sigma: float = 0.01
    error_sigmas: tuple[float, ...] = (0.01, 0.04, 0.12)
    frame_sigmas: tuple[float, ...] = (0.01, 0.02, 0.035, 0.06)
    outlier_sigmas: float = 2.5
    patience: int = 8

    def contradicts_height(self, log_ratio: NDArray[np.float64] | float) -> NDArray[np.bool_]:
        """Whether a map in metres that has a height told at this log of a factor sees no ground, or it is none."""
        is_told = self.told_height_sigma < _LARGEST_HEIGHT_ERROR
        return np.asarray(is_told & (np.abs(log_ratio) > _LARGEST_HEIGHT_ERROR))

    def of_prior(self, log_ratio: float, extra_variance: float) -> _Measurement:
        """Log (map depth / prior depth) as a frame measures it."""
        return _Measurement(log_ratio, _BY_PRIOR, self.frame_sigma**2, extra_variance)

    def of_height(self, log_ratio: float, step_m: float) -> _Measurement:
        """Log (map height / height taken) as the ground measures it, so far after the last time."""
        return _Measurement(
            log_ratio, _BY_HEIGHT, self.height_sigma**2, sharing=float(self.height_sharing(step_m))
        )

    def height_sharing(self, step_m: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """What the variance of a reading of the height is multiplied by, ds metres after the one before."""
        return np.maximum(1.0, 2 * self.height_length_m / np.maximum(step_m, 1e-3))

    def transition(self, step_m: float, turn_rad: float = 0.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Transition (4, 4) and covariance (4, 4) of what is added, over a step along the way and a turn."""
        kept = math.exp(-step_m / self.error_length_m)
        transition = np.diag([1.0, 1.0, kept, 1.0])
        transition[_SCALE, _DRIFT] = step_m
        added = np.diag(
            [
                self.walk_sigma_per_root_m**2 * step_m + self.turn_sigma_per_root_rad**2 * turn_rad,
                self.drift_walk_sigma**2 * step_m,
                self.error_sigma**2 * (1 - kept * kept),
                0.0,
            ]
        )
        return transition, added


@dataclass(frozen=True)
class _Measurement:
    """A value of ``by @ (scale, drift, error, height)``, its variance by the model and what it has beside that,
    and how many such readings tell as one.
    """

    value: float
    by: NDArray[np.float64]
    own: float
    extra: float = 0.0
    sharing: float = 1.0


@dataclass(frozen=True)
class ScaleBelief:
    """Mean (4,) and covariance (4, 4) of (scale, drift, error, height) at one place."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @classmethod
    def at_start(cls, process: ScaleProcess) -> ScaleBelief:
        """What is known before the first frame."""
        sigmas = [
            process.start_sigma,
            process.drift_sigma_per_m,
            process.error_sigma,
            process.told_height_sigma,
        ]
        return cls(np.zeros(4), np.diag(np.square(sigmas)))

    @property
    def log_scale(self) -> float:
        """Expected log of map depth over true depth."""
        return float(self.mean[_SCALE])

    @property
    def log_scale_sigma(self) -> float:
        """Standard deviation of it."""
        return math.sqrt(float(self.covariance[_SCALE, _SCALE]))

    @property
    def expected_measurement(self) -> float:
        """Expected log of map depth over prior depth."""
        return float(self.mean[_SCALE] - self.mean[_ERROR])

    @property
    def height_log_error(self) -> float:
        """Expected log of the camera's height over the height it is taken to have."""
        return float(self.mean[_HEIGHT])

    def after(self, step_m: float, process: ScaleProcess, turn_rad: float = 0.0) -> ScaleBelief:
        """The belief a distance and a turn further on."""
        transition, added = process.transition(step_m, turn_rad)
        return ScaleBelief(transition @ self.mean, transition @ self.covariance @ transition.T + added)

    def measured(self, log_ratio: float, process: ScaleProcess, extra_variance: float = 0.0) -> ScaleBelief:
        """The belief after a frame measured log (map depth / prior depth).

        Parameters
        ----------
        log_ratio : the measurement.
        process : the model.
        extra_variance : of this measurement, added to that of the model.
        """
        return self.updated(process.of_prior(log_ratio, extra_variance), process)

    def measured_height(self, log_ratio: float, process: ScaleProcess, step_m: float) -> ScaleBelief:
        """The belief after the ground measured log (map height / height taken), so far after the last time."""
        return self.updated(process.of_height(log_ratio, step_m), process)

    def updated(self, measured: _Measurement, process: ScaleProcess) -> ScaleBelief:
        """The belief after a measurement, which pulls the less the farther off it is."""
        outlying = self.surprise_sigmas(measured) / process.outlier_sigmas
        variance = (measured.own + measured.extra) * measured.sharing * max(1.0, outlying) ** 4
        by = measured.by
        gain = self.covariance @ by / (by @ self.covariance @ by + variance)
        kept = np.eye(4) - np.outer(gain, by)
        # Joseph's form stays positive definite whatever the rounding.
        covariance = kept @ self.covariance @ kept.T + variance * np.outer(gain, gain)
        return ScaleBelief(self.mean + gain * self.difference(measured), covariance)

    def difference(self, measured: _Measurement) -> float:
        """A measurement less what is expected of it."""
        return measured.value - float(measured.by @ self.mean)

    def surprise_sigmas(self, measured: _Measurement, sharing: float = 1.0) -> float:
        """How far a measurement lies from the expected one, in standard deviations of their difference."""
        return abs(self.difference(measured)) / math.sqrt(self._variance(measured, sharing))

    def _variance(self, measured: _Measurement, sharing: float) -> float:
        """Of the difference between a measurement and what is expected of it."""
        return float(measured.by @ self.covariance @ measured.by) + measured.own * sharing + measured.extra

    def with_unknown_scale(self, process: ScaleProcess) -> ScaleBelief:
        """The belief where a new map begins: what is known of the prior stays, the scale is anything."""
        mean, covariance = self.mean.copy(), self.covariance.copy()
        mean[_SCALE] = 0
        covariance[_SCALE], covariance[:, _SCALE] = 0, 0
        covariance[_SCALE, _SCALE] = process.start_sigma**2
        return ScaleBelief(mean, covariance)

    def log_likelihood(self, measured: _Measurement, process: ScaleProcess) -> float:
        """How well a measurement was foreseen; one far off says no more than that it is."""
        surprise = min(self.surprise_sigmas(measured, measured.sharing), process.outlier_sigmas)
        return -0.5 * (surprise**2 + math.log(self._variance(measured, measured.sharing)))

    def doubted(self, difference: float) -> ScaleBelief:
        """The belief where the scale of the map may be off by all that a measurement differs."""
        covariance = self.covariance.copy()
        covariance[_SCALE, _SCALE] += difference**2
        return ScaleBelief(self.mean, covariance)

    def rescaled(self, log_factor: float) -> ScaleBelief:
        """The belief after the map was made larger by ``exp(log_factor)``."""
        return ScaleBelief(self.mean + np.array([log_factor, 0.0, 0.0, 0.0]), self.covariance)


@dataclass(frozen=True)
class ScaleBeliefs:
    """Beliefs under several processes, and how much each counts.

    Attributes
    ----------
    processes, beliefs : one of each per hypothesis.
    log_weights : (hypotheses,) logs of their probabilities.
    surprises, height_surprises : measurements in a row, by priors and by the height, that surprised the likeliest
        of them.
    """

    processes: tuple[ScaleProcess, ...]
    beliefs: tuple[ScaleBelief, ...]
    log_weights: NDArray[np.float64]
    surprises: int = 0
    height_surprises: int = 0

    @classmethod
    def at_start(cls, process: ScaleProcess) -> ScaleBeliefs:
        """Every hypothesis alike; ``process`` gives what they have in common."""
        processes = tuple(
            replace(process, error_sigma=error_sigma, frame_sigma=frame_sigma)
            for error_sigma in process.error_sigmas
            for frame_sigma in process.frame_sigmas
        )
        beliefs = tuple(ScaleBelief.at_start(each) for each in processes)
        return cls(processes, beliefs, np.full(len(processes), -math.log(len(processes))))

    @property
    def weights(self) -> NDArray[np.float64]:
        """Probabilities (hypotheses,) of the hypotheses."""
        weights = np.exp(self.log_weights - self.log_weights.max())
        return np.asarray(weights / weights.sum())

    @property
    def log_scale(self) -> float:
        """Expected log of map depth over true depth."""
        return float(self.weights @ [belief.log_scale for belief in self.beliefs])

    @property
    def height_log_error(self) -> float:
        """Expected log of the camera's height over the height it is taken to have."""
        return float(self.weights @ [belief.height_log_error for belief in self.beliefs])

    @property
    def log_scale_variance(self) -> float:
        """Variance of it: that within the hypotheses, and that between them."""
        within = [belief.log_scale_sigma**2 for belief in self.beliefs]
        between = [(belief.log_scale - self.log_scale) ** 2 for belief in self.beliefs]
        return float(self.weights @ np.add(within, between))

    @property
    def expected_measurement(self) -> float:
        """Expected log of map depth over prior depth."""
        return float(self.weights @ [belief.expected_measurement for belief in self.beliefs])

    def after(self, step_m: float, turn_rad: float) -> ScaleBeliefs:
        """The beliefs a distance and a turn further on."""
        each = zip(self.beliefs, self.processes, strict=True)
        return replace(self, beliefs=tuple(belief.after(step_m, process, turn_rad) for belief, process in each))

    def measured(self, log_ratio: float, extra_variance: float = 0.0) -> ScaleBeliefs:
        """The beliefs after a frame measured log (map depth / prior depth)."""
        each = [process.of_prior(log_ratio, extra_variance) for process in self.processes]
        beliefs, surprises = self._updated(each, self.surprises)
        return replace(beliefs, surprises=surprises)

    def measured_height(self, log_ratio: float, step_m: float) -> ScaleBeliefs:
        """The beliefs after the ground measured log (map height / height taken), so far after the last time."""
        each = [process.of_height(log_ratio, step_m) for process in self.processes]
        beliefs, surprises = self._updated(each, self.height_surprises)
        return replace(beliefs, height_surprises=surprises)

    def _updated(self, each: list[_Measurement], surprises: int) -> tuple[ScaleBeliefs, int]:
        """The beliefs after a measurement, as each hypothesis has it, and how many in a row were surprises."""
        process, best = self.processes[0], int(self.log_weights.argmax())
        is_surprise = self.beliefs[best].surprise_sigmas(replace(each[best], extra=0.0)) > process.outlier_sigmas
        surprises = surprises + 1 if is_surprise else 0
        if surprises >= process.patience:
            return self._scale_doubted(each)._updated(each, 0)
        both = list(zip(self.beliefs, each, strict=True))
        gained = np.array([belief.log_likelihood(one, process) for belief, one in both])
        log_weights = self.log_weights + gained
        beliefs = tuple(belief.updated(one, process) for belief, one in both)
        return replace(self, beliefs=beliefs, log_weights=log_weights - log_weights.max()), surprises

    def _scale_doubted(self, each: list[_Measurement]) -> ScaleBeliefs:
        """The beliefs where the scale of the map may be off by all that a measurement differs from each."""
        both = zip(self.beliefs, each, strict=True)
        return replace(self, beliefs=tuple(belief.doubted(belief.difference(one)) for belief, one in both))

    def surprise_sigmas(self, log_ratio: float) -> float:
        """How far a measurement lies from what is expected, in standard deviations of the likeliest hypothesis."""
        best = int(self.log_weights.argmax())
        return self.beliefs[best].surprise_sigmas(self.processes[best].of_prior(log_ratio, 0.0))

    def with_unknown_scale(self) -> ScaleBeliefs:
        """The beliefs where a new map begins."""
        each = zip(self.beliefs, self.processes, strict=True)
        return replace(self, beliefs=tuple(belief.with_unknown_scale(process) for belief, process in each))

    def rescaled(self, log_factor: float) -> ScaleBeliefs:
        """The beliefs after the map was made larger by ``exp(log_factor)``."""
        return replace(self, beliefs=tuple(belief.rescaled(log_factor) for belief in self.beliefs))
