"""Commands whose reader leaves early end quietly."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from metric3d_ros.standard_output import EXIT_READER_LEFT, until_reader_leaves

PROGRAM = """
import sys
from metric3d_ros.standard_output import until_reader_leaves
sys.exit(until_reader_leaves(lambda: print({text!r}) or 0))
"""


@pytest.mark.parametrize("text", ["a line", "a line that fills every buffer\n" * 1000], ids=["short", "long"])
def test_no_traceback_where_nobody_reads(text):
    done = _run_unread("-c", PROGRAM.format(text=text))
    assert (done.returncode, done.stderr) == (EXIT_READER_LEFT, "")


def test_bag_info_into_a_closed_pipe(tmp_path):
    bag = tmp_path / "drive.mcap"
    simulate = ["bag", "simulate", "--length", "10", "--max-frames", "2", "--width", "64", "--height", "48"]
    subprocess.run(
        [sys.executable, "-m", "metric3d_ros.cli", *simulate, "--out", str(bag)], check=True, capture_output=True
    )
    done = _run_unread("-m", "metric3d_ros.cli", "bag", "info", str(bag))
    assert (done.returncode, done.stderr) == (EXIT_READER_LEFT, "")


def test_command_keeps_its_exit_code(capsys):
    def command():
        print("a line")
        return 1

    assert until_reader_leaves(command) == 1
    assert capsys.readouterr().out == "a line\n"


def _run_unread(*arguments):
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        return subprocess.run(
            [sys.executable, *arguments],
            check=False,
            cwd=Path(__file__).parents[2],
            stdout=write_end,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    finally:
        os.close(write_end)
