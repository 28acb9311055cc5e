"""Holding text back: what a model is judged on must not be what it was trained on."""

from __future__ import annotations

import re

from llama_course.errors import CourseError


def split(
    text: str, validation_fraction: float = 0.1, *, paragraphs: bool = True
) -> tuple[str, str]:
    """(training text, validation text): the last part of a text is held back.

    With `paragraphs` the cut is at the first blank line from `1 - validation_fraction` of the
    characters on, and a validation paragraph that the training text also has is left out, so that
    nothing is shared (the validation text may then be a little shorter). Without, the cut is
    at exactly that character, which is how Tiny Shakespeare is usually divided.

    Raises `CourseError` where either part would be empty.
    """
    if not 0 < validation_fraction < 1:
        raise CourseError(
            f"validation_fraction must be between 0 and 1, found {validation_fraction}; "
            "0.1 holds back the last tenth."
        )
    cut = int(len(text) * (1 - validation_fraction))
    if not paragraphs:
        train, validation = text[:cut], text[cut:]
    else:
        blank = re.compile(r"\n\s*\n").search(text, cut)
        cut = blank.end() if blank else len(text)
        train = text[:cut]
        seen = set(_paragraphs(train))
        validation = "\n\n".join(p for p in _paragraphs(text[cut:]) if p not in seen)
    if not train.strip() or not validation.strip():
        raise CourseError(
            f"A text of {len(text)} characters cannot be divided at {validation_fraction:g} into "
            "training and validation text; take a longer text"
            + (", one with blank lines between paragraphs." if paragraphs else ".")
        )
    return train, validation


def _paragraphs(text: str) -> list[str]:
    """The pieces between blank lines; the indent of a piece's first line stays."""
    pieces = re.split(r"\n(?:[^\S\n]*\n)+", text)
    return [piece.strip("\n").rstrip() for piece in pieces if piece.strip()]
