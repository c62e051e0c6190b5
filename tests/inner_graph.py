"""A node under test in the test's own process, spun by a thread: quicker to start than a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread

import rclpy
from graph_probe import GraphProbe
from rclpy.context import Context
from rclpy.parameter import Parameter

from metric3d_ros.ros.patient_executor import PatientExecutor


class InnerNode:
    """Starts a lifecycle node with parameters and spins it until closed."""

    def __init__(self, make_node: Callable[..., object], parameters: dict[str, object], **options: object) -> None:
        self._context = Context()
        rclpy.init(context=self._context)
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.node = make_node(context=self._context, parameter_overrides=overrides, **options)
        self.has_started = self.node.start()
        self._executor = PatientExecutor(num_threads=2, context=self._context)
        self._executor.add_node(self.node)
        self._thread = Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join(timeout=10)
        # A callback that still runs must not find its node gone.
        self._executor._executor.shutdown(wait=True)
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)


def wait_for_subscribers(probe: GraphProbe, *publishers) -> None:
    assert probe.wait_for(lambda: all(publisher.get_subscription_count() for publisher in publishers))
    probe.spin_for(0.2)
