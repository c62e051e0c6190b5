"""The thread that turns images into depth: decode, rectify, network, publish; the newest image wins."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread
from typing import Any

import numpy as np
from sensor_msgs.msg import CameraInfo

from metric3d_ros.calibration import CameraCalibration
from metric3d_ros.errors import CameraError, EngineError, ImageError, Metric3dError
from metric3d_ros.estimator import MetricDepthEstimator
from metric3d_ros.latest_slot import LatestSlot
from metric3d_ros.rectification import RectifiedImage, rectified_image
from metric3d_ros.ros.colour_images import rgb_from_message
from metric3d_ros.ros.depth_outputs import DepthResult
from metric3d_ros.run_statistics import UNEXPECTED, RunStatistics

NO_READING = "no reading"
REASONS: dict[type[Metric3dError], str] = {
    ImageError: "image does not decode",
    CameraError: "camera_info does not fit",
    EngineError: "network failed",
}


@dataclass(frozen=True)
class DepthJob:
    """One image to answer: the message, its camera_info, the estimator of now, and when the image came."""

    image: Any
    camera_info: CameraInfo
    estimator: MetricDepthEstimator
    is_rectified: bool
    came_s: float


class DepthWorker:
    """Answers the newest job in a thread of its own, so that callbacks never wait for the network.

    Parameters
    ----------
    answer : takes each result; runs in the worker's thread.
    refuse : takes the sentence of each image that could not be answered.
    statistics : counts what happens.
    """

    def __init__(
        self,
        answer: Callable[[DepthResult], None],
        refuse: Callable[[str], None],
        statistics: RunStatistics,
    ) -> None:
        self._answer = answer
        self._refuse = refuse
        self._statistics = statistics
        self._slot: LatestSlot[DepthJob] = LatestSlot()
        self._thread = Thread(target=self._run, name="depth", daemon=True)
        self._thread.start()

    def offer(self, job: DepthJob) -> None:
        """Take a job on in place of the one that waits."""
        before = self._slot.replaced
        self._slot.put(job)
        self._statistics.count_dropped(self._slot.replaced - before)

    def close(self) -> None:
        """Stop after the image that is being answered."""
        self._slot.close()
        self._thread.join()

    def _run(self) -> None:
        while (job := self._slot.take()) is not None:
            try:
                self._work_on(job)
            except Metric3dError as error:
                self._refused(REASONS.get(type(error), type(error).__name__), str(error))
            except Exception as error:
                # Whatever an engine or a message brings, the node answers the next image.
                self._refused(UNEXPECTED, f"an image cost an unexpected {type(error).__name__}: {error}")

    def _work_on(self, job: DepthJob) -> None:
        timed = self._statistics.timed
        with timed("decode"):
            rgb = rgb_from_message(job.image)
        with timed("rectify"):
            calibration = CameraCalibration.of_message(job.camera_info)
            image = rectified_image(rgb, calibration, is_rectified=job.is_rectified)
        with timed("network"):
            result = self._predicted(job, image)
        with timed("publish"):
            self._answer(result)
        self._statistics.add_time("arrival to answer", time.monotonic() - job.came_s)
        self._statistics.count_answered()

    def _predicted(self, job: DepthJob, image: RectifiedImage) -> DepthResult:
        prediction = job.estimator.predict_rectified(image)
        if not np.isfinite(prediction.depth_m).any():
            self._refused(
                NO_READING,
                "no pixel of an image has a reading: the network returned none, or min_confidence is too high.",
            )
        return DepthResult(job.image.header, image, prediction, job.estimator.engine.model)

    def _refused(self, reason: str, sentence: str) -> None:
        self._statistics.count_refused(reason, sentence)
        self._refuse(sentence)
