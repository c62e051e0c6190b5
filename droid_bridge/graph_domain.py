"""A ROS domain that no graph on this machine uses, so that graphs beside each other stay apart."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

# Up to 101 the ports lie below those that Linux hands out for connections.
LAST_DOMAIN_ID = 101
# Ports of a participant of DDS (RTPS 2.2, section 9.6.1.1).
_FIRST_PORT, _PORTS_PER_DOMAIN, _PORTS_PER_PARTICIPANT, _DISCOVERY_OFFSET = 7400, 250, 2, 10
_PARTICIPANTS_LOOKED_FOR = 8


def free_domain_id(first: int | None = None) -> int:
    """A domain from 1 to 101 in which no participant of this machine listens.

    Parameters
    ----------
    first : where the search begins, wrapped into the range; None lets processes begin at different ones. Where
        all are in use, it is this one.
    """
    candidates = list(_domain_ids(os.getpid() if first is None else first))
    return next((domain_id for domain_id in candidates if not is_in_use(domain_id)), candidates[0])


def is_in_use(domain_id: int) -> bool:
    """Whether a participant of this machine listens in a domain."""
    first_port = _FIRST_PORT + _PORTS_PER_DOMAIN * domain_id + _DISCOVERY_OFFSET
    return any(
        _is_bound(first_port + _PORTS_PER_PARTICIPANT * participant)
        for participant in range(_PARTICIPANTS_LOOKED_FOR)
    )


def _domain_ids(first: int) -> Iterator[int]:
    return ((first + offset) % LAST_DOMAIN_ID + 1 for offset in range(LAST_DOMAIN_ID))


def _is_bound(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return True
    return False
