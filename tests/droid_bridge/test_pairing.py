from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from droid_bridge.pairing import StampPairing

PARTS = ("image", "camera_info", "depth")


def test_a_moment_is_complete_with_all_its_parts():
    pairing = StampPairing(PARTS)
    assert pairing.add("image", 5, "i") == []
    assert pairing.add("depth", 5, "d") == []
    assert pairing.missing(5) == {"camera_info"}
    assert pairing.add("camera_info", 5, "c") == [(5, {"image": "i", "depth": "d", "camera_info": "c"})]


def test_older_incomplete_moments_are_dropped_and_counted():
    pairing = StampPairing(("image", "depth"))
    for stamp in (1, 2, 3):
        pairing.add("image", stamp, stamp)
    assert pairing.add("depth", 2, 2) == [(2, {"image": 2, "depth": 2})]
    assert pairing.dropped == 1
    assert pairing.add("depth", 3, 3) == [(3, {"image": 3, "depth": 3})]
    assert pairing.dropped == 1


def test_what_waits_is_bounded():
    pairing = StampPairing(PARTS, capacity=4)
    for stamp in range(100):
        pairing.add("image", stamp, None)
    assert pairing.dropped == 96
    assert pairing.add("depth", 99, None) == []
    assert len(pairing.add("camera_info", 99, None)) == 1


def test_parts_from_the_far_future_do_not_stay_for_good():
    pairing = StampPairing(["image", "camera_info"], ["depth"], patience_ns=30, capacity=4)
    for stamp in range(10**9, 10**9 + 20):
        assert pairing.add("camera_info", stamp, "c") == []
    for stamp in (10, 20):
        assert pairing.add("camera_info", stamp, "c") == []
        assert pairing.add("image", stamp, "i") == [], "depth is waited for"
        assert [due for due, _ in pairing.add("depth", stamp, "d")] == [stamp]


def test_lost_moments_are_counted_by_one_part():
    pairing = StampPairing(["image", "camera_info"], counted="image")
    pairing.add("camera_info", 1, "c")
    pairing.add("image", 2, "i")
    pairing.add("image", 3, "i")
    pairing.add("image", 3, "i again")
    assert pairing.dropped == 1
    pairing.add("camera_info", 3, "c")
    assert pairing.dropped == 2


def test_a_part_is_waited_for_from_when_it_is_wanted_until_it_is_not():
    pairing = StampPairing(["image"], ["depth"], patience_ns=30)
    pairing.want("confidence")
    pairing.add("image", 1, "i")
    assert pairing.add("depth", 1, "d") == []
    assert pairing.missing(1) == {"confidence"}
    assert [due for due, _ in pairing.add("confidence", 1, "c")] == [1]
    pairing.want("confidence", False)
    pairing.want("image", False)
    assert pairing.add("depth", 2, "d") == [], "what every moment needs stays so"
    assert [due for due, _ in pairing.add("image", 2, "i")] == [2]


@given(st.permutations([(part, stamp) for part in PARTS for stamp in (10, 20)]))
def test_order_within_a_moment_does_not_matter(arrivals):
    pairing = StampPairing(PARTS)
    complete = [due for part, stamp in arrivals for due, _ in pairing.add(part, stamp, stamp)]
    assert complete[-1] == 20 or complete == [20, 10]
    assert len(complete) + pairing.dropped >= 1
    assert len(set(complete)) == len(complete)


def test_a_moment_waits_for_what_it_is_better_with_as_long_as_its_patience():
    pairing = StampPairing(["image"], ["depth"], patience_ns=30)
    assert pairing.add("image", 0, "i0") == []
    assert pairing.add("image", 10, "i10") == []
    assert pairing.add("depth", 10, "d10") == [(0, {"image": "i0"}), (10, {"image": "i10", "depth": "d10"})]
    assert pairing.add("image", 20, "i20") == []
    assert pairing.add("image", 49, "i49") == []
    assert pairing.add("image", 50, "i50") == [(20, {"image": "i20"})]
    assert pairing.dropped == 0


@given(
    st.lists(st.tuples(st.sampled_from(["image", "depth"]), st.integers(0, 30)), max_size=80),
    st.integers(0, 10),
    st.integers(1, 8),
)
def test_every_image_is_given_once_waits_or_was_too_late_to_matter(arrivals, patience, capacity):
    pairing = StampPairing(["image"], ["depth"], patience, capacity)
    given_out, images = [], set()
    for part, stamp in arrivals:
        if (part, stamp) in images or stamp in given_out:
            continue
        images |= {(part, stamp)} if part == "image" else set()
        released = pairing.add(part, stamp, part)
        assert [due for due, _ in released] == sorted(due for due, _ in released)
        assert all("image" in moment for _, moment in released)
        given_out += [due for due, _ in released]
    assert len(set(given_out)) == len(given_out)
    waiting = {stamp for _, stamp in images} - set(given_out)
    assert all("image" not in pairing.missing(stamp) for stamp in waiting)
