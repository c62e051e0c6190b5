"""Lifecycle nodes that start themselves, and the main function they share."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any

import rclpy
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.callback_groups import CallbackGroup
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from metric3d_ros.ros.interrupt import InterruptSwitch
from metric3d_ros.ros.large_messages import make_room_for_images
from metric3d_ros.ros.patient_executor import PatientExecutor

EXIT_BAD_INPUT = 2
# One for a node's callbacks, one for what must be answered meanwhile: its state, its parameters, its clock.
THREADS_PER_NODE = 2


class AutostartNode(LifecycleNodeMixin, Node):  # type: ignore[misc]
    """A lifecycle node whose ``autostart`` parameter takes it to active by itself.

    Parameters
    ----------
    name : the node's name.
    transition_group : callback group of the lifecycle services; None takes the node's own, so that no transition
        runs beside a callback.
    options : of ``rclpy.node.Node``.
    """

    def __init__(self, name: str, transition_group: CallbackGroup | None = None, **options: Any) -> None:
        # LifecycleNode is these two, and passes no callback group on.
        Node.__init__(self, name, **options)
        LifecycleNodeMixin.__init__(self, callback_group=transition_group)
        self.declare_described(
            "autostart", True, "Configure and activate at start; false waits for a lifecycle manager."
        )

    def declare_described(
        self,
        name: str,
        default: Any,
        description: str,
        *,
        read_only: bool = True,
        bounds: tuple[float, float] | None = None,
    ) -> None:
        """Declare a parameter with its description and, for numbers, the closed range it must lie in."""
        descriptor = ParameterDescriptor(description=description, read_only=read_only)
        if bounds is not None and isinstance(default, int):
            descriptor.integer_range = [IntegerRange(from_value=int(bounds[0]), to_value=int(bounds[1]))]
        elif bounds is not None:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(bounds[0]), to_value=float(bounds[1]))
            ]
        self.declare_parameter(name, default, descriptor)

    def value_of(self, name: str) -> Any:
        """The value of a declared parameter."""
        return self.get_parameter(name).value

    def start(self) -> bool:
        """Configure and activate where ``autostart`` asks for it; False if either failed."""
        if not self.value_of("autostart"):
            return True
        return all(
            transition() == TransitionCallbackReturn.SUCCESS
            for transition in (self.trigger_configure, self.trigger_activate)
        )

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release whatever is held, from any state."""
        self.release()
        return super().on_shutdown(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release what configuring took."""
        self.release()
        return super().on_cleanup(state)

    def release(self) -> None:
        """Let go of what configuring took; harmless where nothing is held."""

    def close(self) -> None:
        """Release what the node holds outside ROS; called before it is destroyed, however the process ends."""

    def destroy_node(self) -> None:
        """Close and destroy the node."""
        self.close()
        super().destroy_node()


def run_node(make_node: Callable[[], AutostartNode], args: list[str] | None = None) -> int:
    """Spin one node until it is shut down; exit code 2 if its parameters or files are bad."""
    return run_nodes(lambda: [make_node()], args)


def run_nodes(make_nodes: Callable[[], Sequence[AutostartNode]], args: list[str] | None = None) -> int:
    """Spin nodes in one process until it is shut down; exit code 2 if a node's parameters or files are bad."""
    make_room_for_images()
    with InterruptSwitch((signal.SIGINT, signal.SIGTERM)) as interrupt:
        # rclpy's own handlers wake an executor from a thread that goes on reading the list of executors while this
        # one, awake, ends its own and frees that list: now and then a process crashed as it was stopped.
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        return _run(make_nodes, interrupt)


def _run(make_nodes: Callable[[], Sequence[AutostartNode]], interrupt: InterruptSwitch) -> int:
    nodes: Sequence[AutostartNode] = ()
    try:
        nodes = make_nodes()
        return _spin(nodes, interrupt)
    except KeyboardInterrupt:
        return 0
    except rclpy.exceptions.InvalidParameterValueException as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    finally:
        # No thread of one node may call another that is gone.
        for node in nodes:
            node.close()
        for node in nodes:
            node.destroy_node()
        rclpy.try_shutdown()


def _spin(nodes: Sequence[AutostartNode], interrupt: InterruptSwitch) -> int:
    executor = PatientExecutor(num_threads=THREADS_PER_NODE * len(nodes))
    for node in nodes:
        executor.add_node(node)
    # Spinning goes on while nodes configure, which takes minutes where an engine is built.
    started: Future = Future(executor=executor)
    Thread(target=_start, args=(nodes, started), name="autostart", daemon=True).start()
    started.add_done_callback(lambda _: executor.wake())
    try:
        with interrupt.waking(executor.wake):
            executor.spin_until(lambda: interrupt.is_on or bool(started.done()))
            if not started.done():
                return 0
            if not started.result():
                return EXIT_BAD_INPUT
            executor.spin_until(lambda: interrupt.is_on)
            return 0
    finally:
        executor.shutdown()
        # rclpy's shutdown does not wait for the callbacks in its threads, and nodes must not end before them.
        executor._executor.shutdown(wait=True)


def _start(nodes: Sequence[AutostartNode], started: Future) -> None:
    try:
        started.set_result(all(node.start() for node in nodes))
    except Exception as error:
        started.set_exception(error)
