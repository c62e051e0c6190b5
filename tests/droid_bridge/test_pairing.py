from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from droid_bridge.pairing import StampPairing

PARTS = ("image", "camera_info", "depth")


def test_a_moment_is_complete_with_all_its_parts():
    pairing = StampPairing(PARTS)
    assert pairing.add("image", 5, "i") is None
    assert pairing.add("depth", 5, "d") is None
    assert pairing.missing(5) == {"camera_info"}
    assert pairing.add("camera_info", 5, "c") == {"image": "i", "depth": "d", "camera_info": "c"}


def test_older_incomplete_moments_are_dropped_and_counted():
    pairing = StampPairing(("image", "depth"))
    for stamp in (1, 2, 3):
        pairing.add("image", stamp, stamp)
    assert pairing.add("depth", 2, 2) == {"image": 2, "depth": 2}
    assert pairing.dropped == 1
    assert pairing.add("depth", 3, 3) == {"image": 3, "depth": 3}
    assert pairing.dropped == 1


def test_what_waits_is_bounded():
    pairing = StampPairing(PARTS, capacity=4)
    for stamp in range(100):
        pairing.add("image", stamp, None)
    assert pairing.dropped == 96
    assert pairing.add("depth", 99, None) is None
    assert pairing.add("camera_info", 99, None) is not None


@given(st.permutations([(part, stamp) for part in PARTS for stamp in (10, 20)]))
def test_order_within_a_moment_does_not_matter(arrivals):
    pairing = StampPairing(PARTS)
    complete = [stamp for part, stamp in arrivals if pairing.add(part, stamp, stamp) is not None]
    assert complete[-1] == 20 or complete == [20, 10]
    assert len(complete) + pairing.dropped >= 1
    assert len(set(complete)) == len(complete)
