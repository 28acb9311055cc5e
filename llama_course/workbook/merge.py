"""A learner's notebook and a new release of it: one notebook, with nothing of the learner's lost.

Cells are matched by id. A released notebook carries a short hash of each of its cells, so a copy of
it tells which cells are the course's, and which of those the learner has changed since.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from llama_course.workbook.cells import (
    Cell,
    Notebook,
    course_metadata,
    long_hash,
    short_hash,
    text_cell,
)

NEWS = "-news"  # the end of the id of a note that a starter has changed


@dataclass
class Merged:
    """The notebook, and what happened in words."""

    notebook: Notebook
    kept: list[str] = field(default_factory=list)  # answers
    added: int = 0  # the learner's own cells
    replaced: list[str] = field(default_factory=list)  # changed by the learner, now the release's
    news: list[str] = field(default_factory=list)  # answers whose task has changed
    gone: list[str] = field(default_factory=list)  # answers whose task is no longer there

    def words(self) -> str:
        """One sentence or more for the learner."""
        parts = []
        if self.kept:
            parts.append(f"your {counted(len(self.kept), 'answer')} stayed")
        if self.added:
            parts.append(f"your {counted(self.added, 'added cell')} stayed")
        if self.news:
            parts.append(
                f"the task of {', '.join(self.news)} has changed, and a note above your answer "
                "says how"
            )
        if self.gone:
            parts.append(
                f"{', '.join(self.gone)} is no longer part of it, and your answer stayed as a "
                "cell of your own"
            )
        if self.replaced:
            parts.append(
                f"{counted(len(self.replaced), 'cell')} that you had changed outside the answers "
                "took the new text"
            )
        return "; ".join(parts) or "nothing in it was yours"


def counted(count: int, noun: str) -> str:
    """`1 answer`, `2 answers`."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def same_release(mine: Notebook, new: Notebook) -> bool:
    """Whether the learner's copy was made from this very release (its outputs do not count)."""
    return course_metadata(mine).get("source") == course_metadata(new).get("source")


def merge(mine: Notebook, new: Notebook) -> Merged:
    """Put the learner's answers and own cells into the new release.

    The order is the release's. An own cell follows the released cell that it followed before. An
    answer stays unless it is still the old starter. All other released cells are the new ones.
    """
    result = Merged(copy.deepcopy(new))
    before: dict[str, str] = dict(course_metadata(mine).get("cells") or {})
    released = {cell["id"]: cell for cell in result.notebook["cells"]}
    answers, followers = sort_out(mine, released, before, result)
    cells: list[Cell] = list(followers.pop("", []))
    for cell in result.notebook["cells"]:
        cell_id = cell["id"]
        answer = answers.get(cell_id)
        if answer is not None:
            starter = short_hash(cell["source"])
            # Where the old starter is not known, it cannot be said that it changed.
            if before.get(cell_id, starter) != starter != short_hash(answer["source"]):
                note = news(cell)
                followers = without_note(followers, note["id"])
                cells = [one for one in cells if one["id"] != note["id"]]
                cells.append(note)
                result.news.append(task_name(cell))
            cell["source"] = answer["source"]
            carry_outputs(answer, cell)
            result.kept.append(task_name(cell))
        cells.append(cell)
        cells += followers.pop(cell_id, [])
    result.notebook["cells"] = with_own_ids(cells, set(released))
    keep_metadata(mine, result.notebook)
    return result


def sort_out(
    mine: Notebook, released: dict[str, Cell], before: dict[str, str], result: Merged
) -> tuple[dict[str, Cell], dict[str, list[Cell]]]:
    """The learner's cells: answers by id, and own cells by the id of the cell that they follow."""
    answers: dict[str, Cell] = {}
    followers: dict[str, list[Cell]] = {}
    seen: set[str] = set()
    follow = ""
    ids = identities(mine, released, before)

    def own(cell: Cell) -> None:
        result.added += 1
        followers.setdefault(follow, []).append(copy.deepcopy(cell))

    for cell, cell_id in zip(mine["cells"], ids, strict=True):
        twin = cell_id in seen
        touched = before.get(cell_id) != short_hash(cell["source"])
        if cell_id.endswith(NEWS) and is_note(cell):
            if cell_id.removesuffix(NEWS) in released:
                followers.setdefault(follow, []).append(copy.deepcopy(cell))
            continue
        if cell_id in released and not twin:
            seen.add(cell_id)
            follow = cell_id
            new = released[cell_id]
            if same_text(cell, new):
                carry_outputs(cell, new)
            elif is_answer(new) and touched and cell["source"].strip():
                answers[cell_id] = cell
            elif not is_answer(new) and touched:
                result.replaced.append(cell_id)
            continue
        if cell_id in before and not touched:
            continue  # an old cell of the course, or a second copy of one, without a change
        if not cell["source"].strip():
            continue
        if cell_id in released and is_answer(released[cell_id]) and cell_id not in answers:
            answers[cell_id] = cell  # the first of two was still the starter
            continue
        if cell_id in before and not twin:
            if not is_answer(cell):
                result.replaced.append(cell_id)  # the course no longer has it; the old file does
                continue
            result.gone.append(task_name(cell))
            followers.setdefault(follow, []).append(copy.deepcopy(cell))
            continue
        own(cell)
    return answers, followers


