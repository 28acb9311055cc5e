"""The sample lesson really run: in a kernel of its own, twice the same, and compared by nbval."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sample_repo import make, tasks

from llama_course.errors import CourseError
from llama_course.workbook import build as building
from llama_course.workbook.authoring import guards
from llama_course.workbook.authoring.execute import PINNED, execute
from llama_course.workbook.cells import code_cell, notebook, read_notebook, write_notebook
from llama_course.workbook.slides import slides

pytestmark = pytest.mark.slow
LESSON = "notebooks/01_halves.ipynb"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, built by running it."""
    made = make(tmp_path_factory.mktemp("built"))
    building.build(["01"], made, tasks=tasks, say=lambda _: None)
    return made


def outputs(root: Path, cell_id: str) -> list[dict[str, Any]]:
    cells = {cell["id"]: cell for cell in read_notebook(root / LESSON)["cells"]}
    return list(cells[cell_id]["outputs"])


def test_outputs_are_there(root: Path) -> None:
    assert outputs(root, "01-kernel")[0]["text"] == "Ready: this kernel is the course's.\n"
    assert outputs(root, "01-vectorised")[0]["text"] == "loop, vectorised: exact\n"
    alt = outputs(root, "01-picture")[0]["metadata"]["image/png"]["alt"]
    assert alt == "Two points, 8.0 and 4.0: one halving."
    assert "What is `7 / 2`?" in outputs(root, "01-quiz")[0]["data"]["text/plain"]


def test_guards_pass(root: Path) -> None:
    assert guards.not_executed(root) == [] and guards.bad_pictures(root) == []
    assert guards.checks_skipped(root, tasks) == [] and guards.too_little_compared(root) == []


def test_running_again_gives_the_same_file(root: Path) -> None:
    """All but what the lesson says is a time."""
    before = (root / "solutions/01_halves.ipynb").read_bytes()
    first = outputs(root, "01-map"), outputs(root, "01-quiz")
    home = Path(os.environ["LLAMA_COURSE_HOME"])
    at_home = sorted(home.rglob("*")) if home.exists() else []
    building.build(["01"], root, tasks=tasks, say=lambda _: None, force=True)
    assert (root / "solutions/01_halves.ipynb").read_bytes() == before
    assert (outputs(root, "01-map"), outputs(root, "01-quiz")) == first
    assert (sorted(home.rglob("*")) if home.exists() else []) == at_home


def test_nbval_compares(root: Path) -> None:
    """Passes as built; fails when a number was changed, with the outputs' hash forged."""
    assert nbval(root).returncode == 0, nbval(root).stdout
    good = (root / LESSON).read_bytes()
    nb = read_notebook(root / LESSON)
    next(c for c in nb["cells"] if c["id"] == "01-loop")["outputs"][0]["text"] = "[4.0, 3.6]\n"
    write_notebook(root / LESSON, nb)
    done = nbval(root)
    (root / LESSON).write_bytes(good)
    assert done.returncode == 1 and "1 failed" in done.stdout, done.stdout


def nbval(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "--nbval", "--nbval-current-env"]
    command += ["-p", "no:cacheprovider", LESSON]
    variables = {**os.environ, **PINNED, "PYTHONPATH": str(root)}
    return subprocess.run(command, cwd=root, env=variables, capture_output=True, text=True)


def test_slides(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("nbconvert")
    deck = slides("01", tmp_path / "deck.html", root).read_text(encoding="utf-8")
    assert "reveal" in deck and "Loop, vectorised, module" in deck
    assert "Write it on the board." in deck  # the instructor's notes
    assert "find_spec" not in deck  # the kernel check is left out


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("raise ValueError('too small')", "cell one raised ValueError: too small"),
        ("import warnings\nwarnings.warn('old')", "cell one writes to stderr"),
        ("print(object())", "cell one prints a memory address"),
        ("import os\nprint(os.environ['LLAMA_COURSE_HOME'])", "a path of this machine"),
        ("import os\nos._exit(1)", "the kernel died in cell one"),
    ],
)
def test_a_cell_that_must_not_be_kept(tmp_path: Path, source: str, says: str) -> None:
    nb = notebook([code_cell("01-one", source)], {"kind": "lesson"})
    with pytest.raises(CourseError, match=says):
        execute(nb, tmp_path, "notebooks/01_x.ipynb")
