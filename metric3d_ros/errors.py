"""The exceptions of the depth half; each message names the thing, the value and the remedy in one sentence."""


class Metric3dError(Exception):
    """Anything this half refuses to do, said so that a user can act on it."""


class CameraError(Metric3dError):
    """Intrinsics or an image size that no camera can have, or that do not belong together."""


class DatasetError(Metric3dError):
    """A recording that cannot be read: what is missing, and where it was looked for."""


class DownloadError(Metric3dError):
    """A file that cannot be fetched: why, and where to put it by hand."""


class EngineError(Metric3dError):
    """A network that cannot be loaded or run."""


class ImageError(Metric3dError):
    """One image that cannot be decoded; it costs that image and nothing else."""


class MissingDependencyError(Metric3dError):
    """An optional package that is not installed, and the command that installs it."""


class OutputError(Metric3dError):
    """A file or folder that cannot be written; what was there before is untouched."""
