"""Named corpora: from the user's folder, from the cache, and what is said when neither is right."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from pathlib import Path

import pytest

from llama_course.data import CORPORA, cache_folder, corpora, corpus_path, load_corpus, load_split
from llama_course.errors import CourseError

REAL = os.environ.get("LLAMA_COURSE_DATA", "")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A folder of the user's and a cache, both empty; nothing is asked of the network."""
    own, cache = tmp_path / "own", tmp_path / "cache"
    own.mkdir()
    monkeypatch.setenv("LLAMA_COURSE_DATA", str(own))
    monkeypatch.setenv("LLAMA_COURSE_CACHE", str(cache))

    def no_network(*_: object) -> Path:
        raise AssertionError("a download was tried")

    monkeypatch.setattr(corpora, "download", no_network)
    return own, cache


def known(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Make `content` the right content of tiny-shakespeare."""
    corpus = dataclasses.replace(
        CORPORA["tiny-shakespeare"], size=len(content), sha256=hashlib.sha256(content).hexdigest()
    )
    monkeypatch.setitem(CORPORA, corpus.name, corpus)


@pytest.mark.parametrize("corpus", [c for c in CORPORA.values() if c.address])
def test_every_entry_is_pinned(corpus: corpora.Corpus) -> None:
    assert re.fullmatch(r"https://raw\.githubusercontent\.com/.+/[0-9a-f]{40}/.+", corpus.address)
    assert re.fullmatch(r"[0-9a-f]{64}", corpus.sha256) and corpus.size > 0
    assert corpus.licence and corpus.description and corpus.file_name


def test_the_users_folder_comes_first(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = "Line ends\r\nand spelling – as they are\n".encode()
    known(monkeypatch, content)
    (folders[0] / "tinyshakespeare.txt").write_bytes(content)
    assert corpus_path("tiny-shakespeare") == folders[0] / "tinyshakespeare.txt"
    assert load_corpus("tiny-shakespeare").encode() == content
    train, held = load_split("tiny-shakespeare", 0.5)
    assert train + held == content.decode() and len(train) == len(content.decode()) // 2


def test_a_wrong_file_of_the_users_is_named_and_left_alone(folders: tuple[Path, Path]) -> None:
    mine = folders[0] / "tinyshakespeare.txt"
    mine.write_bytes(b"something else")
    with pytest.raises(CourseError) as error:
        corpus_path("tiny-shakespeare")
    said = str(error.value)
    assert str(mine) in said and "expected 1115394 bytes" in said and "found 14 bytes" in said
    assert CORPORA["tiny-shakespeare"].sha256 in said
    assert hashlib.sha256(b"something else").hexdigest() in said
    assert mine.read_bytes() == b"something else"


def test_unknown_names_get_the_nearest(folders: tuple[Path, Path]) -> None:
    with pytest.raises(CourseError, match="did you mean tiny-shakespeare"):
        load_corpus("tiny_shakespear")
    with pytest.raises(CourseError, match="has no file; use load_corpus"):
        corpus_path("python-docs")


def test_the_cache_is_where_the_variable_says(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache_folder() == folders[1]
    monkeypatch.delenv("LLAMA_COURSE_CACHE")
    assert "llama-course" in str(cache_folder())


@pytest.mark.skipif(not REAL, reason="needs LLAMA_COURSE_DATA with the real files")
def test_the_real_files() -> None:
    train, held = load_split("tiny-shakespeare")
    assert train.startswith("First Citizen:\n") and (len(train), len(held)) == (1_003_854, 111_540)
    records = json.loads(load_corpus("instruction-data"))
    assert len(records) == 1100 and set(records[0]) == {"instruction", "input", "output"}
