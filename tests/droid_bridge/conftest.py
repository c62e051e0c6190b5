from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from inner_slam import InnerSlam


@pytest.fixture
def start_slam() -> Iterator[Callable[..., InnerSlam]]:
    """Starts SLAM nodes in this process by their parameters, and ends them with the test."""
    from inner_slam import InnerSlam  # which needs ROS, as not every test does

    started: list[InnerSlam] = []

    def start(**parameters: Any) -> InnerSlam:
        started.append(InnerSlam(**parameters))
        return started[-1]

    yield start
    for graph in started:
        graph.close()
