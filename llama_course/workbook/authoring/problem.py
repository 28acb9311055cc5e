"""What lint says: one problem, where it is, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llama_course.workbook.authoring.lesson import SourceCell


@dataclass(frozen=True)
class Problem:
    """One thing to mend; `line` is 0 where the whole file is meant."""

    path: Path
    line: int
    text: str
    cell: str = ""

    def words(self, root: Path) -> str:
        """`lessons/05_rope/lesson.md:12 (cell loop): ...`."""
        path = self.path.relative_to(root) if self.path.is_relative_to(root) else self.path
        place = path.as_posix() + (f":{self.line}" if self.line else "")
        return f"{place} (cell {self.cell}): {self.text}" if self.cell else f"{place}: {self.text}"


def at(path: Path, cell: SourceCell, text: str) -> Problem:
    """A problem of one cell."""
    return Problem(path, cell.line, text, cell.name)
