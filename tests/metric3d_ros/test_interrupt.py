from __future__ import annotations

import os
import signal
import threading

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: source a ROS install or take the [ros] extra")

from metric3d_ros.ros.interrupt import InterruptSwitch


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_is_looked_at_where_it_suits_and_the_second_raises() -> None:
    before = signal.getsignal(signal.SIGINT)
    with InterruptSwitch() as interrupt:
        interrupt.raise_if_on()
        press_ctrl_c()
        assert interrupt.is_on
        with pytest.raises(KeyboardInterrupt):
            interrupt.raise_if_on()
        with pytest.raises(KeyboardInterrupt):
            press_ctrl_c()
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_it_stays_off() -> None:
    seen: list[bool] = []

    def enter() -> None:
        with InterruptSwitch() as interrupt:
            seen.append(interrupt.is_on)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [False]


def test_each_signal_wakes_who_waits_outside_python() -> None:
    """As a ROS wait set does, which runs no handler before it comes back."""
    woken = threading.Event()
    with InterruptSwitch() as interrupt, interrupt.waking(woken.set):
        press_ctrl_c()
        assert woken.wait(5.0)
        assert interrupt.is_on


def test_nobody_is_woken_after_the_wait() -> None:
    calls: list[None] = []
    before_fd = signal.set_wakeup_fd(-1)
    with InterruptSwitch() as interrupt:
        with interrupt.waking(lambda: calls.append(None)):
            pass
        press_ctrl_c()
    assert not calls
    assert signal.set_wakeup_fd(before_fd) == -1


def test_outside_the_main_thread_waiting_goes_on_without_it() -> None:
    waited: list[bool] = []

    def wait() -> None:
        with InterruptSwitch() as interrupt, interrupt.waking(lambda: None):
            waited.append(interrupt.is_on)

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join()
    assert waited == [False]
