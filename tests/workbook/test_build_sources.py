"""What is made of a lesson, what makes it anew, and what the builder refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sample_repo import Builder, make, tasks

from llama_course.errors import CourseError
from llama_course.workbook import build as building
from llama_course.workbook.authoring import uses
from llama_course.workbook.authoring.execute import _refuse, clean
from llama_course.workbook.authoring.lesson import chosen, lessons
from llama_course.workbook.authoring.sources import exercise_notebook, lesson_notebook
from llama_course.workbook.authoring.starters import Task
from llama_course.workbook.cells import read_notebook
from llama_course.workbook.home import repository

LESSON = "lessons/01_halves/lesson.md"
MADE = [
    "llama_course/workbook/quizzes/01.json",
    "exercises/01_halves.ipynb",
    "solutions/01_halves.ipynb",
    "notebooks/01_halves.ipynb",
]


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builder:
    """The sample, built."""
    made = Builder(monkeypatch, make(tmp_path, package=False))
    made()
    return made


@pytest.fixture
def with_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builder:
    """The sample, built beside a copy of the package."""
    made = Builder(monkeypatch, make(tmp_path))
    made()
    return made


def snapshot(root: Path) -> dict[str, tuple[bytes, int]]:
    """Every generated file's bytes and time."""
    found = [*root.glob("*/*.ipynb"), *root.glob("llama_course/workbook/quizzes/*.json")]
    return {p.as_posix(): (p.read_bytes(), p.stat().st_mtime_ns) for p in found}


def cells(builder: Builder, path: str) -> dict[str, dict[str, Any]]:
    return {cell["id"]: cell for cell in read_notebook(builder.root / path)["cells"]}


def test_a_second_build_touches_nothing(builder: Builder) -> None:
    before = snapshot(builder.root)
    assert set(builder().values()) == {"unchanged"}
    assert builder.ran == []
    assert snapshot(builder.root) == before
    assert len(before) == 2 * len(MADE) + 1  # and the notation page


def test_ids_come_from_lesson_and_name(builder: Builder) -> None:
    found = list(cells(builder, "notebooks/01_halves.ipynb"))
    assert found[:5] == ["01-kernel", "01-card", "01-text-1", "01-where-1", "01-map"]
    assert list(cells(builder, "exercises/01_halves.ipynb")) == [
        *("01e-kernel", "01e-text-1", "01e-setup", "01e-text-2"),
        *("01e-halve-facts", "01e-halve", "01e-check-halve", "01e-try-it"),
    ]


def test_nothing_tells_which_tools_made_it(builder: Builder) -> None:
    for path in builder.root.glob("*/*.ipynb"):
        metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
        assert metadata["language_info"] == {"name": "python"}
        assert set(metadata) == {"course", "kernelspec", "language_info"}
        assert b"\r" not in path.read_bytes() and path.read_bytes().endswith(b"}\n")


def test_starter_and_solution_come_from_the_exercise(builder: Builder) -> None:
    starter = cells(builder, "exercises/01_halves.ipynb")["01e-halve"]
    solved = cells(builder, "solutions/01_halves.ipynb")["01e-halve"]
    assert starter["source"] == tasks("halve").starter
    assert solved["source"] == tasks("halve").solution
    assert starter["outputs"] == [] and starter["execution_count"] is None


def test_nbgrader_knows_answer_and_test(builder: Builder) -> None:
    found = cells(builder, "exercises/01_halves.ipynb")
    answer = found["01e-halve"]["metadata"]["nbgrader"]
    test = found["01e-check-halve"]["metadata"]["nbgrader"]
    assert (answer["solution"], answer["grade"], answer["locked"]) == (True, False, False)
    assert (test["solution"], test["grade"], test["locked"]) == (False, True, True)
    assert test["points"] == 3 and "points" not in answer
    assert found["01e-text-1"]["metadata"]["nbgrader"]["locked"] is True
    ids = [
        cell["metadata"]["nbgrader"]["grade_id"]
        for cell in found.values()
        if "nbgrader" in cell["metadata"]
    ]
    assert len(ids) == len(set(ids))


def test_ignored_output_is_marked_with_its_reason(builder: Builder) -> None:
    metadata = cells(builder, "notebooks/01_halves.ipynb")["01-timed"]["metadata"]
    assert metadata["tags"] == ["live", "nbval-ignore-output"]
    assert metadata["course"]["ignore"] == "the time differs from machine to machine"


def test_slides_follow_from_the_parts(builder: Builder) -> None:
    found = cells(builder, "notebooks/01_halves.ipynb")
    kinds = {i: c["metadata"].get("slideshow", {}).get("slide_type", "-") for i, c in found.items()}
    assert kinds["01-kernel"] == "skip" and kinds["01-where-1"] == "slide"
    assert kinds["01-code-2"] == "subslide" and kinds["01-loop"] == "fragment"
    assert kinds["01-code-3"] == "notes" and kinds["01-vectorised"] == "-"


