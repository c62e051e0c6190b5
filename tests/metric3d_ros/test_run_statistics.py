from __future__ import annotations

from mmap import mmap
from threading import Thread

import pytest

from metric3d_ros.latest_slot import LatestSlot
from metric3d_ros.run_statistics import RunStatistics, resident_memory_mb


def test_the_newest_thing_replaces_the_one_that_waits():
    slot: LatestSlot[int] = LatestSlot()
    for number in range(5):
        slot.put(number)
    assert (slot.take(), slot.replaced) == (4, 4)


def test_who_takes_waits_until_there_is_something_or_the_end():
    slot: LatestSlot[int] = LatestSlot()
    taken: list[int | None] = []
    thread = Thread(target=lambda: taken.extend([slot.take(), slot.take()]))
    thread.start()
    slot.close()
    thread.join(timeout=5)
    assert taken == [None, None]
    slot.put(2)
    assert slot.take() is None


def test_nothing_is_lost_between_threads():
    slot: LatestSlot[int] = LatestSlot()
    taken: list[int] = []

    def take() -> None:
        while (number := slot.take()) is not None:
            taken.append(number)

    thread = Thread(target=take)
    thread.start()
    for number in range(1, 5001):
        slot.put(number)
    while taken[-1:] != [5000]:
        pass
    slot.close()
    thread.join()
    assert taken == sorted(taken)
    assert len(taken) + slot.replaced == 5000


def test_a_report_covers_the_time_since_the_last_and_counts_from_the_start():
    statistics = RunStatistics()
    statistics.count_received()
    statistics.count_answered()
    statistics.count_dropped(3)
    statistics.count_refused("image", "it is bad.")
    statistics.add_time("decode", 0.25)
    statistics.add_time("decode", 0.75)
    first, second = statistics.report(), statistics.report()
    assert first.stages["decode"].mean_ms == pytest.approx(500)
    assert first.stages["decode"].longest_ms == pytest.approx(750)
    assert first.last_refusal == "it is bad."
    assert first.rate_out_hz > 0
    assert (second.stages, second.last_refusal, second.rate_out_hz) == ({}, "", 0.0)
    for report in (first, second):
        assert (report.received, report.answered, report.dropped, report.refused) == (1, 1, 3, {"image": 1})


def test_a_stage_that_fails_is_timed_too():
    statistics = RunStatistics()
    with pytest.raises(ValueError, match="bad"), statistics.timed("decode"):
        raise ValueError("bad")
    assert "decode" in statistics.report().stages


def test_memory_is_what_the_system_says():
    before_mb = resident_memory_mb()
    assert before_mb is not None
    # Pages of its own: a bytearray may be given memory that the process already held.
    with mmap(-1, 50_000_000) as held:
        held.write(b"x" * len(held))
        assert resident_memory_mb() > before_mb + 40
