"""A node's process, from its start to a signal."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: source a ROS install or take the [ros] extra")

from graph_probe import GraphProbe, NodeProcess

pytestmark = pytest.mark.ros


@pytest.fixture
def idle(probe: GraphProbe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NodeProcess]:
    # A sourced ROS install has rclpy there.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    node = NodeProcess("idle_node", tmp_path / "idle.log")
    assert probe.wait_for(lambda: ("idle", "/") in probe.node.get_node_names_and_namespaces()), node.log
    probe.spin_for(0.5)
    yield node
    node.stop(signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_node_that_nothing_else_wakes(idle: NodeProcess, number: signal.Signals) -> None:
    assert idle.stop(number) == 0, idle.log


def test_rclpy_takes_no_signals(idle: NodeProcess) -> None:
    """Its thread wakes executors from a list that may be freed meanwhile."""
    assert "rclpy takes: NO" in idle.log
