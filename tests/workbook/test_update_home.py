"""A learner's folder takes a release: no answer is lost, whatever was done to the notebook."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sample_repo
from sample_repo import TASK, Builder, make

from llama_course.errors import CourseError
from llama_course.workbook.cells import (
    code_cell,
    notebook,
    read_notebook,
    text_cell,
    words,
    write_notebook,
)
from llama_course.workbook.home import prepare
from llama_course.workbook.merge import NEWS, merge
from llama_course.workbook.update import report, reset, update

STARTER = (
    'def norm(x):\n    """Divide by the root of the mean square."""\n    raise NotImplementedError'
)
NEWER = STARTER.replace("mean square", "mean square plus eps")
MINE = STARTER.replace("raise NotImplementedError", "return x / (x * x).mean().sqrt()")
OTHER = 'def scale(x, weight):\n    """Multiply."""\n    raise NotImplementedError'


def answer(cell_id: str, source: str) -> dict[str, Any]:
    """An answer cell, as the builder makes it."""
    name = cell_id.split("-", 1)[1]
    nbgrader = {"solution": True, "grade": False, "grade_id": cell_id, "locked": False}
    return code_cell(
        cell_id, source, {"course": {"role": "answer", "exercise": name}, "nbgrader": nbgrader}
    )


def check(cell_id: str, source: str) -> dict[str, Any]:
    """A check cell, as the builder makes it."""
    nbgrader = {"solution": False, "grade": True, "grade_id": cell_id, "locked": True, "points": 2}
    return code_cell(cell_id, source, {"nbgrader": nbgrader})


def release(number: int) -> dict[str, Any]:
    """Two releases of an exercise: the second changes text, check and one starter, adds a cell."""
    first = number == 1
    cells = [
        text_cell("04e-intro", "Build the norm." if first else "Build RMSNorm, as LLaMA has it."),
        answer("04e-norm", STARTER if first else NEWER),
        check("04e-check-norm", 'check("norm")' if first else 'check("norm")  # the new card'),
        text_cell("04e-more", "Then scale it."),
        answer("04e-scale", OTHER),
        check("04e-check-scale", 'check("scale")'),
    ]
    if not first:
        cells.insert(3, text_cell("04e-why", "Why the root?"))
    return notebook(cells, {"kind": "exercise", "lesson": "04", "title": "RMSNorm"})


def publish(root: Path, number: int) -> None:
    """Put a release into a repository: an exercise, and a lesson with outputs."""
    write_notebook(root / "exercises" / "04_rmsnorm.ipynb", release(number))
    cells = [text_cell("04-text-1", f"Text {number}."), code_cell("04-sum", "print(1 + 1)")]
    cells[1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "2\n"}]
    cells[1]["execution_count"] = 1
    lesson = notebook(cells, {"kind": "lesson", "lesson": "04", "title": "RMSNorm"})
    write_notebook(root / "notebooks" / "04_rmsnorm.ipynb", lesson)


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """A learner's folder with copies of release 1, and a repository that has release 2."""
    home, root = tmp_path / "my_work", tmp_path / "repo"
    publish(root, 1)
    prepare(home, root)
    publish(root, 2)
    return home, root


def exercise(home: Path) -> Path:
    return home / "exercises" / "04_rmsnorm.ipynb"


def work(home: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """What a learner does to the exercise in JupyterLab."""
    nb = read_notebook(exercise(home))
    change(nb["cells"])
    exercise(home).write_text(json.dumps(nb), encoding="utf-8")  # another form than ours


def write_answer(cells: list[dict[str, Any]]) -> None:
    cells[1]["source"] = MINE
    cells[1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "mine\n"}]
    cells[1]["execution_count"] = 7


def sources(home: Path) -> dict[str, str]:
    return {cell["id"]: cell["source"] for cell in read_notebook(exercise(home))["cells"]}


def test_half_through_a_lesson(places: tuple[Path, Path]) -> None:
    """The release changes text, check and starter: the answer stays, the rest is new."""
    home, root = places
    work(home, write_answer)
    before = exercise(home).read_bytes()
    results = {result.path.name + result.path.parent.name: result for result in update(home, root)}
    result = results["04_rmsnorm.ipynbexercises"]
    found = sources(home)
    assert found["04e-norm"] == MINE
    assert found["04e-intro"].startswith("Build RMSNorm")
    assert found["04e-check-norm"].endswith("# the new card")
    assert found["04e-scale"] == OTHER and found["04e-why"] == "Why the root?"
    assert "plus eps" in found["04e-norm" + NEWS]  # the new starter, above the answer
    order = list(found)
    assert order.index("04e-norm" + NEWS) + 1 == order.index("04e-norm")
    assert read_notebook(exercise(home))["cells"][2]["outputs"][0]["text"] == "mine\n"
    kept = exercise(home).with_name("04_rmsnorm.before-update-1.ipynb")
    assert kept.read_bytes() == before and result.kept_old == kept
    assert "your 1 answer stayed" in result.words and "the task of norm has changed" in result.words