def test_card_and_notation_page(builder: Builder) -> None:
    card = cells(builder, "notebooks/01_halves.ipynb")["01-card"]["source"]
    assert card.startswith("# 01 · Halves") and "10 minutes" in card
    page = cells(builder, "notebooks/notation.ipynb")["notation-table"]["source"]
    assert "| $h$ | the half | scalar | `h` | $h$ | 01 |" in page


@pytest.mark.parametrize(
    ("path", "old", "new", "made", "ran"),
    [
        (LESSON, "numbers stay large", "numbers stay huge", MADE[3:], MADE[3:]),
        ("lessons/01_halves/exercise.md", "You write one", "Write one", MADE[1:3], MADE[2:3]),
        (
            "lessons/01_halves/quiz.md",
            "No card does.",
            "None does.",
            [MADE[0], *MADE[3:]],
            MADE[3:],
        ),
        ("llama_course/plots/loss.py", "Loss while", "The loss while", MADE[3:], MADE[3:]),
        ("llama_course/plots/style.py", "6.4", "6.5", MADE[3:], MADE[3:]),  # used by one used
        ("llama_course/model/rope.py", '"""', '""" ', [], []),  # not used
        ("benchmarks/sample.json", "1", "2", MADE[3:], MADE[3:]),
    ],
)
def test_only_what_changed_is_made(
    with_package: Builder, path: str, old: str, new: str, made: list[str], ran: list[str]
) -> None:
    with_package.edit(path, old, new)
    states = with_package("01")
    assert [name for name, state in states.items() if state != "unchanged"] == made
    assert with_package.ran == ran


def test_check_writes_nothing_and_says_what_is_stale(builder: Builder) -> None:
    builder.edit(LESSON, "numbers stay large", "numbers stay huge")
    before = snapshot(builder.root)
    states = builder(check=True)
    assert states["notebooks/01_halves.ipynb"] == "stale"
    assert sum(state == "stale" for state in states.values()) == 1
    assert snapshot(builder.root) == before and builder.ran == []


def test_a_notebook_without_a_lesson_is_named(builder: Builder) -> None:
    orphan = builder.root / "notebooks" / "77_gone.ipynb"
    orphan.write_bytes((builder.root / "notebooks/01_halves.ipynb").read_bytes())
    assert builder()["notebooks/77_gone.ipynb"] == "stale"
    assert orphan.is_file()  # a person deletes it


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (":name: loop\n", "", "give this code cell a name"),
        (":name: loop", ":name: picture", "is taken"),
        (":name: loop", ":name: The_Loop", "small letters"),
        ("title: Halves", "title: [Halves", "cannot be read"),
    ],
)
def test_what_the_builder_refuses(builder: Builder, old: str, new: str, says: str) -> None:
    builder.edit(LESSON, old, new)
    before = snapshot(builder.root)
    with pytest.raises(CourseError, match=says):
        builder()
    assert snapshot(builder.root) == before


def test_one_failing_lesson_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = Builder(monkeypatch, make(tmp_path, package=False))
    builder.edit("lessons/00_start/lesson.md", ":name: first\n", "")
    with pytest.raises(CourseError, match="00_start"):
        builder()
    assert (builder.root / "notebooks/01_halves.ipynb").is_file()
    assert not (builder.root / "notebooks/00_start.ipynb").exists()


def test_lessons_are_chosen_by_number_or_name(tmp_path: Path) -> None:
    root = make(tmp_path, package=False)
    for name in ("A1_tensors", "10_count", "README.md"):
        (root / "lessons" / name).mkdir()
    assert [lesson.number for lesson in lessons(root)] == ["00", "A1", "01", "10"]
    assert [one.stem for one in chosen(root, ["1", "a1"])] == ["A1_tensors", "01_halves"]
    with pytest.raises(CourseError, match="no lesson '99'"):
        chosen(root, ["99"])


def test_a_solution_that_equals_the_starter_shows(tmp_path: Path) -> None:
    """The two notebooks differ in the answer cell alone."""
    lesson = lessons(make(tmp_path, package=False))[1]
    one = exercise_notebook(lesson, tasks, solved=False)
    two = exercise_notebook(lesson, tasks, solved=True)
    different = [a["id"] for a, b in zip(one["cells"], two["cells"], strict=True) if a != b]
    assert different == ["01e-halve"]


