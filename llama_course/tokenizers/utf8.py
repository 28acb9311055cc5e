"""What holds of UTF-8 whichever tokenizer it is read by."""

from __future__ import annotations

import codecs

from llama_course.errors import CourseError


def check_surrogates(text: str, before: int = 0) -> None:
    """Refuse a lone surrogate, half of a character, which has no UTF-8.

    `before` is how many characters of the whole text came before this part of it.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise CourseError(
            f"Character {before + error.start} of the text is a lone surrogate "
            f"(U+{ord(text[error.start]):04X}), half of a character, and cannot be encoded; "
            'read the text again as UTF-8, or remove it with text.encode("utf-8", "ignore").'
        ) from None


def begins_a_character(tail: bytes) -> bool:
    """Whether `tail` is valid UTF-8 so far, and not yet a whole character."""
    try:
        _, used = codecs.utf_8_decode(tail, "strict", False)
    except UnicodeDecodeError:
        return False
    # Python waits for the third byte of an encoded surrogate too, which no character has.
    return used == 0 and not b"\xed\xa0" <= tail[:2] < b"\xee"
