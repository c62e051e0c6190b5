"""How a bag is played, and what came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from metric3d_ros import bag_topics
from metric3d_ros.errors import Metric3dError


class PlaybackError(Metric3dError):
    """Nobody listens, or nobody answers in lockstep."""


@dataclass(frozen=True)
class PlayOptions:
    """How a bag is played.

    Attributes
    ----------
    rate : speed against the recording, above 0; lockstep goes as fast as the answers.
    clock : whether /clock is published.
    lockstep : whether each frame waits for the odometry of the one before.
    loop : whether it starts again at the end, until interrupted.
    start_s, duration_s : the part of the recording that is played; all of it from ``start_s`` on where None.
    image_topic : the images that make the frames; found in the bag where None.
    odometry_topic : where answers are expected.
    timeout_s : how long an answer may take in lockstep, before the frame is sent again and after.
    wait_subscribers : how many subscribers the images must have before playing starts; 0 starts at once.
    wait_timeout_s : how long they are waited for.
    progress : whether a progress bar is shown.
    """

    rate: float = 1.0
    clock: bool = False
    lockstep: bool = False
    loop: bool = False
    start_s: float = 0.0
    duration_s: float | None = None
    image_topic: str | None = None
    odometry_topic: str = bag_topics.ODOMETRY
    timeout_s: float = 30.0
    wait_subscribers: int = 1
    wait_timeout_s: float = 60.0
    progress: bool = True


@dataclass(frozen=True)
class PlayReport:
    """What was played.

    Attributes
    ----------
    frames_in : images sent, each counted once.
    frames_out : how many of them odometry answered.
    resent : how many had to be sent twice.
    wall_s : from the first image to the last image or answer, without pauses.
    paused_s : how long it was paused.
    hz : ``frames_in`` over ``wall_s``.
    completed : whether the end was reached; ``failure`` says why not.
    """

    frames_in: int
    frames_out: int
    resent: int
    wall_s: float
    hz: float
    completed: bool
    failure: str = ""
    paused_s: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values."""
        return asdict(self)
