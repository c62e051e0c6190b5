"""The exceptions of training; each message names the thing, the value and the remedy in one sentence."""

from metric3d_ros.errors import Metric3dError


class TrainingError(Metric3dError):
    """Anything training refuses to do, said so that a user can act on it."""


class RecipeError(TrainingError):
    """A recipe with an unknown key or a value that cannot work."""


class CheckpointError(TrainingError):
    """A checkpoint that is missing, unreadable or of another architecture."""
