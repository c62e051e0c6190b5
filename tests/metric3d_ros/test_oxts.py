"""OXTS records: whole ones are read, a broken one is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metric3d_ros.datasets.oxts import read_oxts
from metric3d_ros.errors import DatasetError

RECORD = "49.01 8.43 112.8 0.01 0.02 -1.5 3.0 4.0"


def _folder_with(tmp_path: Path, second: str) -> Path:
    for number, text in enumerate((RECORD, second)):
        (tmp_path / f"{number:010d}.txt").write_text(text)
    return tmp_path


def test_records_are_read_as_far_as_asked(tmp_path: Path) -> None:
    folder = _folder_with(tmp_path, RECORD.replace("49.01", "49.02"))
    np.testing.assert_array_equal(read_oxts(folder, [1, 0])[:, 0], [49.02, 49.01])
    np.testing.assert_array_equal(read_oxts(folder, [0], columns=8)[0, 6:], [3, 4])


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("", "starts with nothing"),
        ("49.01", "starts with 49.01, not with 6 numbers"),
        ("49.01 8.43 112.8 0.01 0.02", "not with 6 numbers"),
        (RECORD.replace("8.43", "east"), "starts with 49.01 east"),
        (RECORD.replace("8.43", "nan"), "not finite"),
    ],
)
def test_a_broken_record_is_named(tmp_path: Path, record: str, said: str) -> None:
    with pytest.raises(DatasetError, match=rf"0000000001\.txt .*{said}"):
        read_oxts(_folder_with(tmp_path, record), [0, 1])
