"""The five plain functions: worked examples, an independent trainer, and what must always hold."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_course.checks.bpe import EXERCISE, train
from llama_course.errors import CourseError
from llama_course.tokenizers import BPETokenizer
from llama_course.tokenizers.bpe_steps import (
    bpe_decode,
    bpe_encode,
    bpe_vocab,
    merge_pair,
    pair_counts,
    train_bpe,
)

Words = dict[tuple[int, ...], int]
BY_HAND: Words = {tuple(b"on"): 7, tuple(b"her"): 4, tuple(b"the"): 3}

# Few letters: many ties, overlaps and words that are alike.
WORD = st.lists(st.sampled_from(b"aab\xce\xb1"), max_size=7).map(tuple)
WORDS = st.dictionaries(WORD, st.integers(1, 4), max_size=8)


def independent(words: Words, n_merges: int) -> list[tuple[bytes, bytes]]:
    """A trainer of another kind: rows of (bytes, id), every occurrence of a word by itself."""
    rows = [[(bytes([i]), i) for i in word] for word, n in words.items() for _ in range(n)]
    merges = []
    for new_id in range(256, 256 + n_merges):
        counts: Counter[tuple[tuple[bytes, int], ...]] = Counter()
        for row in rows:
            counts.update((row[i], row[i + 1]) for i in range(len(row) - 1))
        if not counts:
            break
        most = max(counts.values())
        tied = [pair for pair, n in counts.items() if n == most]
        best = sorted(tied, key=lambda pair: (pair[0][0], pair[1][0]))[-1]
        merges.append((best[0][0], best[1][0]))
        for row in rows:
            i = 0
            while i + 1 < len(row):
                if (row[i], row[i + 1]) == best:
                    row[i : i + 2] = [(best[0][0] + best[1][0], new_id)]
                i += 1
    return merges


def strings(merges: list[tuple[int, int]]) -> list[tuple[bytes, bytes]]:
    """Merges of ids as merges of byte strings."""
    vocab = bpe_vocab(merges)
    return [(vocab[first], vocab[second]) for first, second in merges]


def test_the_example_worked_by_hand() -> None:
    assert pair_counts(BY_HAND) == {(111, 110): 7, (104, 101): 7, (101, 114): 4, (116, 104): 3}
    merges = train_bpe(BY_HAND, 4)
    assert strings(merges) == [(b"o", b"n"), (b"h", b"e"), (b"he", b"r"), (b"t", b"he")]
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    assert bpe_encode(tuple(b"there"), ranks) == (116, 258, 101)
    assert bpe_decode((116, 258, 101), bpe_vocab(merges)) == "there"


def test_overlapping_pairs_are_counted_each_and_merged_from_the_left() -> None:
    assert pair_counts({(7, 7, 7): 2}) == {(7, 7): 4}
    assert merge_pair((7, 7, 7), (7, 7), 9) == (9, 7)
    assert merge_pair([7, 7, 7, 7], (7, 7), 9) == (9, 9)


def test_a_character_in_two_tokens_and_bytes_that_are_none() -> None:
    vocab = {1: b"\xf0\x9f", 2: b"\xa6\x99", 3: b"!"}
    assert bpe_decode([1, 2, 3], vocab) == "\N{LLAMA}!"
    assert bpe_decode([1, 3, 2], vocab) == "\ufffd!\ufffd\ufffd"


@settings(max_examples=150, deadline=None, derandomize=True)
@given(WORDS, st.integers(0, 12))
def test_training_equals_an_independent_trainer(words: Words, n_merges: int) -> None:
    before = dict(words)
    assert strings(train_bpe(words, n_merges)) == independent(words, n_merges)
    assert words == before


@settings(max_examples=150, deadline=None, derandomize=True)
@given(WORDS, st.integers(0, 12), WORD)
def test_encoding_repeats_training_and_loses_nothing(
    words: Words, n_merges: int, unseen: tuple[int, ...]
) -> None:
    merges = train_bpe(words, n_merges)
    vocab = bpe_vocab(merges)
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    for word in (*words, unseen):
        # The slow way: every merge in its order, wherever it fits.
        row = word
        for pair, rank in ranks.items():
            row = merge_pair(row, pair, 256 + rank)
        assert bpe_encode(word, ranks) == row
        assert b"".join(vocab[i] for i in row) == bytes(word)
        assert bpe_decode(row, vocab) == bytes(word).decode("utf-8", errors="replace")


def test_the_fast_tokenizer_learns_the_same_and_gives_the_same_ids() -> None:
    text = "the heron here, the hen there; she shed her shell. αβγ αβ 🦙🦙 " * 3 + "aaaa aaa"
    tokenizer = BPETokenizer.train([text], 280)
    words = Counter(tuple(word.encode()) for word in tokenizer._pre_tokens.split(text))
    merges = train_bpe(words, 24)
    assert strings(merges) == list(tokenizer.model.merges or ())
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    unseen = "other herons γάμμα aaaaaaa 🦙 whether"
    found = [
        i
        for word in tokenizer._pre_tokens.split(unseen)
        for i in bpe_encode(tuple(word.encode()), ranks)
    ]
    assert found == tokenizer.encode(unseen)


def test_the_solution_of_the_exercise_and_the_library_agree() -> None:
    solution = EXERCISE.truth
    words = train.counted(train.STORY)
    merges = train_bpe(words, 30)
    assert solution["pair_counts"](words) == pair_counts(words)
    assert solution["train_bpe"](words, 30) == merges
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    for word in words:
        assert solution["bpe_encode"](word, ranks) == bpe_encode(word, ranks)


def test_errors_say_what_to_do() -> None:
    with pytest.raises(CourseError, match="0 merges or more"):
        train_bpe(BY_HAND, -1)
    with pytest.raises(CourseError, match="0 to 255"):
        train_bpe({(256,): 1}, 1)
    with pytest.raises(CourseError, match="id 300 is not among"):
        bpe_decode([104, 300], bpe_vocab([]))
