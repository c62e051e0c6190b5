"""The exceptions of the SLAM half; each message names the thing, the value and the remedy in one sentence."""


class DroidBridgeError(Exception):
    """Anything this half refuses to do, said so that a user can act on it."""


class TrajectoryError(DroidBridgeError):
    """A trajectory file that cannot be read, written or compared."""


class FrameError(DroidBridgeError):
    """One frame that cannot be tracked; it costs that frame and nothing else."""
