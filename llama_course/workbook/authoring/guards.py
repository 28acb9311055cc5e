"""What must hold of the committed notebooks, found without running them.

Each guard returns sentences, one for each fault; none means that all is well. They cover what
comparing outputs (nbval) cannot see: a notebook without outputs passes there, and so does any
picture.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llama_course.errors import CourseError
from llama_course.workbook.authoring.lesson import Lesson, lessons
from llama_course.workbook.authoring.rules_exercise import solution_lines
from llama_course.workbook.authoring.starters import Tasks, task
from llama_course.workbook.build import LARGEST_NOTEBOOK, build, targets
from llama_course.workbook.cells import Cell, Notebook, course_metadata, outputs_hash, read_notebook
from llama_course.workbook.notebook import LARGEST_PICTURE

IGNORED, SKIPPED = "nbval-ignore-output", ("nbval-skip", "nbval-raises-exception")
COMPARED_EACH, COMPARED_ALL = 0.5, 0.8


def executed(root: Path) -> list[Path]:
    """The notebooks that have outputs."""
    folders = ("notebooks", "solutions")
    found = [path for folder in folders for path in sorted((root / folder).glob("*.ipynb"))]
    return [path for path in found if path.stem != "notation"]


def not_rebuilt(root: Path, tasks: Tasks = task) -> list[str]:
    """Everything made from lessons/ is what would be made of it now."""
    said: list[str] = []
    try:
        results = build(None, root, check=True, say=lambda _: None, tasks=tasks)
    except CourseError as error:
        return str(error).split("\n")
    for result in results:
        if result.state == "stale":
            name = result.path.relative_to(root).as_posix()
            said.append(f"{name}: {result.why}; run 'llama-course build'.")
    return said


def solutions_given_away(root: Path, tasks: Tasks = task) -> list[str]:
    """No line of a solution stands in exercises/, and nothing has outputs there."""
    said = []
    for lesson in lessons(root):
        path = root / "exercises" / f"{lesson.stem}.ipynb"
        if not path.is_file():
            continue
        nb = read_notebook(path)
        names = [str(c.options["answer"]) for c in lesson.exercise.code() if "answer" in c.options]
        lines = [(name, line) for name in names for line in solution_lines(tasks(name))]
        for cell in nb["cells"]:
            where = f"exercises/{path.name}: cell {cell.get('id')}"
            for name, line in lines:
                if line in cell["source"]:
                    said.append(f"{where} holds a line of the solution of {name}: {line!r}.")
            if cell.get("outputs") or cell.get("execution_count") is not None:
                said.append(f"{where} has been run; exercises have no outputs.")
    return said


def not_executed(root: Path) -> list[str]:
    """Every code cell has run, once, from top to bottom, and its outputs are those of that run."""
    said = []
    for path in executed(root):
        nb = read_notebook(path)
        name = path.relative_to(root).as_posix()
        counts = [c["execution_count"] for c in nb["cells"] if c["cell_type"] == "code"]
        if counts != list(range(1, len(counts) + 1)):
            said.append(f"{name}: cells were not run once each from top to bottom.")
        if course_metadata(nb).get("outputs") != outputs_hash(nb):
            said.append(f"{name}: outputs were stripped or edited since they were made.")
        if len(path.read_bytes()) > LARGEST_NOTEBOOK:
            said.append(f"{name}: more than 1 MB.")
        for cell in nb["cells"]:
            for output in cell.get("outputs", []):
                expected = "raises-exception" in cell["metadata"].get("tags", [])
                if output["output_type"] == "error" and not expected:
                    said.append(f"{name}: cell {cell['id']} shows an error.")
    return said


def bad_pictures(root: Path) -> list[str]:
    """Each call of show() left one picture with content, in size, with its words."""
    said = []
    for path in executed(root):
        nb = read_notebook(path)
        for cell in nb["cells"]:
            if cell["cell_type"] == "code":
                where = f"{path.relative_to(root).as_posix()}: cell {cell['id']}"
                said += [f"{where}: {fault}" for fault in _picture_faults(cell)]
    return said


def _picture_faults(cell: Cell) -> Iterator[str]:
    pictures = [out for out in cell["outputs"] if "image/png" in out.get("data", {})]
    if "show(" in cell["source"] and not pictures:
        yield "calls show() and has no picture."
    for output in pictures:
        alt = output.get("metadata", {}).get("image/png", {}).get("alt", "")
        if len(alt) < 20:
            yield "the picture has no alt text."
        try:
            data = base64.b64decode(output["data"]["image/png"], validate=False)
        except binascii.Error:
            data = b""
        if len(data) > LARGEST_PICTURE:
            yield f"the picture has {len(data) // 1000} kB, at most {LARGEST_PICTURE // 1000}."
        if blank(data):
            yield "the picture is empty."


def blank(png: bytes) -> bool:
    """Whether a picture cannot be read, is tiny, or has one colour only."""
    import numpy as np
    from matplotlib.image import imread

    try:
        pixels = np.asarray(imread(io.BytesIO(png), format="png"))
    except Exception:  # the reader raises many kinds for bytes that are no picture
        return True
    return min(pixels.shape[:2]) < 50 or float(np.ptp(pixels[..., :3])) < 0.1


def checks_skipped(root: Path, tasks: Tasks = task) -> list[str]:
    """Each answer is followed by its check, nothing is skipped, and each solution's card passes."""
    said = []
    for lesson in lessons(root):
        for target in targets(lesson, root, tasks):
            if isinstance(target.made, str) or not target.path.is_file():
                continue
            stored = read_notebook(target.path)
            name = target.path.relative_to(root).as_posix()
            said += [f"{name}: {fault}" for fault in _skipped(stored, target.notebook)]
        said += _failed_checks(lesson, root)
    return said


