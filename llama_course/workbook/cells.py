"""Notebooks as plain data: read, written in one exact form, and hashed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import nbformat

from llama_course.errors import CourseError
from llama_course.files import write_text

Cell = dict[str, Any]
Notebook = dict[str, Any]

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def text_cell(cell_id: str, source: str, metadata: dict[str, Any] | None = None) -> Cell:
    """A Markdown cell."""
    return {
        "cell_type": "markdown",
        "id": cell_id,
        "metadata": dict(metadata or {}),
        "source": source,
    }


def code_cell(cell_id: str, source: str, metadata: dict[str, Any] | None = None) -> Cell:
    """A code cell that has not run."""
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": cell_id,
        "metadata": dict(metadata or {}),
        "outputs": [],
        "source": source,
    }


def notebook(cells: list[Cell], course: dict[str, Any]) -> Notebook:
    """A notebook that has not run; `course` tells the course's tools what it is.

    Added to `course`: `cells`, a short hash of each cell's source by id, so that a later release
    can tell what a learner changed, and `source`, a hash of everything but outputs.
    """
    course = {**course, "cells": {cell["id"]: short_hash(cell["source"]) for cell in cells}}
    made: Notebook = {
        "cells": cells,
        "metadata": {
            "course": course,
            "kernelspec": dict(KERNEL),
            # No versions: they would change with the interpreter that built the notebook.
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    course["source"] = source_hash(made)
    return made


def source_hash(nb: Notebook) -> str:
    """A hash of what an author wrote: kinds, ids, sources and metadata of the cells, in order."""
    kept = [
        {key: cell[key] for key in ("cell_type", "id", "metadata", "source")}
        for cell in nb["cells"]
    ]
    return long_hash(json.dumps(kept, sort_keys=True, ensure_ascii=False))


def outputs_hash(nb: Notebook) -> str:
    """A hash of all outputs, pictures included: it changes when one is lost or edited."""
    code = [cell for cell in nb["cells"] if cell["cell_type"] == "code"]
    kept = [[cell.get("id"), cell["execution_count"], cell["outputs"]] for cell in code]
    return long_hash(json.dumps(kept, sort_keys=True, ensure_ascii=False))


def long_hash(text: str | bytes) -> str:
    """32 hexadecimal digits of a SHA-256."""
    data = text.encode("utf-8") if isinstance(text, str) else text
    return hashlib.sha256(data).hexdigest()[:32]


def short_hash(text: str) -> str:
    """12 hexadecimal digits, for a cell; white space at line ends does not count."""
    return long_hash("\n".join(line.rstrip() for line in text.strip().splitlines()))[:12]


def course_metadata(nb: Notebook) -> dict[str, Any]:
    """The course's own notes in a notebook; {} in one that the course did not make."""
    found = nb.get("metadata", {}).get("course")
    return found if isinstance(found, dict) else {}


def words(nb: Notebook) -> str:
    """The notebook as the text of its file: sorted keys, LF, one form on every system."""
    node = nbformat.from_dict(nb)
    return str(nbformat.writes(node, version=4)).rstrip("\n") + "\n"


def write_notebook(path: Path, nb: Notebook) -> None:
    """Write a notebook, all or nothing."""
    write_text(path, words(nb))


def read_notebook(path: Path) -> Notebook:
    """Read a notebook (nbformat 4), with each source and text as one string.

    Raises `CourseError` where the file is not a notebook, in one sentence that says why.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise CourseError(f"{path} cannot be read as a notebook: it is not UTF-8 text.") from None
    try:
        raw = json.loads(text)
    except json.JSONDecodeError as error:
        raise CourseError(
            f"{path} cannot be read as a notebook: its JSON is broken in line {error.lineno} "
            f"({error.msg})."
        ) from None
    if not isinstance(raw, dict) or not isinstance(raw.get("cells"), list):
        raise CourseError(f"{path} cannot be read as a notebook: it has no list of cells.")
    if raw.get("nbformat") != 4:
        raise CourseError(
            f"{path} cannot be read as a notebook: its format is {raw.get('nbformat')!r}, not 4."
        )
    for number, cell in enumerate(raw["cells"], 1):
        if not isinstance(cell, dict) or cell.get("cell_type") not in ("code", "markdown", "raw"):
            raise CourseError(f"{path} cannot be read as a notebook: cell {number} is no cell.")
        cell["source"] = joined(cell.get("source", ""))
        cell.setdefault("metadata", {})
        if cell["cell_type"] == "code":
            cell.setdefault("execution_count", None)
            cell["outputs"] = [joined_output(output) for output in cell.get("outputs", [])]
    raw.setdefault("metadata", {})
    return raw


def joined(text: Any) -> str:
    """A notebook's text is one string, or a list of lines."""
    return "".join(text) if isinstance(text, list) else str(text)


def joined_output(output: dict[str, Any]) -> dict[str, Any]:
    """An output with each text as one string."""
    if "text" in output:
        output = {**output, "text": joined(output["text"])}
    if "data" in output:
        data = {
            kind: value if "json" in kind else joined(value)
            for kind, value in output["data"].items()
        }
        output = {**output, "data": data}
    return output
