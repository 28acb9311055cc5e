"""Replacing the files of a folder so that whoever stops it half-way finds the old or the new.

A save writes everything into `.saving-PID-x/` inside the folder. One rename to `.saved-PID-x/`
commits it. Then the files are moved into place one by one, what only the old checkpoint had is
removed, and last the emptied journal. Whoever opens the folder after an interruption first
finishes these moves (`Files`), or reads the journal's files where the folder cannot be written.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from llama_course.config import read_json
from llama_course.files import flush

MANIFEST = "manifest.json"
DAY = 86_400.0


class Files(Mapping[str, Path]):
    """The plain files of a folder by name, as they are once an interrupted save is finished."""

    def __init__(self, folder: Path) -> None:
        finish(folder)
        self.folder = folder
        self._paths = {p.name: p for p in sorted(folder.iterdir()) if p.is_file()}
        self.journalled: set[str] = set()
        for journal, new, old in _committed(folder):  # those that could not be finished
            for name in old:
                self._paths.pop(name, None)
            waiting = [name for name in new if (journal / name).is_file()]
            self._paths.update({name: journal / name for name in waiting})
            self.journalled.update(waiting)

    def __getitem__(self, name: str) -> Path:
        return self._paths[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    @contextmanager
    def as_folder(self, names: Iterable[str]) -> Iterator[Path]:
        """A folder where the small files `names` are found: this one, unless a journal waits."""
        if not self.journalled.intersection(names):
            yield self.folder
            return
        with tempfile.TemporaryDirectory() as made:
            for name in names:
                if name in self:
                    shutil.copyfile(self[name], Path(made, name))
            yield Path(made)


@contextmanager
def replacing(
    folder: Path, old: Callable[[set[str]], Iterable[str]], last: Callable[[str], int]
) -> Iterator[Path]:
    """A fresh folder to write to; once the block ends well, its files take their places.

    `old(new)` names what else is to go from the folder, given the names that were written.
    `last(name)` is a rank: files of a higher rank are moved later. An exception inside the block
    leaves the folder as it was.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    finish(folder)
    _sweep(folder)
    name = f"{os.getpid()}-{secrets.token_hex(4)}"
    staging, committed = folder / f".saving-{name}", folder / f".saved-{name}"
    try:
        staging.mkdir()
        yield staging
        new = sorted((p.name for p in staging.iterdir()), key=lambda n: (last(n), n))
        manifest = {"new": new, "old": sorted(set(old(set(new))) - set(new))}
        (staging / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        for file in (*new, MANIFEST):
            flush(staging / file)
        flush(staging)
        os.replace(staging, committed)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        if made:
            with suppress(OSError):
                folder.rmdir()
        raise
    flush(folder)
    finish(folder)


def finish(folder: Path) -> None:
    """Finish every committed save of the folder; leave it as it is where it cannot be written.

    Each step may be repeated, so that it does not matter where an earlier try was stopped, or
    whether another process finishes at the same time.
    """
    for journal, new, old in _committed(folder):
        try:
            for name in new:
                with suppress(FileNotFoundError):  # moved before
                    os.replace(journal / name, folder / name)
            flush(folder)
            for name in old:
                (folder / name).unlink(missing_ok=True)
            (journal / MANIFEST).unlink(missing_ok=True)
        except OSError:
            return  # read-only, or (on Windows) a file that is mapped; `Files` reads the journal
    for journal in folder.glob(".saved-*"):
        with suppress(OSError):
            journal.rmdir()  # only the emptied ones go


def _committed(folder: Path) -> list[tuple[Path, list[str], list[str]]]:
    """The committed saves that still wait, the earlier first: journal, new names, old names."""
    waiting = []
    for journal in folder.glob(".saved-*"):
        manifest = journal / MANIFEST
        if manifest.is_file():
            names = read_json(manifest)
            time_ = manifest.stat().st_mtime_ns
            waiting.append((time_, journal, names.get("new", []), names.get("old", [])))
    return [(journal, new, old) for _, journal, new, old in sorted(waiting)]


def _sweep(folder: Path) -> None:
    """Remove what saves left that were stopped before they were committed."""
    for staging in folder.glob(".saving-*"):
        pid = staging.name.split("-")[1]
        if not (pid.isdigit() and _alive(int(pid), staging)):
            shutil.rmtree(staging, ignore_errors=True)


def _alive(pid: int, staging: Path) -> bool:
    if os.name == "nt":  # os.kill would end the process there; a day is long enough to save
        return time.time() - staging.stat().st_mtime < DAY
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
