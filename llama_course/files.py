"""Writing files so that an interruption leaves the old one or the new one, never half of either."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """A fresh path beside `path` to write to; it takes `path`'s place when the block ends well.

    >>> with written_beside(Path("notes.txt")) as new:
    ...     _ = new.write_text("all of it", encoding="utf-8")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield beside
        flush(beside)
        os.replace(beside, path)
        flush(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a small UTF-8 file with `\\n` line ends, all or nothing."""
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")


def flush(path: Path) -> None:
    """Ask the system to put a file (or a folder's entries) on the disk before going on."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a folder
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
