"""The scale of the map while it grows: what frames' priors and the ground say of it, filtered along the way."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

from droid_bridge.scale_prior import CellPrior, KnownDepth, PriorFit, ScalePriorOptions, fit_prior, trusted
from droid_bridge.scale_process import ScaleBeliefs, ScaleProcess

logger = logging.getLogger(__name__)


class ScaleTracker:
    """Keeps the belief about the map's scale and the prior's error, and says what to do about both."""

    def __init__(self, process: ScaleProcess, options: ScalePriorOptions) -> None:
        self._process = process
        self._options = options
        self._belief = ScaleBeliefs.at_start(process)
        self._way_since_height_m = math.inf
        self._has_warned = False

    @property
    def expected_log_scale(self) -> float:
        """Expected log (map depth / prior depth) of a frame here; 0 without memory."""
        return self._belief.expected_measurement if self._options.scale_memory else 0.0

    @property
    def log_scale_variance(self) -> float:
        """Variance of the log of map depth over true depth."""
        return self._belief.log_scale_variance

    @property
    def height_factor(self) -> float:
        """The camera's height over the height it is taken to have, as all readings have it."""
        return math.exp(self._belief.height_log_error)

    def begin_map(self) -> None:
        """A map begins in the unit of a prior; what is known of the prior's error stays."""
        self._belief = self._belief.with_unknown_scale().measured(0.0)

    def begin_map_by_height(self) -> float:
        """A map begins in the unit that the ground gave it; gives the correction."""
        self._belief = self._belief.with_unknown_scale().measured_height(0.0, math.inf)
        self._way_since_height_m = 0.0
        return self.correction()

    def move(self, distance_m: float, turn_rad: float) -> None:
        """The camera went on."""
        self._belief = self._belief.after(distance_m, turn_rad)
        self._way_since_height_m += distance_m

    def is_believable(self, fit: PriorFit | None) -> bool:
        """Whether a prior that the map can judge has about the shape and the scale that are expected of it."""
        if fit is None or fit.cells < self._options.min_common_cells or not self._options.gates:
            return True
        if fit.sigma > self._options.max_cell_sigma:
            return False
        surprise = self._belief.surprise_sigmas(fit.log_scale)
        return not self._options.scale_memory or surprise < self._options.max_surprise_sigmas

    def expected(self, prior: CellPrior | None, known: KnownDepth) -> tuple[CellPrior | None, float]:
        """The prior of a frame with what is expected of it, and its scale state; None where it is not believable.

        Parameters
        ----------
        prior : of the frame, or None.
        known : what the map has there.
        """
        if prior is None:
            return None, 0.0
        fit = fit_prior(prior, known)
        if not self.is_believable(fit):
            return None, 0.0
        prior = replace(prior, expected_log_scale=self.expected_log_scale)
        log_scale = prior.expected_log_scale if fit is None else fit.log_scale
        return trusted(prior, fit, self._options), log_scale

    def measure(self, prior: CellPrior | None, fit: PriorFit | None) -> float:
        """Take in what a frame's prior says of the map's scale, and give the correction."""
        options = self._options
        if prior is None or fit is None or fit.cells < options.min_common_cells:
            return 0.0
        if options.gates and fit.sigma > options.max_cell_sigma:
            return 0.0
        own = fit.sigma**2 / options.independent_patches
        self._belief = self._belief.measured(fit.log_scale, own)
        return self.correction()

    def measure_height(self, log_scale: float) -> float:
        """Take in log (map height / height taken) of the camera over the ground, and give the correction."""
        if self._process.contradicts_height(log_scale):
            self._warn_of_height(log_scale)
            return 0.0
        self._belief = self._belief.measured_height(log_scale, self._way_since_height_m)
        self._way_since_height_m = 0.0
        return self.correction()

    def _warn_of_height(self, log_scale: float) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "the map has the ground %.2f times as far below the camera as its height is given: such ground "
                "does not change the scale; give the height of the lens above the ground that it sees, in metres.",
                math.exp(log_scale),
            )

    def correction(self) -> float:
        """Log of the factor by which the map has to grow to be metric; it is taken to grow by it now."""
        if not self._options.scale_memory:
            return 0.0
        log_factor = -self._belief.log_scale
        self._belief = self._belief.rescaled(log_factor)
        return log_factor