def test_a_second_update_changes_nothing(places: tuple[Path, Path]) -> None:
    home, root = places
    work(home, write_answer)
    update(home, root)
    files = {path: path.read_bytes() for path in home.rglob("*.ipynb")}
    assert {result.state for result in update(home, root)} == {"same"}
    assert {path: path.read_bytes() for path in home.rglob("*.ipynb")} == files


def test_an_untouched_copy_becomes_the_release_itself(places: tuple[Path, Path]) -> None:
    home, root = places
    update(home, root)
    assert exercise(home).read_bytes() == (root / "exercises" / "04_rmsnorm.ipynb").read_bytes()
    assert (home / "04_rmsnorm.ipynb").read_bytes() == (
        root / "notebooks/04_rmsnorm.ipynb"
    ).read_bytes()
    assert list(home.rglob("*before*")) == []


def test_an_untouched_starter_becomes_the_new_one(places: tuple[Path, Path]) -> None:
    home, root = places
    work(home, lambda cells: cells[4].update(source=OTHER.replace("raise", "return weight * x  #")))
    update(home, root)
    found = sources(home)
    assert found["04e-norm"] == NEWER and "04e-norm" + NEWS not in found
    assert "return weight * x" in found["04e-scale"] and "04e-scale" + NEWS not in found


def by_id(cells: list[dict[str, Any]], cell_id: str) -> dict[str, Any]:
    return next(cell for cell in cells if cell["id"] == cell_id)


def own(source: str, cell_id: str) -> dict[str, Any]:
    return code_cell(cell_id, source)


def test_added_cells_stay_where_they_were(places: tuple[Path, Path]) -> None:
    home, root = places

    def change(cells: list[dict[str, Any]]) -> None:
        cells.insert(0, own("first = 1", "a1"))
        cells.insert(4, text_cell("b2", "my notes"))  # after the check of norm
        cells.append(own("last = 1", "c3"))

    work(home, change)
    update(home, root)
    order = list(sources(home))
    assert order[0] == "a1" and order[-1] == "c3"
    assert order[order.index("b2") - 1] == "04e-check-norm"


def test_moved_and_deleted_cells(places: tuple[Path, Path]) -> None:
    """The order is the release's, and what was deleted is back."""
    home, root = places

    def change(cells: list[dict[str, Any]]) -> None:
        write_answer(cells)
        cells.reverse()
        del cells[2]  # "Then scale it."

    work(home, change)
    update(home, root)
    order = [one for one in sources(home) if not one.endswith(NEWS)]
    assert order == [cell["id"] for cell in release(2)["cells"]]
    assert sources(home)["04e-norm"] == MINE


@pytest.mark.parametrize("first", [STARTER, "def norm(x): return 0"])
def test_two_cells_of_one_id(places: tuple[Path, Path], first: str) -> None:
    """Neither text of an answer is lost, and ids are unique again."""
    home, root = places

    def change(cells: list[dict[str, Any]]) -> None:
        cells[1]["source"] = first
        cells.insert(2, {**copy.deepcopy(cells[1]), "source": MINE})

    work(home, change)
    update(home, root)
    nb = read_notebook(exercise(home))
    ids = [cell["id"] for cell in nb["cells"]]
    assert len(ids) == len(set(ids))
    everything = [cell["source"] for cell in nb["cells"]]
    assert MINE in everything and (first in everything or first == STARTER)
    grade_ids = [
        c["metadata"]["nbgrader"]["grade_id"] for c in nb["cells"] if "nbgrader" in c["metadata"]
    ]
    assert len(grade_ids) == len(set(grade_ids))


def test_a_copy_of_an_answer_cell_is_the_learners_own(places: tuple[Path, Path]) -> None:
    """JupyterLab's copy has a new id and the old metadata."""
    home, root = places

    def change(cells: list[dict[str, Any]]) -> None:
        write_answer(cells)
        cells.append({**copy.deepcopy(cells[1]), "id": "f00d", "source": "def norm(x): return 1"})

    work(home, change)
    update(home, root)
    found = sources(home)
    assert found["04e-norm"] == MINE and found["f00d"] == "def norm(x): return 1"


