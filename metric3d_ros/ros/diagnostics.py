"""A node's diagnostics on /diagnostics, once a second, from a thread that no engine build blocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Event, Thread

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from metric3d_ros.run_statistics import GpuMemory, RunReport, resident_memory_mb

PERIOD_S = 1.0
REPEAT_WARNING_S = 30.0
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@dataclass(frozen=True)
class Health:
    """How a node is.

    Attributes
    ----------
    level : OK, WARN or ERROR.
    message : one sentence.
    values : what else there is to say, by name.
    hardware_id : what the node runs on.
    """

    level: bytes
    message: str
    values: Mapping[str, object] = field(default_factory=dict)
    hardware_id: str = ""


class DiagnosticsPublisher:
    """Publishes what ``health`` says until it is closed; a new warning or error is logged as well."""

    def __init__(self, node: Node, health: Callable[[], Health], period_s: float = PERIOD_S) -> None:
        self._node = node
        self._health = health
        self._period_s = period_s
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._is_closed = Event()
        self._last_warning = ""
        self._last_warned_s = 0.0
        self._thread = Thread(target=self._run, name="diagnostics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; call before the node is destroyed."""
        self._is_closed.set()
        self._thread.join(timeout=5 * self._period_s)

    def _run(self) -> None:
        while not self._is_closed.wait(self._period_s):
            if not self._node.context.ok():
                return
            health = self._health()
            self._publish(health)
            self._log(health)

    def _publish(self, health: Health) -> None:
        status = DiagnosticStatus(
            level=health.level,
            name=self._node.get_fully_qualified_name().lstrip("/"),
            message=health.message,
            hardware_id=health.hardware_id,
            values=[KeyValue(key=key, value=_text(value)) for key, value in health.values.items()],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _log(self, health: Health) -> None:
        if health.level == OK:
            self._last_warning = ""
            return
        # The number of seconds in a sentence does not make it a new one.
        kind = "".join(character for character in health.message if not character.isdigit())
        now_s = time.monotonic()
        if kind == self._last_warning and now_s - self._last_warned_s < REPEAT_WARNING_S:
            return
        self._last_warning, self._last_warned_s = kind, now_s
        if health.level == ERROR:
            self._node.get_logger().error(health.message)
        else:
            self._node.get_logger().warning(health.message)


def values_of(report: RunReport, gpu: GpuMemory | None = None) -> dict[str, object]:
    """A report of the node's statistics as diagnostic values; a stage's latency as mean and longest.

    Parameters
    ----------
    report : of the time since the last one.
    gpu : where the node uses one.
    """
    values: dict[str, object] = {
        "rate in (Hz)": report.rate_in_hz,
        "rate out (Hz)": report.rate_out_hz,
        "received": report.received,
        "answered": report.answered,
        "dropped for newer ones": report.dropped,
        "CPU (% of one core)": report.cpu_percent,
    }
    for stage, taken in report.stages.items():
        values[f"{stage} (ms, mean)"] = taken.mean_ms
        values[f"{stage} (ms, longest)"] = taken.longest_ms
    for reason, count in report.refused.items():
        values[f"refused: {reason}"] = count
    memory_mb = resident_memory_mb()
    if memory_mb is not None:
        values["memory (MB)"] = memory_mb
    if gpu is not None and (in_use_mb := gpu.in_use_mb()) is not None:
        values["GPU memory, all programs (MB)"], values["GPU memory there is (MB)"] = in_use_mb
    return values


def _text(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