def test_used_files_of_the_package() -> None:
    root = repository()

    def names(source: str) -> set[str]:
        return {path.relative_to(root).as_posix() for path in uses.files(source, root)}

    found = names("from llama_course import ModelConfig")
    assert "llama_course/config.py" in found and "llama_course/model/rope.py" not in found
    found = names("def f():\n    from llama_course.model import Llama\n%time f()")
    assert {"llama_course/model/transformer.py", "llama_course/model/rope.py"} <= found
    assert "llama_course/model/__init__.py" not in found  # it only passes names on
    assert "llama_course/training/loss.py" not in found
    assert names("import math") == set()
    found = names("from llama_course import Llama")
    assert "llama_course/model/rope.py" in found and "llama_course/__init__.py" not in found


def test_a_new_name_beside_a_used_one_changes_nothing(tmp_path: Path) -> None:
    package = tmp_path / "llama_course"
    (package / "plots").mkdir(parents=True)
    (package / "__init__.py").write_text('_HOMES = {"draw": "plots"}\n', encoding="utf-8")
    init = "from llama_course.plots.one import draw\nfrom .two import paint\n\n__all__ = []\n"
    (package / "plots" / "__init__.py").write_text(init, encoding="utf-8")
    for name in ("one", "two"):
        (package / "plots" / f"{name}.py").write_text("x = 1\n", encoding="utf-8")

    def names(source: str) -> list[str]:
        return [path.stem for path in uses.files(source, tmp_path)]

    assert names("from llama_course.plots import draw") == ["one"]
    assert names("from llama_course import plots\nplots.paint()") == ["two"]
    assert names("from llama_course import plots as p\nf(p)") == ["one", "two"]
    assert names("from llama_course import draw") == ["one"]
    assert names("import llama_course.plots") == ["__init__", "one", "two"]
    (package / "plots" / "__init__.py").write_text(init + "x = 2\n", encoding="utf-8")
    assert names("from llama_course.plots import draw") == ["__init__", "one", "two"]


def test_data_that_a_module_names_counts_too(tmp_path: Path) -> None:
    """A file by its name, a folder by its name; what the module does not name does not count."""
    package = tmp_path / "llama_course" / "toys"
    (package / "weights").mkdir(parents=True)
    (tmp_path / "llama_course" / "__init__.py").write_text("", encoding="utf-8")
    text = 'FOLDER = HERE / "weights"\nWORDS = HERE / "words.txt"\n'
    (package / "__init__.py").write_text(text, encoding="utf-8")
    for name in ("words.txt", "other.txt", "weights/toy.bin"):
        (package / name).write_text("x", encoding="utf-8")
    found = uses.files("from llama_course.toys import load", tmp_path)
    assert [path.relative_to(package).as_posix() for path in found] == [
        *("__init__.py", "weights/toy.bin", "words.txt")
    ]


def test_streams_are_joined_and_run_dependent_parts_dropped() -> None:
    stream = {"output_type": "stream", "name": "stdout"}
    error = {
        "output_type": "error",
        "ename": "E",
        "evalue": "no",
        "traceback": ["\x1b[31m", "f.py"],
    }
    kept = clean([{**stream, "text": "a"}, {**stream, "text": "b\n"}, error])
    assert kept[0]["text"] == "ab\n" and kept[1]["traceback"] == ["E: no"]
    shown = {"output_type": "display_data", "data": {}, "metadata": {"image/png": {"width": 3}}}
    assert clean([shown])[0]["metadata"] == {}


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ({"name": "stderr", "text": "UserWarning: old"}, "stderr"),
        ({"text": "<object at 0x7f00deadbeef>"}, "address"),
        ({"data": {"text/plain": "/tmp/here/x"}}, "path of this machine"),
    ],
)
def test_outputs_that_would_differ_tomorrow_are_refused(output: dict[str, Any], says: str) -> None:
    with pytest.raises(CourseError, match=says):
        _refuse({"id": "01-x", "outputs": [output]}, "here", False, ("/tmp/here",))


def test_a_picture_of_the_lesson_needs_no_kernel_to_be_described(tmp_path: Path) -> None:
    """Sources are made without running anything, and twice the same."""
    lesson = lessons(make(tmp_path, package=False))[1]
    one, two = lesson_notebook(lesson), lesson_notebook(lessons(lesson.folder.parents[1])[1])
    assert one == two
    assert all(cell.get("outputs", []) == [] for cell in one["cells"])


def test_too_large_a_notebook_is_refused(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "LARGEST_NOTEBOOK", 1000)
    builder.edit(LESSON, "numbers stay large", "numbers stay huge")
    with pytest.raises(CourseError, match="1 MB"):
        builder()


def test_a_task_of_the_real_catalogue_is_complete() -> None:
    """Each exercise of the package gives a notebook what it needs."""
    checks = pytest.importorskip("llama_course.checks")
    from llama_course.workbook.authoring.starters import task

    for name in checks.names():
        found = task(name)
        assert isinstance(found, Task) and found.starter and found.solution and found.line
