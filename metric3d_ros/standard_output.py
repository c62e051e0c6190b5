"""Standard output whose reader may leave early, as ``head`` does."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

# What a shell reports of a program that SIGPIPE ended.
EXIT_READER_LEFT = 141


def until_reader_leaves(command: Callable[[], int]) -> int:
    """The exit code of a command that prints, or EXIT_READER_LEFT where nobody reads on."""
    try:
        code = command()
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more on its way out, and would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_READER_LEFT
    return code
