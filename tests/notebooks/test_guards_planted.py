"""Each guard says nothing of a good repository, and names each planted fault."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imsave

from llama_course.workbook.authoring import guards
from llama_course.workbook.cells import course_metadata, outputs_hash, read_notebook, write_notebook

sys.path.insert(0, str(Path(__file__).parents[1] / "workbook"))
from sample_repo import Builder, make, tasks

LESSON = "notebooks/01_halves.ipynb"
EXERCISE = "exercises/01_halves.ipynb"
SOLUTION = "solutions/01_halves.ipynb"
GUARDS: dict[str, Callable[[Path], list[str]]] = {
    "not_rebuilt": lambda root: guards.not_rebuilt(root, tasks),
    "solutions_given_away": lambda root: guards.solutions_given_away(root, tasks),
    "not_executed": guards.not_executed,
    "bad_pictures": guards.bad_pictures,
    "checks_skipped": lambda root: guards.checks_skipped(root, tasks),
    "too_little_compared": guards.too_little_compared,
}


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builder:
    """The sample, built (the runs are pretended)."""
    made = Builder(monkeypatch, make(tmp_path, package=False))
    made()
    return made


def test_a_good_repository_passes(builder: Builder) -> None:
    said = {name: guard(builder.root) for name, guard in GUARDS.items()}
    assert said == {name: [] for name in GUARDS}


def change(
    builder: Builder, path: str, edit: Callable[[dict[str, dict[str, Any]]], object]
) -> None:
    """Edit cells of a built notebook, by id, as a hand or a tool might."""
    nb = read_notebook(builder.root / path)
    edit({cell["id"]: cell for cell in nb["cells"]})
    write_notebook(builder.root / path, nb)


def forge(builder: Builder, path: str) -> None:
    """Make the stored hash of the outputs agree with a planted fault."""
    nb = read_notebook(builder.root / path)
    course_metadata(nb)["outputs"] = outputs_hash(nb)
    write_notebook(builder.root / path, nb)


def strip_all(cells: dict[str, dict[str, Any]]) -> None:
    for cell in cells.values():
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)


def image(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    imsave(buffer, pixels, format="png")
    return base64.b64encode(buffer.getvalue()).decode()


def picture(data: str) -> Callable[[dict[str, dict[str, Any]]], None]:
    def edit(cells: dict[str, dict[str, Any]]) -> None:
        cells["01-picture"]["outputs"][0]["data"]["image/png"] = data

    return edit


NOISE = np.random.default_rng(1).random((300, 300, 3))
OUTPUT_FAULTS: dict[str, tuple[str, str, Callable[[dict[str, dict[str, Any]]], object], str]] = {
    "one output stripped": (
        *(LESSON, "not_executed"),
        lambda cells: cells["01-loop"].update(outputs=[]),
        "stripped or edited",
    ),
    "all outputs stripped": (LESSON, "not_executed", strip_all, "not run once each"),
    "a number changed": (
        *(LESSON, "not_executed"),
        lambda cells: cells["01-loop"]["outputs"][0].update(text="3.6\n"),
        "stripped or edited",
    ),
    "one cell run again": (
        *(SOLUTION, "not_executed"),
        lambda cells: cells["01e-setup"].update(execution_count=9),
        "not run once each",
    ),
    "a picture replaced by another": (LESSON, "not_executed", picture(image(NOISE)), "edited"),
    "an error shown": (
        *(SOLUTION, "not_executed"),
        lambda cells: cells["01e-setup"]["outputs"].append(
            {"output_type": "error", "ename": "E", "evalue": "", "traceback": []}
        ),
        "shows an error",
    ),
    "a picture emptied": (LESSON, "bad_pictures", picture(""), "picture is empty"),
    "a picture cut off": (LESSON, "bad_pictures", picture(image(NOISE)[:200]), "picture is empty"),
    "a white picture": (
        *(LESSON, "bad_pictures"),
        picture(image(np.ones((90, 90, 3)))),
        "picture is empty",
    ),
    "a picture too large": (
        *(LESSON, "bad_pictures"),
        picture(image(NOISE)),
        "kB, at most 80",
    ),
    "a picture missing": (
        *(LESSON, "bad_pictures"),
        lambda cells: cells["01-map"].update(outputs=[]),
        "has no picture",
    ),
    "no alt text": (
        *(LESSON, "bad_pictures"),
        lambda cells: cells["01-map"]["outputs"][0].update(metadata={}),
        "no alt text",
    ),
    "a failed check": (
        *(SOLUTION, "checks_skipped"),
        lambda cells: cells["01e-check-halve"]["outputs"][0].update(
            text="✗ halve: not right yet\n2 of 3 passed\n"
        ),
        "shows no pass",
    ),
}


@pytest.mark.parametrize("fault", OUTPUT_FAULTS)
@pytest.mark.parametrize("forged", [False, True])
def test_a_fault_in_the_outputs(builder: Builder, fault: str, forged: bool) -> None:
    """Found by its guard; and with the hash forged as well, unless the hash alone could tell."""
    path, guard, edit, says = OUTPUT_FAULTS[fault]
    change(builder, path, edit)
    if forged:
        forge(builder, path)
        if says in ("stripped or edited", "edited"):
            return  # nbval runs the cells again: test_build_executed.py
    else:
        assert any(path in line for line in GUARDS["not_rebuilt"](builder.root))
    assert any(says in line and path in line for line in GUARDS[guard](builder.root))


SOURCE_FAULTS: dict[str, tuple[str, str, Callable[[dict[str, dict[str, Any]]], object]]] = {
    "a solution left in an exercise": (
        *(EXERCISE, "solutions_given_away"),
        lambda cells: cells["01e-halve"].update(source=tasks("halve").solution),
    ),
    "a solution in a text": (
        *(EXERCISE, "solutions_given_away"),
        lambda cells: cells["01e-text-2"].update(source="Write `return number / 2`."),
    ),
    "an exercise run": (
        *(EXERCISE, "solutions_given_away"),
        lambda cells: cells["01e-setup"].update(execution_count=1),
    ),
    "a check taken out": (
        *(EXERCISE, "checks_skipped"),
        lambda cells: cells["01e-check-halve"].update(source='# check("halve")'),
    ),
    "a check skipped": (
        *(SOLUTION, "checks_skipped"),
        lambda cells: cells["01e-check-halve"]["metadata"].update(tags=["nbval-skip"]),
    ),
    "a check ignored": (
        *(SOLUTION, "checks_skipped"),
        lambda cells: cells["01e-check-halve"]["metadata"].update(
            tags=["nbval-ignore-output"], course={"ignore": "it differs, I am sure"}
        ),
    ),
    "an output ignored without a reason": (
        *(LESSON, "checks_skipped"),
        lambda cells: cells["01-loop"]["metadata"].update(tags=["nbval-ignore-output"]),
    ),
    "a word changed by hand": (
        *(LESSON, "not_rebuilt"),
        lambda cells: cells["01-text-1"].update(source="Another text."),
    ),
}


@pytest.mark.parametrize("fault", SOURCE_FAULTS)
def test_a_fault_in_the_sources(builder: Builder, fault: str) -> None:
    path, guard, edit = SOURCE_FAULTS[fault]
    change(builder, path, edit)
    assert any(path in line for line in GUARDS[guard](builder.root))
    assert any(path in line for line in GUARDS["not_rebuilt"](builder.root))


@pytest.mark.parametrize(
    ("path", "old", "new", "stale"),
    [
        ("lessons/01_halves/lesson.md", "stay large", "stay huge", LESSON),
        ("lessons/01_halves/exercise.md", "You write", "Write", EXERCISE),
        ("lessons/01_halves/quiz.md", "- [ ] Once", "- [ ] One time", "quizzes/01.json"),
        ("lessons/00_start/lesson.md", "uses: []", 'uses: ["lessons/*/quiz.md"]', "00_start"),
        (LESSON, '"uses": "', '"uses": "0', LESSON),
        (LESSON, '"outputs": "', '"outputs": "0', LESSON),
        (EXERCISE, '"source": "', '"source": "0', EXERCISE),
        (LESSON, "\n", "\r\n", LESSON),
    ],
)
def test_a_lesson_edited_without_a_build(
    builder: Builder, path: str, old: str, new: str, stale: str
) -> None:
    builder.edit(path, old, new) if new != "\r\n" else _crlf(builder.root / path)
    assert any(stale in line for line in GUARDS["not_rebuilt"](builder.root))


def _crlf(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


@pytest.mark.parametrize(
    "gone", [LESSON, EXERCISE, SOLUTION, "llama_course/workbook/quizzes/01.json"]
)
def test_a_file_that_is_not_there(builder: Builder, gone: str) -> None:
    (builder.root / gone).unlink()
    assert any(gone in line for line in GUARDS["not_rebuilt"](builder.root))


def test_too_little_compared(builder: Builder) -> None:
    """Half of one notebook is enough for it and not for all together; less than half is not."""

    def ignore(*ids: str) -> Callable[[dict[str, dict[str, Any]]], None]:
        def edit(cells: dict[str, dict[str, Any]]) -> None:
            for one in ids:
                cells[one]["metadata"]["tags"] = ["nbval-ignore-output"]

        return edit

    code = [c["id"] for c in read_notebook(builder.root / LESSON)["cells"] if c.get("outputs")]
    code.remove("01-timed")  # ignored already
    change(builder, LESSON, ignore(*code[:4]))
    assert guards.compared(builder.root / LESSON) == (5, 10)
    said = guards.too_little_compared(builder.root)
    assert len(said) == 1 and "less than 80 %" in said[0]
    change(builder, LESSON, ignore(code[4]))
    assert any("less than half" in line for line in guards.too_little_compared(builder.root))
