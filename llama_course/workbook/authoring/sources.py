"""From a lesson's sources to its notebooks, before anything runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llama_course.errors import CourseError
from llama_course.workbook.authoring.lesson import CELL_NAME, Lesson, SourceCell, SourceFile
from llama_course.workbook.authoring.quiz_source import as_data, questions
from llama_course.workbook.authoring.starters import Tasks
from llama_course.workbook.cells import (
    Cell,
    Notebook,
    code_cell,
    notebook,
    text_cell,
)

# The one cell that must also work in a kernel without the course.
KERNEL_CHECK = """\
import importlib.util, sys

if importlib.util.find_spec("llama_course") is None:
    print(f"This kernel ({sys.executable}) is not the course's: choose Kernel, Change Kernel and")
    print("take the course's .venv, or close this page and start by 'python course.py'.")
else:
    from llama_course.workbook.notebook import ready

    ready()"""

NOTATION = "notation"


def lesson_notebook(lesson: Lesson) -> Notebook:
    """notebooks/NN_name.ipynb, not executed."""
    source = lesson.lesson
    prefix = lesson.number.lower()
    cells = [_kernel_check(prefix), text_cell(f"{prefix}-card", card(lesson), _slide("slide"))]
    cells += _cells(source, prefix)
    return notebook(cells, _course(lesson, "lesson"))


def exercise_notebook(lesson: Lesson, tasks: Tasks, solved: bool) -> Notebook:
    """exercises/NN_name.ipynb with starters, or solutions/NN_name.ipynb with solutions."""
    source = lesson.exercise
    prefix = f"{lesson.number.lower()}e"
    cells = [_kernel_check(prefix)]
    for cell, made in zip(source.cells, _cells(source, prefix), strict=True):
        if "answer" in cell.options:
            shown = tasks(str(cell.options["answer"]))
            if shown.line:
                cells.append(text_cell(f"{made['id']}-facts", shown.line))
            made["source"] = shown.solution if solved else shown.starter
            made["metadata"]["course"] = {
                **made["metadata"].get("course", {}),
                "role": "answer",
                "exercise": str(cell.options["answer"]),
            }
        elif "check" in cell.options:
            made["source"] = f'check("{cell.options["check"]}")'
        made["metadata"] |= _nbgrader(cell, made["id"])
        cells.append(made)
    nb = notebook(cells, _course(lesson, "solution" if solved else "exercise"))
    return nb


def quiz_data(lesson: Lesson) -> str:
    """llama_course/workbook/quizzes/NN.json."""
    found = questions(lesson.text("quiz.md"), f"{lesson.stem}/quiz.md")
    data = as_data(lesson.number, lesson.title, found)
    return json.dumps(data, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def notation_notebook(found: Iterable[Lesson], root: Path) -> Notebook:
    """notebooks/notation.ipynb: the conventions, and every lesson's symbols in one table."""
    intro = root / "lessons" / "notation.md"
    words = intro.read_text(encoding="utf-8").strip() if intro.is_file() else "# Notation"
    rows = [
        "| symbol | meaning | shape | Meta's name | paper's name | lesson |",
        "|---|---|---|---|---|---|",
    ]
    seen: set[str] = set()
    for lesson in found:
        for row in lesson.lesson.front.get("notation") or []:
            symbol = str(row.get("symbol", ""))
            if symbol in seen:
                continue
            seen.add(symbol)
            meta = f"`{row['meta']}`" if row.get("meta") else ""
            paper = f"${row['paper']}$" if row.get("paper") else ""
            parts = [f"${symbol}$", row.get("meaning", ""), row.get("shape", ""), meta, paper]
            columns = [str(part).replace("|", "\\|") for part in [*parts, lesson.number]]
            rows.append(f"| {' | '.join(columns)} |")
    cells = [text_cell("notation-intro", words), text_cell("notation-table", "\n".join(rows))]
    return notebook(cells, {"kind": NOTATION, "lesson": "", "title": "Notation"})


