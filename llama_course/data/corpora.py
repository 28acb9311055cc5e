"""Real texts by name: where they are, how long, under which licence, and that they are whole."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pooch

from llama_course.data.download import download
from llama_course.data.python_docs import python_docs
from llama_course.data.split import split
from llama_course.errors import CourseError, nearest

RAW = "https://raw.githubusercontent.com"


@dataclass(frozen=True)
class Corpus:
    """A named text. `kind` is "text", "json", or "python" (made from this Python's own files).

    `size` is in bytes; `address`, `size` and `sha256` are empty for a text that is made.
    `paragraphs` says whether it is divided at a paragraph, or at a character as is usual for it.
    """

    name: str
    description: str
    kind: Literal["text", "json", "python"]
    licence: str
    file_name: str = ""
    address: str = ""
    size: int = 0
    sha256: str = ""
    paragraphs: bool = True


_ALL = (
    Corpus(
        name="tiny-shakespeare",
        description="40,000 lines of Shakespeare's plays",
        kind="text",
        licence="text in the public domain",
        file_name="tinyshakespeare.txt",
        address=f"{RAW}/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e"
        "/data/tinyshakespeare/input.txt",
        size=1_115_394,
        sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        paragraphs=False,
    ),
    Corpus(
        name="instruction-data",
        description="1,100 records of instruction, input and output",
        kind="json",
        licence="Apache-2.0",
        file_name="instruction-data.json",
        address=f"{RAW}/rasbt/LLMs-from-scratch/28c65cdfbc3338e2e040016eea4b7fdf556e4d57"
        "/ch07/01_main-chapter-code/instruction-data.json",
        size=203_524,
        sha256="7e09a9af353722ca15c18bc580f093f9c39d3178335a75177319cb1e1d163944",
    ),
    Corpus(
        name="python-docs",
        description="Python's help topics and its library's docstrings (about 2 MB, offline; "
        "differs between Python versions)",
        kind="python",
        licence="PSF-2.0",
    ),
)
CORPORA: dict[str, Corpus] = {corpus.name: corpus for corpus in _ALL}


def load_corpus(name: str) -> str:
    """The text of a named corpus, fetched and verified if need be; errors as `corpus_path`'s."""
    if _corpus(name).kind == "python":
        text = python_docs()
        if not text:
            raise CourseError(
                "This Python was installed without the source of its library, which python-docs "
                "is made from; choose another corpus, for example tiny-shakespeare."
            )
        return text
    path = corpus_path(name)
    # Bytes and then text: line ends stay as they are on every system.
    return path.read_bytes().decode("utf-8")


def load_split(name: str, validation_fraction: float = 0.1) -> tuple[str, str]:
    """(training text, validation text) of a named corpus; the last part is held back.

    Tiny Shakespeare is cut at exactly that character, the others at a paragraph (see `split`).
    """
    corpus = _corpus(name)
    return split(load_corpus(name), validation_fraction, paragraphs=corpus.paragraphs)


def corpus_path(name: str) -> Path:
    """The verified file of a named corpus.

    It is taken from the folder in `LLAMA_COURSE_DATA` if it is there, else from the cache, else
    fetched into the cache. Size and SHA-256 are compared every time. A cached or fetched file
    that differs is set aside under a name ending in `.bad`; a file of the user's is left alone.

    Raises `CourseError` for an unknown name, a file that differs, no network or no disk space.
    """
    corpus = _corpus(name)
    if corpus.kind == "python":
        raise CourseError(
            f"The corpus {name!r} is made from this Python and has no file; use load_corpus."
        )
    own = os.environ.get("LLAMA_COURSE_DATA", "")
    if own and (mine := Path(own).expanduser() / corpus.file_name).is_file():
        found = sha256_of(mine)
        if found != corpus.sha256:
            raise CourseError(
                f"{mine} is not the corpus {name!r}: expected {corpus.size} bytes with SHA-256 "
                f"{corpus.sha256}, found {mine.stat().st_size} bytes with {found}; "
                "replace it, or unset LLAMA_COURSE_DATA to fetch the corpus."
            )
        return mine
    return download(corpus.address, cache_folder() / corpus.file_name, corpus.size, corpus.sha256)


def cache_folder() -> Path:
    """Where fetched files are kept: `LLAMA_COURSE_CACHE`, else the system's place for caches."""
    chosen = os.environ.get("LLAMA_COURSE_CACHE", "")
    return Path(chosen).expanduser() if chosen else Path(pooch.os_cache("llama-course"))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _corpus(name: str) -> Corpus:
    if name not in CORPORA:
        raise CourseError(f"There is no corpus named {name!r}; {nearest(name, CORPORA)}")
    return CORPORA[name]
