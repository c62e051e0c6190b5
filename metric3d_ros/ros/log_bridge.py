"""What the ROS-free modules log, in the node's own log."""

from __future__ import annotations

import logging
from typing import Any


class NodeLogHandler(logging.Handler):
    """Passes log records on to a ROS logger; ``close`` ends it.

    Parameters
    ----------
    name : the Python logger to listen to, such as ``metric3d_ros``.
    ros_logger : where its records go.
    """

    def __init__(self, name: str, ros_logger: Any) -> None:
        super().__init__(logging.INFO)
        self._ros_logger = ros_logger
        self._source = logging.getLogger(name)
        self._source.setLevel(logging.INFO)
        self._source.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        # rclpy refuses two severities from one line of code, so each has its own.
        if record.levelno >= logging.ERROR:
            self._ros_logger.error(record.getMessage())
        elif record.levelno >= logging.WARNING:
            self._ros_logger.warning(record.getMessage())
        else:
            self._ros_logger.info(record.getMessage())

    def close(self) -> None:
        """Stop listening."""
        self._source.removeHandler(self)
        super().close()
