"""The learner's folder: filled once, and never written over."""

from __future__ import annotations

from pathlib import Path

import pytest

from llama_course.workbook.home import home, prepare, repository


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    repo = tmp_path / "repo"
    for name in ("notebooks/00_start_here.ipynb", "notebooks/01_b.ipynb", "exercises/01_b.ipynb"):
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text(f"course's {name}", encoding="utf-8")
    (repo / "notebooks" / "notes.txt").touch()
    return repo


def test_the_first_use_copies_all_notebooks(repo: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    copied = prepare(mine, repo)
    names = ["00_start_here.ipynb", "01_b.ipynb", "exercises/01_b.ipynb"]
    assert [path.relative_to(mine).as_posix() for path in copied] == names
    assert (mine / "01_b.ipynb").read_text() == "course's notebooks/01_b.ipynb"
    assert (mine / "exercises/01_b.ipynb").read_text() == "course's exercises/01_b.ipynb"
    # Nothing but the notebooks, not even a file that was being written.
    assert sorted(p.relative_to(mine).as_posix() for p in mine.rglob("*.*")) == names


def test_the_learner_s_files_stay(repo: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    prepare(mine, repo)
    (mine / "00_start_here.ipynb").write_text("my own", encoding="utf-8")
    (mine / "01_b.ipynb").write_text("", encoding="utf-8")
    (repo / "notebooks" / "02_c.ipynb").write_text("new", encoding="utf-8")
    assert prepare(mine, repo) == [mine / "02_c.ipynb"]
    assert (mine / "00_start_here.ipynb").read_text() == "my own"
    assert (mine / "01_b.ipynb").read_text() == ""
    assert prepare(mine, repo) == []


def test_a_repository_without_notebooks_is_no_error(tmp_path: Path) -> None:
    assert prepare(tmp_path / "mine", tmp_path / "empty") == []
    assert (tmp_path / "mine").is_dir()


def test_where_home_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_COURSE_HOME", str(tmp_path / "given"))
    assert home() == tmp_path / "given"
    assert not home().exists()
    monkeypatch.delenv("LLAMA_COURSE_HOME")
    assert home() == repository() / "my_work"


def test_outside_a_repository_home_is_in_the_present_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LLAMA_COURSE_HOME")
    monkeypatch.setattr("llama_course.workbook.home.repository", lambda: tmp_path / "site-packages")
    monkeypatch.chdir(tmp_path)
    assert home() == tmp_path / "my_work"
