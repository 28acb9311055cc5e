"""`llama-course slides 05`: a deck for a lecture, from the lesson's own notebook."""

from __future__ import annotations

import copy
from pathlib import Path

from llama_course.errors import CourseError
from llama_course.files import write_text
from llama_course.workbook.authoring.lesson import chosen
from llama_course.workbook.authoring.rules_instructor import speaker_notes
from llama_course.workbook.cells import Notebook, read_notebook, text_cell
from llama_course.workbook.home import home, repository


def slides(lesson: str, target: Path | None = None, root: Path | None = None) -> Path:
    """Write a reveal deck of a lesson as one HTML file, and return its path.

    Its default place is `slides/` in the learner's folder. Speaker notes (the prose of the lesson
    and those of instructor.md) are shown by the key S. The deck loads reveal.js from the network
    when it is opened.

    Raises `CourseError` for an unknown lesson, one that is not built, or without nbconvert.
    """
    try:
        from nbconvert.exporters import SlidesExporter
    except ModuleNotFoundError:
        raise CourseError(
            "Slides are made with nbconvert, which is not installed here: "
            "run 'pip install nbconvert' in the course's environment."
        ) from None
    import nbformat

    root = Path(root or repository())
    found = chosen(root, [lesson])[0]
    source = root / "notebooks" / f"{found.stem}.ipynb"
    if not source.is_file():
        raise CourseError(f"{source} is not there: run 'llama-course build {found.number}' first.")
    instructor = found.folder / "instructor.md"
    notes = speaker_notes(found.text("instructor.md")) if instructor.is_file() else {}
    nb = nbformat.from_dict(with_notes(read_notebook(source), notes))
    exporter = SlidesExporter(exclude_input_prompt=True, exclude_output_prompt=True)
    html, _ = exporter.from_notebook_node(nb)
    target = target or home() / "slides" / f"{found.stem}.html"
    write_text(target, html)
    return target


def with_notes(nb: Notebook, notes: dict[str, str]) -> Notebook:
    """A copy with the instructor's notes after the first cell of each part."""
    cells = []
    for cell in nb["cells"]:
        cells.append(cell)
        part = cell["metadata"].get("course", {}).get("part")
        if part and notes.get(part):
            metadata = {"slideshow": {"slide_type": "notes"}}
            cells.append(text_cell(f"{cell['id']}-notes", notes[part], metadata))
    return {**copy.deepcopy(nb), "cells": cells}