def identities(mine: Notebook, released: dict[str, Cell], before: dict[str, str]) -> list[str]:
    """The id of each cell.

    Where a tool has lost or renewed all of them, answers are known by their nbgrader id and the
    course's other cells by their text.
    """
    ids = [str(cell.get("id") or "") for cell in mine["cells"]]
    if any(one in released or one in before for one in ids):
        return ids
    by_text = {text: cell_id for cell_id, text in before.items()}
    by_text |= {short_hash(cell["source"]): cell_id for cell_id, cell in released.items()}
    found = []
    for cell, own in zip(mine["cells"], ids, strict=True):
        grade_id = str(cell["metadata"].get("nbgrader", {}).get("grade_id") or "")
        known = grade_id if grade_id in released or grade_id in before else ""
        found.append(known or by_text.get(short_hash(cell["source"]), own))
    return found


def untouched(mine: Notebook) -> bool:
    """Whether a copy has just the cells it was released with: nothing in it is the learner's."""
    before = course_metadata(mine).get("cells")
    return before == {cell.get("id"): short_hash(cell["source"]) for cell in mine["cells"]}


def is_answer(cell: Cell) -> bool:
    """Whether the learner is to write in this cell."""
    metadata = cell["metadata"]
    course = metadata.get("course")
    role = course.get("role") if isinstance(course, dict) else None
    return role == "answer" or bool(metadata.get("nbgrader", {}).get("solution"))


def is_note(cell: Cell) -> bool:
    """Whether this is a note of an earlier update."""
    return (
        cell["cell_type"] == "markdown" and cell["metadata"].get("course", {}).get("role") == "news"
    )


def same_text(one: Cell, other: Cell) -> bool:
    """Whether two cells have the same kind and source."""
    return one["cell_type"] == other["cell_type"] and one["source"] == other["source"]


def task_name(cell: Cell) -> str:
    """The exercise that an answer cell belongs to."""
    course = cell["metadata"].get("course")
    return str((course or {}).get("exercise") or cell["id"])


def carry_outputs(old: Cell, new: Cell) -> None:
    """Keep what the learner's run showed, where the release shows nothing."""
    if old["cell_type"] == new["cell_type"] == "code" and not new["outputs"]:
        new["outputs"] = copy.deepcopy(old["outputs"])
        new["execution_count"] = old["execution_count"]


def news(cell: Cell) -> Cell:
    """The note above an answer whose starter is another one now."""
    words = (
        "**The task below has changed with this release.** Your answer is as you left it. The task "
        f"now reads:\n\n```python\n{cell['source']}\n```"
    )
    return text_cell(cell["id"] + NEWS, words, {"course": {"role": "news"}})


def without_note(followers: dict[str, list[Cell]], note: str) -> dict[str, list[Cell]]:
    """The own cells, without an older note that a new one replaces."""
    return {at: [c for c in cells if c.get("id") != note] for at, cells in followers.items()}


def with_own_ids(cells: list[Cell], released: set[str]) -> list[Cell]:
    """Each cell with an id of its own; released cells keep theirs."""
    seen: set[str] = set()
    for number, cell in enumerate(cells):
        cell_id = str(cell.get("id") or "")
        mine = cell_id in released and cell_id not in seen
        if not cell_id or cell_id in seen:
            mine = False
            cell_id = "own-" + long_hash(f"{number} {cell['source']}")[:12]
            while cell_id in seen:
                cell_id = "own-" + long_hash(cell_id)[:12]
            cell["id"] = cell_id
        if not mine and isinstance(cell["metadata"].get("nbgrader"), dict):
            # nbgrader refuses a notebook with two cells of one grade_id.
            cell["metadata"] = {k: v for k, v in cell["metadata"].items() if k != "nbgrader"}
        seen.add(cell_id)
    return cells


def keep_metadata(mine: Notebook, merged: Notebook) -> None:
    """What the learner's tools wrote about the notebook stays; what the course wrote is new."""
    ours: dict[str, Any] = merged["metadata"]
    for key, value in mine["metadata"].items():
        if key != "course":
            ours[key] = value
