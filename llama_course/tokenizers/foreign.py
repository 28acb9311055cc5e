"""Files found in the place of a tokenizer: reading them, and saying what they are instead."""

from __future__ import annotations

import re
from pathlib import Path

from llama_course.errors import CourseError

# By the first bytes.
_KINDS = {
    b"<": "a web page",
    b"{": "JSON, perhaps a tokenizer.json",
    b"\x80": "a Python pickle",
    b"PK": "a zip archive, perhaps a checkpoint",
    b"version https://git-lfs": "a Git LFS pointer, not the file it points to",
    b"GGUF": "a GGUF file",
}


def kind_of(data: bytes) -> str | None:
    """What a file with this content is, if it is one of those often taken for a tokenizer."""
    start = data[:200].lstrip()
    return next((kind for first, kind in _KINDS.items() if start.startswith(first)), None)


def is_tiktoken(data: bytes) -> bool:
    """Whether this is the beginning of Llama 3's kind of file: base64, a space, a rank."""
    return re.match(rb"[A-Za-z0-9+/]+={0,2} \d+\r?\n", data) is not None


def read_file(path: Path, expected: str) -> bytes:
    """The content of a file; `expected` says in the errors what was looked for."""
    if path.is_dir():
        raise CourseError(f"{path} is a folder; give the {expected} in it.")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CourseError(f"There is no file {path}; give the path of a {expected}.") from None
    except OSError as error:
        raise CourseError(f"{path} cannot be read: {error.strerror or error}.") from None
    if not data:
        raise CourseError(f"{path} is empty; a {expected} was expected, fetch it again.")
    return data