def card(lesson: Lesson) -> str:
    """The lesson's first cell of text, from its front matter."""
    front = lesson.lesson.front
    minutes = front.get("minutes") or {}
    paper = front.get("paper") or {}
    needs = ", ".join(map(str, front.get("needs") or [])) or "nothing"
    objectives = "\n".join(f"1. {words}" for words in front.get("objectives") or [])
    lines = [
        f"# {lesson.number} · {lesson.title}",
        f"**When you are done, you can**\n\n{objectives}",
        f"| before it | reading | exercise | hardware |\n|---|---|---|---|\n"
        f"| {needs} | {minutes.get('reading', '?')} minutes "
        f"| {minutes.get('exercise', '?')} minutes | {front.get('hardware', '?')} |",
    ]
    if paper:
        lines.append(f"> {str(paper.get('quote', '')).strip()}\n>\n> {paper.get('where', '')}")
    return "\n\n".join(lines)


def _kernel_check(prefix: str) -> Cell:
    return code_cell(f"{prefix}-kernel", KERNEL_CHECK, {"tags": ["kernel"], **_slide("skip")})


def _course(lesson: Lesson, kind: str) -> dict[str, Any]:
    return {"kind": kind, "lesson": lesson.number, "title": lesson.title}


def _cells(source: SourceFile, prefix: str) -> list[Cell]:
    """The author's cells with ids and metadata; each gets a name if it has none."""
    where = f"{source.path.parent.name}/{source.path.name}"
    texts: Counter[str] = Counter()
    used: set[str] = set()
    made = []
    for number, cell in enumerate(source.cells):
        if cell.kind == "markdown":
            part = cell.part or "text"
            texts[part] += 1
            cell.name = cell.name or f"{part}-{texts[part]}"
        _check_name(cell, used, where)
        build = code_cell if cell.kind == "code" else text_cell
        before = source.cells[number - 1] if number else None
        made.append(build(f"{prefix}-{cell.name}", cell.source, _metadata(cell, before)))
    return made


def _check_name(cell: SourceCell, used: set[str], where: str) -> None:
    if not cell.name:
        raise CourseError(
            f"{where}:{cell.line}: give this code cell a name, ':name: what-it-does'."
        )
    if not CELL_NAME.fullmatch(cell.name) or len(cell.name) > 40:
        raise CourseError(
            f"{where}:{cell.line}: the name {cell.name!r} must be small letters, digits and "
            "hyphens, 40 at most."
        )
    reserved = cell.name in ("kernel", "card") or cell.name.endswith(("-facts", "-news"))
    if cell.name in used or reserved:
        raise CourseError(
            f"{where}:{cell.line}: the name {cell.name!r} is taken; each cell needs one of its own."
        )
    used.add(cell.name)


def _metadata(cell: SourceCell, before: SourceCell | None) -> dict[str, Any]:
    """The notebook's metadata for a cell; only what some tool reads."""
    tags = list(cell.tags)
    course: dict[str, Any] = {
        key: cell.options[key] for key in ("part", "role") if key in cell.options
    }
    if cell.options.get("ignore"):
        tags.append("nbval-ignore-output")
        course["ignore"] = str(cell.options["ignore"])
    metadata: dict[str, Any] = _slide(str(cell.options.get("slide") or slide(cell, before)))
    if tags:
        metadata["tags"] = tags
    if course:
        metadata["course"] = course
    return metadata


def slide(cell: SourceCell, before: SourceCell | None) -> str:
    """What a cell is in a deck, where the author does not say."""
    if "part" in cell.options:
        return "slide"
    if cell.options.get("role") == "predict":
        return "subslide"
    if cell.kind == "markdown":
        return "-" if cell.source.lstrip().startswith(("#", "$$")) else "notes"
    if before is not None and before.options.get("role") == "predict":
        return "fragment"
    return "subslide" if "show(" in cell.source else "-"


def _slide(kind: str) -> dict[str, Any]:
    return {} if kind == "-" else {"slideshow": {"slide_type": kind}}


def _nbgrader(cell: SourceCell, cell_id: str) -> dict[str, Any]:
    """The metadata by which nbgrader knows answers, tests and what nobody may edit."""
    answer, test = "answer" in cell.options, "check" in cell.options
    data: dict[str, Any] = {
        "grade": test,
        "grade_id": cell_id,
        "locked": not answer,
        "schema_version": 3,
        "solution": answer,
        "task": False,
    }
    if cell.kind == "code":
        data["cell_type"] = "code"
    if test:
        points = cell.options.get("points")
        if not isinstance(points, int):
            raise CourseError(f"cell {cell.name}: give the check its ':points:', a whole number.")
        data["points"] = points
    if not answer and not test:
        if cell.kind == "code":
            return {}  # a learner's own first tries are nobody's to lock
        data["cell_type"] = "markdown"
    return {"nbgrader": data}
