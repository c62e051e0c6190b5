from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Event, Thread
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: source a ROS install or take the [ros] extra")

import rclpy
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.context import Context
from rclpy.node import Node
from rclpy.task import Future

from metric3d_ros.ros.patient_executor import PatientExecutor

pytestmark = pytest.mark.ros


class Spun:
    """A node whose callbacks may all run at once, spun by a thread until a condition holds."""

    def __init__(self, threads: int) -> None:
        self.context = Context()
        rclpy.init(context=self.context)
        self.node: Node = rclpy.create_node("patient", context=self.context)
        self.group = ReentrantCallbackGroup()
        self.executor = PatientExecutor(threads, context=self.context)
        self.executor.add_node(self.node)
        self.is_over = False

    def guard(self, callback: Any) -> Any:
        return self.node.create_guard_condition(callback, callback_group=self.group)

    def spin_in_thread(self) -> Thread:
        thread = Thread(target=self.executor.spin_until, args=(lambda: self.is_over,), daemon=True)
        thread.start()
        return thread

    def end(self) -> None:
        self.is_over = True
        self.executor.wake()


@pytest.fixture
def spun() -> Iterator[Spun]:
    made = Spun(threads=2)
    yield made
    made.end()
    made.executor.shutdown()
    made.executor._executor.shutdown(wait=True)
    made.node.destroy_node()
    made.context.try_shutdown()


def test_with_every_thread_at_work_the_next_is_handed_in_once(spun: Spun, monkeypatch: pytest.MonkeyPatch) -> None:
    handed_in: list[Any] = []
    submit = spun.executor._executor.submit
    monkeypatch.setattr(
        spun.executor._executor, "submit", lambda *call: handed_in.append(call) or submit(*call), raising=True
    )
    go_on, done = Event(), Event()
    busy = [spun.guard(lambda: go_on.wait(20)) for _ in range(2)]
    last = spun.guard(done.set)
    thread = spun.spin_in_thread()
    for guard in (*busy, last):
        guard.trigger()
    time.sleep(0.5)
    assert not done.is_set()
    go_on.set()
    assert done.wait(10)
    spun.end()
    thread.join(10)
    assert not thread.is_alive()
    assert len(handed_in) == 3


def test_a_callback_that_awaits_goes_on_when_what_it_awaits_is_there(spun: Spun) -> None:
    awaited, done = Future(executor=spun.executor), Event()

    async def wait() -> None:
        await awaited
        done.set()

    spun.guard(wait).trigger()
    spun.spin_in_thread()
    time.sleep(0.2)
    assert not done.is_set()
    awaited.set_result(None)
    spun.executor.wake()
    assert done.wait(10)


def test_what_a_callback_raises_comes_out_of_spinning(spun: Spun) -> None:
    def fail() -> None:
        raise ValueError("from a callback")

    spun.guard(fail).trigger()
    with pytest.raises(ValueError, match="from a callback"):
        spun.executor.spin_until(lambda: False)


def test_it_ends_when_its_context_is_shut_down(spun: Spun) -> None:
    thread = spun.spin_in_thread()
    time.sleep(0.1)
    spun.context.try_shutdown()
    thread.join(10)
    assert not thread.is_alive()
