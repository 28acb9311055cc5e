"""The test command: which stages there are, what it says, and its exit code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llama_course.errors import CourseError
from llama_course.workbook import home
from llama_course.workbook import run_tests as module
from llama_course.workbook.run_tests import (
    QUICK_NOTEBOOKS,
    Stage,
    chosen_stage,
    notebook_stage,
    run_tests,
    stages,
)

NOTEBOOK = """{"cells": [{"cell_type": "code", "id": "a", "execution_count": 1, "metadata": {},
"outputs": [{"name": "stdout", "output_type": "stream", "text": ["%s\\n"]}],
"source": ["import os\\nprint(os.environ['OMP_NUM_THREADS'])"]}],
"metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
"nbformat": 4, "nbformat_minor": 5}
"""


def repository(folder: Path, stored: str = "1") -> Path:
    """A repository with one notebook that prints 1; `stored` is what it is said to print."""
    (folder / "tests").mkdir(parents=True)
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "00_a.ipynb").write_text(NOTEBOOK % stored, encoding="utf-8")
    return folder


def code(text: str) -> tuple[str, ...]:
    """Arguments after `python -m` that run `text`."""
    return ("timeit", "-n", "1", "-r", "1", text)


def test_a_whole_run_has_every_stage(tmp_path: Path) -> None:
    repo = repository(tmp_path)
    names = [stage.name.split(" (")[0] for stage in stages(repo, quick=False)]
    assert names == ["ruff check", "ruff format", "mypy", "pytest", "notebooks"]
    (repo / "notebooks" / "00_a.ipynb").unlink()
    assert [stage.name for stage in stages(repo, quick=False)][-1] == "pytest"


def test_quick_leaves_out_the_slow_ones(tmp_path: Path) -> None:
    pytest_stage = next(s for s in stages(tmp_path, quick=True) if s.name.startswith("pytest"))
    assert "not slow" in pytest_stage.arguments
    pytest_stage = next(s for s in stages(tmp_path, quick=False) if s.name.startswith("pytest"))
    assert "not slow" not in pytest_stage.arguments


def test_the_quick_run_executes_a_few_notebooks() -> None:
    arguments = stages(home.repository(), quick=True)[-1].arguments
    found = [Path(name).stem for name in arguments if name.endswith(".ipynb")]
    assert found == sorted(QUICK_NOTEBOOKS)


def test_arguments_go_to_pytest_alone() -> None:
    (stage,) = chosen_stage(False, ["tests/model", "-k", "rope"])
    assert stage.arguments == ("pytest", "tests/model", "-k", "rope")


def test_outputs_are_compared_only_where_they_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "strict", lambda: True)
    stage = notebook_stage(["notebooks/00_a.ipynb"])
    assert "--nbval" in stage.arguments and "strict" in stage.name
    assert dict(stage.variables)["ATEN_CPU_CAPABILITY"] == "avx2"
    monkeypatch.setattr(module, "strict", lambda: False)
    stage = notebook_stage(["notebooks/00_a.ipynb"])
    assert "--nbval-lax" in stage.arguments and "lax" in stage.name
    assert "-n" not in stage.arguments and "-n" in notebook_stage(list("abcd")).arguments
    assert "ATEN_CPU_CAPABILITY" not in dict(stage.variables)


def test_one_failed_stage_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    chosen = [Stage("good", code("pass")), Stage("bad", code("1/0")), Stage("last", code("pass"))]
    monkeypatch.setattr(module, "repository", lambda: repository(tmp_path / "repo"))
    monkeypatch.setattr(module, "stages", lambda repo, quick: chosen)
    assert run_tests() == 1
    said = capfd.readouterr().out.splitlines()
    summary = said[said.index("== summary") :]
    assert [line.split()[0] for line in summary[1:4]] == ["good", "bad", "last"]
    assert "FAILED" in summary[2] and "ok" in summary[3]
    assert summary[-1] == "failed: bad"
    chosen.pop(1)
    monkeypatch.setattr(module, "repository", lambda: repository(tmp_path / "repo2"))
    assert run_tests() == 0
    assert capfd.readouterr().out.splitlines()[-1] == "all passed"


def test_the_learner_s_folder_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen.txt"
    script = f"import os; open({str(seen)!r}, 'w').write(os.environ['LLAMA_COURSE_HOME'])"
    monkeypatch.setattr(module, "repository", lambda: repository(tmp_path / "repo"))
    monkeypatch.setattr(module, "stages", lambda repo, quick: [Stage("look", code(script))])
    run_tests()
    used = Path(seen.read_text())
    assert used != Path(os.environ["LLAMA_COURSE_HOME"])
    assert not used.exists()


def test_missing_tools_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOOLS", ("pytest", "no_such_tool"))
    with pytest.raises(CourseError, match=r"need no_such_tool,.*python course.py test"):
        run_tests()


def test_without_tests_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "repository", lambda: tmp_path)
    with pytest.raises(CourseError, match="no tests beside"):
        run_tests()


@pytest.mark.slow
@pytest.mark.parametrize(("stored", "expected"), [("1", 0), ("2", 1)])
@pytest.mark.skipif(not module.strict(), reason="outputs are compared on Linux x86-64 only")
def test_a_stored_output_that_is_not_the_real_one_fails(
    tmp_path: Path, stored: str, expected: int
) -> None:
    stage = notebook_stage(["notebooks/00_a.ipynb"])
    result = module.run(stage, repository(tmp_path, stored), tmp_path / "home")
    assert result.code == expected


@pytest.mark.slow
@pytest.mark.skipif(not module.strict(), reason="outputs are compared on Linux x86-64 only")
def test_each_notebook_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """What one keeps is not there in the next, in whichever order and process they run."""
    repo = repository(tmp_path / "repo")
    looks = "import os, pathlib; home = pathlib.Path(os.environ['LLAMA_COURSE_HOME']); "
    looks += "print(len(list(home.iterdir()))); (home / 'kept').touch()"
    first = (repo / "notebooks" / "00_a.ipynb").read_text(encoding="utf-8")
    source = "import os\\nprint(os.environ['OMP_NUM_THREADS'])"
    assert source in first
    book = first.replace(source, looks).replace('"1\\n"', '"0\\n"')
    paths = [f"{folder}/0{i}_a.ipynb" for folder in ("notebooks", "solutions") for i in (0, 1)]
    (repo / "solutions").mkdir()
    for path in paths:
        (repo / path).write_text(book, encoding="utf-8")
    result = module.run(notebook_stage(paths), repo, tmp_path / "home")
    assert result.code == 0
    assert len(list((tmp_path / "home").glob("*/*/kept"))) == len(paths)