def test_an_answer_whose_task_is_gone_stays(places: tuple[Path, Path]) -> None:
    home, root = places
    work(home, lambda cells: cells[4].update(source="def scale(x, weight): return x * weight"))
    gone = release(2)
    gone = notebook(gone["cells"][:4], {"kind": "exercise", "lesson": "04", "title": "RMSNorm"})
    write_notebook(root / "exercises" / "04_rmsnorm.ipynb", gone)
    results = update(home, root)
    assert "def scale(x, weight): return x * weight" in sources(home).values()
    assert any("scale is no longer part of it" in result.words for result in results)
    update(home, root)
    assert "def scale(x, weight): return x * weight" in sources(home).values()


def test_a_changed_text_cell_is_replaced_and_said(places: tuple[Path, Path]) -> None:
    home, root = places
    work(home, lambda cells: cells[0].update(source="scribbled over"))
    results = update(home, root)
    assert any("1 cell that you had changed outside" in result.words for result in results)
    kept = exercise(home).with_name("04_rmsnorm.before-update-1.ipynb")
    assert "scribbled over" in kept.read_text(encoding="utf-8")


def test_a_changed_text_cell_that_is_gone_is_said_too(places: tuple[Path, Path]) -> None:
    home, root = places
    work(home, lambda cells: cells[3].update(source="my remark"))
    cells = [cell for cell in release(2)["cells"] if cell["id"] != "04e-more"]
    gone = notebook(cells, {"kind": "exercise", "lesson": "04", "title": "RMSNorm"})
    write_notebook(root / "exercises" / "04_rmsnorm.ipynb", gone)
    results = update(home, root)
    assert any("1 cell that you had changed" in result.words for result in results)


@pytest.mark.parametrize("ids", ["lost", "renewed"])
def test_a_tool_that_loses_ids(places: tuple[Path, Path], ids: str) -> None:
    home, root = places

    def change(cells: list[dict[str, Any]]) -> None:
        write_answer(cells)
        cells.append(own("mine = 1", "x"))
        for number, cell in enumerate(cells):
            cell.pop("id")
            if ids == "renewed":
                cell["id"] = f"new{number}"

    work(home, change)
    update(home, root)
    found = sources(home)
    assert found["04e-norm"] == MINE and "mine = 1" in found.values()
    assert list(found.values()).count("Then scale it.") == 1


