"""The text that every Python has, from a small made-up library and from the real one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from llama_course.data import load_split, python_docs
from llama_course.errors import CourseError


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    write(
        tmp_path / "pydoc_data" / "topics.py",
        "topics = {'b': 'Topic b.   \\nMore.', 'a': 'Topic a.'}",
    )
    write(tmp_path / "ast.py", '"""Module ast."""\nraise SystemExit("must not be imported")\n')
    write(
        tmp_path / "json" / "__init__.py", 'def f():\n    """Does f.\n\n    Indented.   \n    """\n'
    )
    write(
        tmp_path / "json" / "tool.py",
        'class C:\n    """Module ast."""\n    async def g():\n        "Does g."',
    )
    write(tmp_path / "json" / "tests" / "hidden.py", '"""Hidden: a test."""')
    write(tmp_path / "json" / "test_more.py", '"""Hidden: a test too."""')
    write(tmp_path / "idlelib" / "run.py", '"""Hidden: an editor."""')
    write(tmp_path / "site-packages" / "other.py", '"""Hidden: installed."""')
    write(tmp_path / "nobody_knows.py", '"""Hidden: not of the library."""')
    write(tmp_path / "bisect.py", "this is no Python")
    write(tmp_path / "calendar.py", '"""Half a pair: \\ud800."""')
    return tmp_path


def test_order_cleaning_and_what_is_left_out(library: Path) -> None:
    assert python_docs(library) == (
        "Topic a.\n\nTopic b.\nMore.\n\nModule ast.\n\nDoes f.\n\nIndented.\n\nDoes g.\n"
    )


def test_a_python_without_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert python_docs(tmp_path) == ""
    monkeypatch.setattr("llama_course.data.corpora.python_docs", lambda: "")
    with pytest.raises(CourseError, match="choose another corpus"):
        load_split("python-docs")


@pytest.mark.slow
def test_the_real_one() -> None:
    train, held = load_split("python-docs")
    text = train + held
    # Every supported release has about 2 MB; bounds, since it differs between them.
    assert 1_000_000 < len(text) < 5_000_000
    text.encode("utf-8")  # all of it can be written
    assert 0.05 < len(held) / len(text) < 0.12
    assert "assert" in text and sys.__doc__ not in held
    assert not any(line != line.rstrip() for line in text.splitlines()[:20000])
    assert not set(train.split("\n\n")) & set(held.split("\n\n"))
