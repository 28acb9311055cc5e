"""Encoding a stream of chunks: the ids of the joined text, in memory that does not grow."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from unittest import mock

import pytest
import regex
from bpe_samples import PATTERNS, SAMPLES, SIZE, SPECIAL, TEXTS, trained
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_course.tokenizers import BPETokenizer, pre_tokens
from llama_course.tokenizers.pre_tokens import PreTokenizer, SpecialTokens

relaxed = settings(deadline=None, max_examples=150)
which_pattern = pytest.mark.parametrize("which", PATTERNS)
ANY = st.sampled_from(list(PATTERNS))


@contextmanager
def block_of(size: int) -> Iterator[None]:
    """Small blocks, so that short texts are cut in many places."""
    with mock.patch.object(pre_tokens, "_BLOCK", size):
        yield


def chunked(text: str, sizes: list[int]) -> list[str]:
    chunks, at = [], 0
    for size in sizes:
        chunks.append(text[at : at + size])
        at += size
    return [*chunks, text[at:]]


@given(ANY, TEXTS, st.lists(st.integers(0, 5), max_size=30), st.integers(1, 9))
@relaxed
def test_chunks_give_what_the_whole_gives(which: str, text: str, sizes: list[int], block: int):
    tokenizer = trained(which)
    whole = [i for word in tokenizer._pre_tokens.split(text) for i in tokenizer._encode_word(word)]
    with block_of(block):
        assert list(tokenizer.encode_iterable(chunked(text, sizes))) == whole
        assert tokenizer.encode(text) == whole


SPECIAL_TEXTS = st.lists(
    st.one_of(
        st.sampled_from([*SPECIAL, "<|", "a b|>", "|>c", " b", "'s", "  ", "\n", "1", "!"]), TEXTS
    ),
    max_size=8,
).map("".join)


@given(ANY, SPECIAL_TEXTS, st.lists(st.integers(0, 9), max_size=30), st.integers(1, 9))
@relaxed
def test_chunks_cut_no_special_token(which: str, text: str, sizes: list[int], block: int):
    tokenizer = trained(which)
    whole = tokenizer.encode(text, bos=True, eos=True, parse_special=True)
    with block_of(block):
        found = tokenizer.encode_iterable(
            chunked(text, sizes), bos=True, eos=True, parse_special=True
        )
        assert list(found) == whole


@given(ANY, TEXTS, TEXTS)
@relaxed
def test_a_safe_cut_is_safe_whatever_comes(which: str, text: str, more: str):
    """Of every place in a text: if the rule allows it, then cutting there changes nothing."""
    words = PreTokenizer(PATTERNS[which])
    text += more
    expected = words.split(text)
    for end in range(2, min(len(text), 60) + 1):
        cut = words._cut(text[:end], None)  # found without seeing what comes
        assert words.split(text[:cut]) + words.split(text[cut:]) == expected


@which_pattern
def test_every_safe_cut_of_every_short_text(which: str):
    """All texts of five characters of the kinds that the patterns tell apart (a line end, a space,
    letters that make a contraction, a digit, a sign): what the rule allows never fails."""
    words = regex.compile(PATTERNS[which]).findall
    cuts = regex.compile(pre_tokens._SAFE_CUTS[PATTERNS[which]])
    count = 0
    for text in map("".join, product("a's1! \n", repeat=5)):
        whole = words(text)
        for match in cuts.finditer(text):
            at = match.start()
            assert words(text[:at]) + words(text[at:]) == whole, (text, at)
            count += 1
    assert count > 20_000


@which_pattern
def test_a_block_holds_no_more_than_it_must(which: str):
    """Ordinary text is cut close to the end of each block; only a run that is one word is held."""
    words = PreTokenizer(PATTERNS[which])
    for text in (
        "The cat's on 3 mats, OK?\n" * 40,
        "猫である。名前はまだ無い。\n" * 40,
        "-\n" * 400,
    ):
        with block_of(50):
            blocks = list(words.blocks([text]))
        assert "".join(blocks) == text
        assert max(map(len, blocks)) < 100 and len(blocks) >= len(text) // 100
    with block_of(50):
        blocks = list(words.blocks(["a b ", *["x"] * 500, " c d" * 20]))
    assert max(map(len, blocks)) < 1100  # the long word, found by doubling what is held


def test_a_stretch_without_a_cut_takes_no_quadratic_time():
    """What is held doubles before it is searched again: 50, 100, 200 ... of 5,000 characters."""
    words = PreTokenizer(PATTERNS["gpt2"])
    with block_of(50), mock.patch.object(words, "_cut", wraps=words._cut) as cut:
        blocks = list(words.blocks(["x"] * 5000))
    assert len(blocks) == 1 and cut.call_count == 7


def test_many_special_tokens_and_nothing_else_are_cut_too():
    special = SpecialTokens(["<||>"])  # no letter, so the pattern alone has no cut
    with block_of(50):
        blocks = list(PreTokenizer(PATTERNS["gpt2"]).blocks(["<||>"] * 500, special))
    assert len(blocks) > 30


# Rules that one could believe: cutting at any space, behind a space, at line ends, before a word.
WRONG = {
    "gpt2": [r"(?=\s)", r"(?<=\s)", r"(?<=\n)(?=\S)", r"(?=\p{L})", r"(?<=')", r"(?=\p{N})"],
    "llama3": [r"(?=\s)", r"(?<=\s)", r"(?<=\S)(?=\s)", r"(?=\p{L})", r"(?<=[.])(?=\S)", r"(?=1)"],
}


@pytest.mark.parametrize(("which", "rule"), [(k, rule) for k, v in WRONG.items() for rule in v])
def test_other_rules_fail(which: str, rule: str):
    """The planted errors: each would give other ids for one of the samples."""
    samples = [*SAMPLES, "x .\ny", "a  '1 23 b", "(x.y)\t z\t\n", "11111111"]
    with mock.patch.dict(pre_tokens._SAFE_CUTS, {PATTERNS[which]: rule}), block_of(3):
        words = PreTokenizer(PATTERNS[which])
        different = [
            text
            for text in samples
            if [w for block in words.blocks(text) for w in words.split(block)] != words.split(text)
        ]
    assert different


def test_a_pattern_that_is_not_known_holds_all():
    pattern = r"\w+ \w+|\s|."  # two words at once: no rule above is right for it
    tokenizer = BPETokenizer.train(["to be or not to be"], 260, pattern=pattern)
    text = "to be or not to be, that is the question" * 5
    with block_of(4):
        assert list(tokenizer.encode_iterable(chunked(text, [3] * 60))) == tokenizer.encode(text)
        assert list(tokenizer._pre_tokens.blocks(chunked(text, [3] * 60))) == [text]


def test_nothing_and_empty_chunks():
    tokenizer = trained()
    assert list(tokenizer.encode_iterable([])) == []
    assert list(tokenizer.encode_iterable(["", ""])) == []
    ends = [tokenizer.bos_id, tokenizer.eos_id]
    assert list(tokenizer.encode_iterable([], bos=True, eos=True)) == ends


def test_the_first_ids_come_before_the_last_text():
    """It is a stream: with 300,000 characters to come, not all are read first."""
    read = 0

    def chunks() -> Iterator[str]:
        nonlocal read
        for _ in range(300):
            read += 1
            yield "some words " * 100

    assert next(trained().encode_iterable(chunks())) == trained().encode("some")[0]
    assert read < 100


@which_pattern
def test_memory_does_not_grow_with_the_text(which: str):
    tokenizer = trained(which)
    page = "".join(SAMPLES[:-1]) * 8  # 6,000 characters

    def peak(pages: int) -> int:
        tracemalloc.start()
        count = sum(1 for i in tokenizer.encode_iterable(page for _ in range(pages)) if i < SIZE)
        assert count > 1000 * pages
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(15)  # what is remembered is there now
    short, long = peak(30), peak(120)
    # A block is 65,536 characters, and its words as Python strings are some 60 bytes each: about
    # 3 MB in all. Held as a whole, the long text's words alone would be four times the short's.
    assert long < 1.25 * short and long < 6e6