def test_a_copy_without_our_metadata(places: tuple[Path, Path]) -> None:
    """The starter cannot be told from an answer then, so the cell stays; no false news."""
    home, root = places
    nb = read_notebook(exercise(home))
    del nb["metadata"]["course"]
    nb["cells"][1]["source"] = MINE
    exercise(home).write_text(json.dumps(nb), encoding="utf-8")
    update(home, root)
    found = sources(home)
    assert found["04e-norm"] == MINE and "04e-norm" + NEWS not in found
    assert found["04e-intro"].startswith("Build RMSNorm")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"cells": [', "its JSON is broken in line 1"),
        ("<<<<<<< mine\n{}\n=======", "its JSON is broken in line 1"),
        ("[]", "no list of cells"),
        ('{"cells": [], "nbformat": 3}', "its format is 3"),
        ('{"cells": [3], "nbformat": 4}', "cell 1 is no cell"),
    ],
)
def test_a_file_that_is_no_notebook_is_left(
    places: tuple[Path, Path], text: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    home, root = places
    exercise(home).write_text(text, encoding="utf-8")
    results = update(home, root)
    assert exercise(home).read_text(encoding="utf-8") == text
    left = [result for result in results if result.state == "left"]
    assert len(left) == 1 and says in left[0].words and "llama-course reset 04" in left[0].words
    assert report(results, home) == 1
    assert "04_rmsnorm.ipynb: updated" in capsys.readouterr().out  # the others went on


def test_a_release_with_one_more_lesson(places: tuple[Path, Path]) -> None:
    home, root = places
    nb = notebook([text_cell("05-x", "RoPE")], {"kind": "lesson", "lesson": "05", "title": "RoPE"})
    write_notebook(root / "notebooks" / "05_rope.ipynb", nb)
    states = {result.path.name: result.state for result in update(home, root)}
    assert states["05_rope.ipynb"] == "new" and (home / "05_rope.ipynb").is_file()


def test_backups_never_replace_each_other(places: tuple[Path, Path]) -> None:
    home, root = places
    for number in (2, 1, 2):
        publish(root, number)
        work(home, lambda cells: by_id(cells, "04e-norm").update(source=MINE))
        update(home, root)
    kept = sorted(path.name for path in home.rglob("*before-update*"))
    assert kept == [f"04_rmsnorm.before-update-{n}.ipynb" for n in (1, 2, 3)]
    notes = [one for one in sources(home) if one.endswith(NEWS)]
    assert len(notes) == 1  # the newest only


def test_an_interrupted_write_leaves_the_old_file(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, root = places
    work(home, write_answer)
    before = exercise(home).read_bytes()
    monkeypatch.setattr("os.replace", _fail)
    with pytest.raises(OSError, match="no room"):
        update(home, root)
    assert exercise(home).read_bytes() == before
    assert list(home.rglob("*.part")) == []


def _fail(*_: object) -> None:
    raise OSError("no room")


def test_reset_gives_a_fresh_copy_and_keeps_the_old(places: tuple[Path, Path]) -> None:
    home, root = places
    work(home, write_answer)
    before = exercise(home).read_bytes()
    results = reset("4", home, root)
    assert exercise(home).read_bytes() == (root / "exercises/04_rmsnorm.ipynb").read_bytes()
    assert exercise(home).with_name("04_rmsnorm.before-reset-1.ipynb").read_bytes() == before
    assert len(results) == 2
    assert {result.state for result in reset("04_rmsnorm", home, root)} == {"same"}


def test_reset_mends_a_broken_file_and_refuses_an_unknown_lesson(places: tuple[Path, Path]) -> None:
    home, root = places
    exercise(home).write_text("broken", encoding="utf-8")
    reset("04", home, root)
    assert "04e-norm" in sources(home)
    with pytest.raises(CourseError, match="no lesson '99'"):
        reset("99", home, root)


def test_a_release_made_by_the_builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with real notebooks: lesson, check and starter change while an answer is there."""
    builder = Builder(monkeypatch, make(tmp_path, package=False))
    builder()
    home = tmp_path / "my_work"
    prepare(home, builder.root)
    mine = home / "exercises" / "01_halves.ipynb"
    nb = read_notebook(mine)
    by_id(nb["cells"], "01e-halve")["source"] = "def halve(number):\n    return 0.5 * number"
    mine.write_text(json.dumps(nb), encoding="utf-8")
    new = TASK.starter.replace("fractions kept", "as a float")
    monkeypatch.setattr(sample_repo, "TASK", replace(TASK, starter=new))
    builder.edit("lessons/01_halves/lesson.md", "stay large", "stay huge")
    builder.edit("lessons/01_halves/exercise.md", ":points: 3", ":points: 4")
    builder()
    states = {
        result.path.relative_to(home).as_posix(): result.state
        for result in update(home, builder.root)
    }
    assert states == {
        "00_start.ipynb": "same",
        "01_halves.ipynb": "updated",
        "notation.ipynb": "same",
        "exercises/00_start.ipynb": "updated",  # its starter is the same exercise's
        "exercises/01_halves.ipynb": "updated",
    }
    cells = read_notebook(mine)["cells"]
    assert by_id(cells, "01e-halve")["source"] == "def halve(number):\n    return 0.5 * number"
    assert "as a float" in by_id(cells, "01e-halve" + NEWS)["source"]
    assert by_id(cells, "01e-check-halve")["metadata"]["nbgrader"]["points"] == 4
    assert "stay huge" in (home / "01_halves.ipynb").read_text(encoding="utf-8")
    fresh = read_notebook(home / "exercises" / "00_start.ipynb")["cells"]
    assert by_id(fresh, "00e-halve")["source"] == new  # untouched, so it is the new one


def test_merging_keeps_every_text_that_was_not_ours() -> None:
    """Whatever the order and the copies, each source that the course did not write is somewhere."""
    import random

    rng = random.Random(5)
    for _ in range(200):
        mine, new = release(1), release(2)
        cells = mine["cells"]
        written = []
        for number in range(rng.randrange(1, 6)):
            text = f"mine = {number}"
            written.append(text)
            if rng.random() < 0.5:
                cell = rng.choice([c for c in cells if c["cell_type"] == "code"])
                if (
                    "solution" in cell["metadata"].get("nbgrader", {})
                    and cell["metadata"]["nbgrader"]["solution"]
                ):
                    if cell["source"] in written:
                        written.remove(cell["source"])
                    cell["source"] = text
                    continue
            twin = copy.deepcopy(rng.choice(cells))
            twin.update(source=text)
            if rng.random() < 0.7:
                twin["id"] = f"x{number}"
            elif not twin["metadata"].get("nbgrader", {}).get("solution"):
                twin["id"] = f"y{number}"
            cells.insert(rng.randrange(len(cells) + 1), twin)
        rng.shuffle(cells)
        merged = merge(mine, new).notebook
        everything = [cell["source"] for cell in merged["cells"]]
        assert all(text in everything for text in written), (written, everything)
        assert {c["id"] for c in new["cells"]} <= {c["id"] for c in merged["cells"]}
        words(merged)
