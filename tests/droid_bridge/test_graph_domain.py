"""Domains for graphs that run beside each other."""

from __future__ import annotations

import gc
import os
import socket

import pytest

from droid_bridge.graph import GraphProcesses
from droid_bridge.graph_domain import LAST_DOMAIN_ID, free_domain_id, is_in_use

FIRST_PARTICIPANT_PORT = 7410  # of domain 0


@pytest.mark.parametrize("participant", [0, 3])
def test_a_domain_that_somebody_listens_in_is_passed_over(participant: int) -> None:
    taken = free_domain_id()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("", FIRST_PARTICIPANT_PORT + 250 * taken + 2 * participant))
        assert is_in_use(taken)
        assert free_domain_id(taken - 1) != taken
    assert not is_in_use(taken)
    assert free_domain_id(taken - 1) == taken


@pytest.mark.parametrize("first", [0, LAST_DOMAIN_ID - 1, LAST_DOMAIN_ID, 4194304])
def test_it_wraps_into_the_range_whose_ports_are_free(first: int) -> None:
    assert 1 <= free_domain_id(first) <= LAST_DOMAIN_ID


@pytest.mark.ros
def test_a_participant_of_the_real_graph_is_seen_and_a_closed_one_is_gone() -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed: source a ROS install or take the [ros] extra")
    from graph_probe import GraphProbe

    domain_id = int(os.environ["ROS_DOMAIN_ID"])
    probe = GraphProbe()
    assert is_in_use(domain_id)
    probe.close()
    del probe
    gc.collect()
    assert not is_in_use(domain_id)


def test_two_graphs_are_apart_whatever_domain_the_shell_is_in(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two jobs of one benchmark drive two graphs at once, and a frame of one is no frame of the other."""
    monkeypatch.setenv("ROS_DOMAIN_ID", "0")
    first = GraphProcesses(tmp_path)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("", FIRST_PARTICIPANT_PORT + 250 * first.domain_id))
        second = GraphProcesses(tmp_path)
    assert 0 != first.domain_id != second.domain_id != 0
