"""The part of a Markdown page that a command writes, between two markers; the prose around it is a person's."""

from __future__ import annotations

from pathlib import Path

from droid_bridge.errors import DroidBridgeError
from metric3d_ros.atomic_file import replaced_when_done


def markers(name: str) -> tuple[str, str]:
    """The two lines around a section; a reader of the page does not see them."""
    return f"<!-- begin {name} -->", f"<!-- end {name} -->"


def require_section(page: Path, name: str) -> None:
    """Check, before hours of work, that a page has a section; raises what `write_section` raises for it."""
    _split(page, name)


def write_section(page: Path, name: str, text: str) -> None:
    """Replace what a page has between the markers of a section; everything else stays as it is.

    Raises
    ------
    DroidBridgeError
        If the page cannot be read, or does not have each marker once and in order.
    OutputError
        If it cannot be written.
    """
    before, after = _split(page, name)
    with replaced_when_done(page) as unfinished:
        unfinished.write_text(f"{before}\n\n{text.strip()}\n\n{after}", encoding="utf-8")


def _split(page: Path, name: str) -> tuple[str, str]:
    """The page up to the first marker and from the second on, both included."""
    try:
        whole = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise DroidBridgeError(f"page {page} cannot be read: {why}; give a Markdown file.") from error
    begin, end = markers(name)
    if whole.count(begin) != 1 or whole.count(end) != 1 or whole.index(begin) > whole.index(end):
        raise DroidBridgeError(f"{page} has no section for this table; put the lines {begin} and {end} into it.")
    at = whole.index(begin) + len(begin)
    return whole[:at], whole[whole.index(end) :]
