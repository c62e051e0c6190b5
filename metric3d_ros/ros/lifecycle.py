"""Lifecycle nodes that start themselves, and the main function they share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import rclpy
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from metric3d_ros.ros.large_messages import make_room_for_images

EXIT_BAD_INPUT = 2


class AutostartNode(LifecycleNode):  # type: ignore[misc]
    """A lifecycle node whose ``autostart`` parameter takes it to active by itself."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
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
        """Release what the node holds outside ROS; called once, however the process ends."""


def run_node(make_node: Callable[[], AutostartNode], args: list[str] | None = None) -> int:
    """Spin one node until it is shut down; exit code 2 if its parameters or files are bad."""
    make_room_for_images()
    rclpy.init(args=args)
    node: AutostartNode | None = None
    try:
        node = make_node()
        if not node.start():
            return EXIT_BAD_INPUT
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except rclpy.exceptions.InvalidParameterValueException as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0