def _skipped(stored: Notebook, made: Notebook) -> Iterator[str]:
    sources = [cell["source"] for cell in stored["cells"] if cell["cell_type"] == "code"]
    for cell in made["cells"]:
        test = cell["metadata"].get("nbgrader", {}).get("grade")
        if test and cell["source"] not in sources:
            yield f"the check {cell['source']} is not there."
    for cell in stored["cells"]:
        tags = cell["metadata"].get("tags", [])
        for tag in SKIPPED:
            if tag in tags:
                yield f"cell {cell['id']} is skipped by the tag {tag}."
        ignored = IGNORED in tags
        if ignored and not cell["metadata"].get("course", {}).get("ignore"):
            yield f"cell {cell['id']} is ignored without a reason."
        if ignored and cell["metadata"].get("nbgrader", {}).get("grade"):
            yield f"cell {cell['id']} is a check, and its output is ignored."


def _failed_checks(lesson: Lesson, root: Path) -> list[str]:
    path = root / "solutions" / f"{lesson.stem}.ipynb"
    if not path.is_file():
        return []
    said = []
    for cell in read_notebook(path)["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("grade"):
            title = "\n".join(shown(output) for output in cell["outputs"]).split("\n")[0]
            # The title, since the card of a wrong answer also says what passed.
            if not (title.startswith("✓ ") and title.endswith(": passes")):
                said.append(f"solutions/{path.name}: {cell['source']} shows no pass.")
    return said


def shown(output: Any) -> str:
    """An output as plain text."""
    return str(output.get("text", "") or output.get("data", {}).get("text/plain", ""))


def compared(path: Path) -> tuple[int, int]:
    """Of the code cells with output: how many nbval compares, and how many there are."""
    cells = [cell for cell in read_notebook(path)["cells"] if cell.get("outputs")]
    ignored = sum(IGNORED in cell["metadata"].get("tags", []) for cell in cells)
    return len(cells) - ignored, len(cells)


def too_little_compared(root: Path) -> list[str]:
    """At least half of the cells with output in each notebook, and 80 % of all, are compared."""
    said = []
    done = total = 0
    for path in executed(root):
        mine, cells = compared(path)
        done, total = done + mine, total + cells
        if cells and mine < COMPARED_EACH * cells:
            name = path.relative_to(root).as_posix()
            said.append(f"{name}: {mine} of {cells} outputs are compared, less than half.")
    if total and done < COMPARED_ALL * total:
        said.append(f"all together: {done} of {total} outputs are compared, less than 80 %.")
    return said
