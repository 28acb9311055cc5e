"""Which exercises have passed: one small file, to which passes are only ever added."""

from __future__ import annotations

import contextlib
import html
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llama_course import checks
from llama_course.errors import CourseError
from llama_course.files import write_text
from llama_course.workbook.home import home

LOCK_SECONDS = 5.0  # a lock older than this was left by a process that is gone


def path() -> Path:
    """The file with the learner's progress."""
    return home() / "progress.json"


def passed() -> dict[str, list[str]]:
    """The parts that have passed, by exercise. A file that cannot be read counts as empty."""
    try:
        found = json.loads(path().read_text(encoding="utf-8"))["passed"]
        return {str(name): [str(p) for p in parts] for name, parts in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def record(exercise: str, parts: list[str]) -> None:
    """Add parts that have passed. Raises CourseError in one sentence where it cannot be written."""
    try:
        with _locked():
            known = passed()
            before = known.get(exercise, [])
            added = [p for p in parts if p not in before]
            if not added:
                return
            _set_aside_if_broken()
            known[exercise] = sorted([*before, *added])
            text = json.dumps({"passed": dict(sorted(known.items()))}, indent=2)
            write_text(path(), text + "\n")
    except OSError as error:
        told = error.strerror or type(error).__name__
        raise CourseError(
            f"Your progress could not be written to progress.json ({told})."
        ) from None


def _set_aside_if_broken() -> None:
    """A file that is there but cannot be read is kept beside, not written over."""
    file = path()
    if file.exists() and not passed():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            if json.loads(file.read_text(encoding="utf-8"))["passed"] == {}:
                return
        os.replace(file, file.with_name("progress.unreadable.json"))


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """One writer at a time, also from two notebooks: reading and writing belong together."""
    lock = home() / ".progress.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            break
        except (FileExistsError, PermissionError):
            if time.monotonic() > end:
                lock.unlink(missing_ok=True)
                end = time.monotonic() + LOCK_SECONDS
            time.sleep(0.01)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


@dataclass(frozen=True)
class Row:
    """One exercise in the table of progress."""

    lesson: str
    exercise: str
    title: str
    core: bool
    done: int
    parts: int

    @property
    def path(self) -> str:
        """On which path through the course it lies."""
        return "core" if self.core else "further"

    @property
    def words(self) -> str:
        """The state in words and a sign, never a colour alone."""
        if self.done == self.parts:
            return "✓ passed"
        return f"◐ {self.done} of {self.parts} parts" if self.done else "· not yet"


@dataclass(frozen=True)
class Progress:
    """The table of progress; shown as such in a notebook."""

    rows: tuple[Row, ...]

    @property
    def sentence(self) -> str:
        """How much is done."""
        done = sum(row.done == row.parts for row in self.rows)
        return f"{done} of {len(self.rows)} exercises passed."

    def __repr__(self) -> str:
        lines = [
            f"{r.lesson:3} {r.exercise:16} {r.title:34} {r.path:8}{r.words}" for r in self.rows
        ]
        return "\n".join([*lines, self.sentence])

    def _repr_markdown_(self) -> str:
        rows = [
            f"| {r.lesson} | `{r.exercise}` | {r.title} | {r.path} | {r.words} |" for r in self.rows
        ]
        head = ["| Lesson | Exercise | Title | Path | State |", "|---|---|---|---|---|"]
        return "\n".join([*head, *rows, "", self.sentence])

    def _repr_html_(self) -> str:
        head = "".join(
            f'<th scope="col" style="text-align:left">{word}</th>'
            for word in ("Lesson", "Exercise", "Title", "Path", "State")
        )
        rows = "".join(
            f'<tr><td>{r.lesson}</td><td style="text-align:left"><code>{r.exercise}</code></td>'
            f'<td style="text-align:left">{html.escape(r.title)}</td>'
            f"<td>{r.path}</td>"
            f'<td style="text-align:left">{r.words}</td></tr>'
            for r in self.rows
        )
        return (
            '<div style="border:1px solid currentColor;border-radius:4px;padding:0.6em 1em">'
            f"<p><strong>Your progress.</strong> {self.sentence}</p>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        )


def progress() -> Progress:
    """Lessons and exercises, and which of them you have passed."""
    known = passed()
    rows = []
    for exercise in checks.everything():
        done = sum(part in known.get(exercise.name, []) for part in exercise.parts)
        rows.append(
            Row(
                exercise.lesson,
                exercise.name,
                exercise.title,
                exercise.core,
                done,
                len(exercise.parts),
            )
        )
    return Progress(tuple(rows))
