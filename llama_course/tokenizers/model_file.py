"""A tokenizer.model on disk: reading it, and saying in a sentence why it cannot be read."""

from __future__ import annotations

from pathlib import Path

from llama_course.errors import CourseError
from llama_course.tokenizers.foreign import is_tiktoken, kind_of
from llama_course.tokenizers.model_proto import ModelProto


def read_model(path: Path) -> bytes:
    """The bytes of a tokenizer.model or tokenizer.bin. Raises `CourseError` where there is none."""
    if path.is_dir():
        raise CourseError(f"{path} is a folder; give the tokenizer.model or tokenizer.bin in it.")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CourseError(
            f"There is no file {path}; give the path of a tokenizer.model or tokenizer.bin."
        ) from None
    except OSError as error:
        raise CourseError(f"{path} cannot be read: {error.strerror or error}.") from None


def parse_model(data: bytes, name: str) -> ModelProto:
    """What a tokenizer.model says; `name` stands in the error.

    Raises `CourseError` for bytes that are no SentencePiece model, with what they are instead.
    """
    if not data:
        raise CourseError(f"{name} is empty; a SentencePiece model was expected, fetch it again.")
    try:
        return ModelProto.parse(data)
    except ValueError as error:
        raise _refused(data, name, str(error)) from None


def _refused(data: bytes, name: str, reason: str) -> CourseError:
    kind = kind_of(data)
    if kind is not None:
        return CourseError(
            f"{name} is no SentencePiece model but {kind}; give the tokenizer.model itself."
        )
    if is_tiktoken(data):
        return CourseError(
            f"{name} is a tokenizer of the tiktoken kind (Llama 3), not a SentencePiece model; "
            "give the tokenizer.model of LLaMA 1, Llama 2 or another SentencePiece model."
        )
    # Every model begins with a piece: field 1, a message, whose first field (after its length,
    # one byte or two) is text, field 1 again.
    if data[0] != 0x0A or 0x0A not in data[2:4]:
        return CourseError(
            f"{name} is no SentencePiece model: it begins with the bytes {data[:4].hex(' ')}; "
            "give a tokenizer.model or llama2.c's tokenizer.bin."
        )
    return CourseError(
        f"{name} is not a whole SentencePiece model: {reason}; "
        f"it has {len(data):,} bytes and may be cut short, so fetch it again."
    )
