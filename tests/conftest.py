from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from droid_bridge.graph_domain import LAST_DOMAIN_ID, free_domain_id
from metric3d_ros.ros.large_messages import make_room_for_images

if TYPE_CHECKING:
    from graph_probe import GraphProbe

SHARED = Path(__file__).parents[2] / "shared"
# Beside this process another may drive its graphs: each has a range of domains of its own.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
DOMAINS = LAST_DOMAIN_ID // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
PLACES = (WORKER * DOMAINS + count % DOMAINS for count in itertools.count(os.getppid()))

# How long an example takes says how busy the machine is.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

# Every test drives a ROS graph of its own, on this machine alone.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
# Once for the process, whichever test makes its first node: Fast DDS reads its profile no second time.
make_room_for_images()


@pytest.fixture(autouse=True)
def own_graph(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A ROS domain for each test: what was killed in another is seen there for twenty seconds more."""
    if request.node.get_closest_marker("ros") is None:
        yield
        return
    monkeypatch.setenv("ROS_DOMAIN_ID", str(free_domain_id(next(PLACES))))
    yield
    # A node that is gone keeps its participant until its cycle of references is collected, and beyond some thirty
    # participants in a domain the next are not found.
    gc.collect()


@pytest.fixture
def probe() -> Iterator[GraphProbe]:
    """A node of the test's own that looks into the graph."""
    from graph_probe import GraphProbe  # which needs ROS, as not every test does

    probe = GraphProbe()
    yield probe
    probe.close()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real KITTI; tests that need it are skipped where it is absent."""
    data = SHARED / "data"
    if not data.is_dir():
        pytest.skip(f"{data} is not there")
    return data
