"""The source of a lesson: its folder, its front matter, and its cells with their lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from llama_course.errors import CourseError, nearest

FOLDER = re.compile(r"(?P<number>[0-9A-Z][0-9])_(?P<name>[a-z0-9_]+)")
CELL_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

PARTS = {
    "lesson": (
        *("where", "without", "equation", "code", "picture", "break", "7b"),
        *("exercise", "recap", "quiz", "pitfalls", "reading"),
    ),
    "appendix": (
        *("where", "equation", "code", "picture"),
        *("exercise", "recap", "quiz", "pitfalls", "reading"),
    ),
    "start": ("where", "exercise", "recap", "quiz", "pitfalls"),
}


@dataclass
class SourceCell:
    """One cell as the author wrote it, and the line of the file on which it begins."""

    kind: str  # "code" or "markdown"
    source: str
    options: dict[str, Any]
    line: int
    part: str = ""  # the part it stands in; "" before the first
    name: str = ""  # "" for a text cell without one, until the builder gives it one

    @property
    def tags(self) -> list[str]:
        """The cell's tags, such as `failure`."""
        tags = self.options.get("tags") or []
        return [tags] if isinstance(tags, str) else [str(tag) for tag in tags]


@dataclass
class SourceFile:
    """One MyST file: its front matter and its cells."""

    path: Path
    text: str
    front: dict[str, Any]
    cells: list[SourceCell] = field(default_factory=list)

    def code(self) -> list[SourceCell]:
        """The code cells."""
        return [cell for cell in self.cells if cell.kind == "code"]


@dataclass
class Lesson:
    """A folder of `lessons/`; its files are read when they are first asked for."""

    folder: Path

    @property
    def number(self) -> str:
        """`05`, `A1`."""
        return self.folder.name[:2]

    @property
    def stem(self) -> str:
        """`05_rope`: the name of its notebooks."""
        return self.folder.name

    @property
    def title(self) -> str:
        """The title from the front matter."""
        return str(self.lesson.front.get("title", self.stem[3:].replace("_", " ")))

    @property
    def kind(self) -> str:
        """`lesson`, `appendix` or `start`."""
        return str(self.lesson.front.get("kind", "lesson"))

    @cached_property
    def lesson(self) -> SourceFile:
        """lesson.md."""
        return read_source(self.folder / "lesson.md")

    @cached_property
    def exercise(self) -> SourceFile:
        """exercise.md."""
        return read_source(self.folder / "exercise.md")

    def text(self, name: str) -> str:
        """The text of one of the plain files, `quiz.md` or `instructor.md`."""
        return read_text(self.folder / name)


def order(number: str) -> tuple[int, str]:
    """Sorts lessons as they are read: 00, A1, A2, 01, 02, ..."""
    rank = 0 if number == "00" else 1 if number[0].isalpha() else 2
    return rank, number


def lessons(root: Path) -> list[Lesson]:
    """All lessons under `root/lessons`, in reading order."""
    found = [
        Lesson(folder)
        for folder in (Path(root) / "lessons").glob("*")
        if folder.is_dir() and FOLDER.fullmatch(folder.name)
    ]
    return sorted(found, key=lambda lesson: order(lesson.number))


def chosen(root: Path, names: Sequence[str] | None) -> list[Lesson]:
    """The lessons called `05`, `5` or `05_rope`; all for None or nothing."""
    known = lessons(root)
    if not names:
        return known
    by_name = {lesson.number.lower(): lesson for lesson in known}
    by_name |= {lesson.stem.lower(): lesson for lesson in known}
    result = []
    for name in names:
        key = name.strip().strip("/").lower().removeprefix("lessons/")
        key = key.zfill(2) if key.isdigit() else key
        if key not in by_name:
            numbers = [lesson.number for lesson in known]
            known_words = nearest(name, numbers) if numbers else f"there is none in {root}/lessons."
            raise CourseError(f"There is no lesson {name!r}; {known_words}")
        result.append(by_name[key])
    return sorted(result, key=lambda lesson: order(lesson.number))


def read_text(path: Path) -> str:
    """A source file with LF line ends."""
    if not path.is_file():
        raise CourseError(
            f"{path.parent.name} has no {path.name}: lessons/README.md says what belongs in it."
        )
    return path.read_text(encoding="utf-8").replace("\r\n", "\n")


def read_source(path: Path) -> SourceFile:
    """Read a MyST text notebook.

    Raises `CourseError` where jupytext is not installed, or the file cannot be understood.
    """
    try:
        import jupytext
    except ModuleNotFoundError:
        raise CourseError(
            "Lessons are read with jupytext, not installed here: run 'python course.py test' once, "
            "which installs what authors need."
        ) from None
    text = read_text(path)
    where = f"{path.parent.name}/{path.name}"
    if not text.startswith("---\n"):
        raise CourseError(f"{where}: begin the file with front matter between two lines of '---'.")
    try:
        nb = jupytext.reads(text, fmt="md:myst")
    except Exception as error:  # the parsers raise many kinds; the author needs the sentence
        reason = " ".join(str(error).split())[:300]
        raise CourseError(f"{where} cannot be read: {reason}") from None
    front = {key: value for key, value in nb.metadata.items() if key != "jupytext"}
    file = SourceFile(path, text, front)
    file.cells = list(_cells(nb, text))
    return file


def _cells(nb: Any, text: str) -> Iterator[SourceCell]:
    lines = text.split("\n")
    at = next((n for n, line in enumerate(lines[1:], 2) if line == "---"), 0)
    part = ""
    for cell in nb.cells:
        options = dict(cell.metadata)
        part = str(options.get("part", part))
        at = _line(lines, at, cell)
        yield SourceCell(
            kind=cell.cell_type,
            source=cell.source,
            options=options,
            line=at,
            part=part,
            name=str(options.get("name", "")),
        )


def _line(lines: list[str], after: int, cell: Any) -> int:
    """The 1-based line on which a cell begins, searched from line `after` on."""
    if cell.cell_type == "code":
        begins = re.compile(r"(`{3,}|~{3,})\{code-cell\}")
        hits = (n for n, line in enumerate(lines[after:], after + 1) if begins.match(line))
    else:
        first = cell.source.split("\n", 1)[0]
        hits = (
            n for n, line in enumerate(lines[after:], after + 1) if line.strip() == first.strip()
        )
    return next(hits, after)
