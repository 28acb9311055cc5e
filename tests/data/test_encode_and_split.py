"""Text to ids, and text held back."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from llama_course.data import encode_corpus, split
from llama_course.errors import CourseError


class Letters:
    """A tokenizer whose ids are character codes; BOS is 1, EOS is 2."""

    bos_id, eos_id = 1, 2

    def __init__(self, vocab_size: int = 300) -> None:
        self.vocab_size = vocab_size

    def encode(self, text: str, bos: bool = False, eos: bool = False) -> list[int]:
        return [self.bos_id] * bos + [ord(c) for c in text] + [self.eos_id] * eos

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(chr(i) for i in ids if i > 2)


def test_one_text_and_several_documents() -> None:
    assert encode_corpus(Letters(), "ab").tolist() == [1, 97, 98]
    documents = (d for d in ("ab", "c"))
    assert encode_corpus(Letters(), documents, eos=True).tolist() == [1, 97, 98, 2, 1, 99, 2]
    assert encode_corpus(Letters(), ["ab", "c"], bos=False).tolist() == [97, 98, 99]


def test_two_bytes_a_token_where_that_is_enough() -> None:
    assert encode_corpus(Letters(2**16), "\uffff").dtype == np.uint16
    wide = encode_corpus(Letters(2**16 + 1), "\U00010000")
    assert wide.dtype == np.uint32 and wide.tolist() == [1, 65536]
    assert encode_corpus(Letters(), []).dtype == np.uint16


def test_an_id_outside_the_vocabulary_is_refused() -> None:
    with pytest.raises(CourseError, match="gave id 960, outside its vocabulary of 300"):
        encode_corpus(Letters(), "π")
    nameless = Letters()
    nameless.bos_id = -1  # type: ignore[misc]
    with pytest.raises(CourseError, match=r"gave id -1.*bos=False"):
        encode_corpus(nameless, "a")


def test_a_cut_at_a_character_loses_nothing() -> None:
    text = "".join(str(i % 10) for i in range(1001))
    train, held = split(text, paragraphs=False)
    assert train + held == text and len(train) == 900


def test_a_cut_at_a_paragraph_shares_no_paragraph() -> None:
    paragraphs = [f"paragraph {i}\n  of two lines" for i in range(100)]
    paragraphs[95] = paragraphs[3]  # one that training has seen
    paragraphs[97] = "  indented"
    text = "\n\n".join(paragraphs)
    train, held = split(text)
    before, after = train.strip().split("\n\n"), held.split("\n\n")
    assert not set(before) & set(after)
    assert before == paragraphs[: len(before)] and 88 <= len(before) <= 92
    assert after == [p for p in paragraphs[len(before) :] if p != paragraphs[3]]
    assert "  indented" in after


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 2.0])
def test_impossible_fractions_are_refused(fraction: float) -> None:
    with pytest.raises(CourseError, match="between 0 and 1"):
        split("a\n\nb", fraction)


def test_a_text_without_paragraphs_is_refused() -> None:
    with pytest.raises(CourseError, match="blank lines between paragraphs"):
        split("all in one line " * 50)
