"""Byte-level BPE in five plain functions, for reading; `bpe.py` has the fast tokenizer.

An id below 256 is a byte. The merges are numbered from 0 in the order in which they were learned,
and merge r makes the id 256 + r. A word is a tuple of ids: text is cut into words first, and no
token reaches beyond its word.

Source: Sennrich, Haddow, Birch, "Neural Machine Translation of Rare Words with Subword Units"
(2016), section 3.2; on bytes: Radford and others, GPT-2 (2019), section 2.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from llama_course.errors import CourseError

BYTES = 256

Word = tuple[int, ...]
Pair = tuple[int, int]


def pair_counts(words: Mapping[Word, int]) -> dict[Pair, int]:
    """How often each pair of neighbouring ids occurs.

    `words` says of each distinct word how often it occurs. Each pair of neighbours counts once for
    each occurrence of its word, also where two pairs overlap: (7, 7, 7) has the pair (7, 7) twice.
    """
    counts: dict[Pair, int] = {}
    for word, times in words.items():
        for pair in pairwise(word):
            counts[pair] = counts.get(pair, 0) + times
    return counts


def merge_pair(ids: Sequence[int], pair: Pair, new_id: int) -> Word:
    """The ids with every occurrence of `pair` replaced by `new_id`, from left to right.

    An id belongs to one occurrence only: (7, 7, 7) with the pair (7, 7) becomes (new_id, 7).
    """
    merged: list[int] = []
    i = 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return tuple(merged)


def train_bpe(words: Mapping[Word, int], n_merges: int) -> list[Pair]:
    """The first `n_merges` merges for these words of bytes, in the order in which they are learned.

    Each time the most frequent pair is merged in all words. Of pairs that are equally frequent the
    one with the greater byte strings is taken: those of the first ids are compared, then those of
    the second. Where no pair is left, the list is shorter. `words` is not changed.

    Raises `CourseError` for a negative number of merges, or a word with an id that is no byte.
    """
    if n_merges < 0:
        raise CourseError(f"n_merges is {n_merges}: ask for 0 merges or more.")
    for word in words:
        if any(not 0 <= i < BYTES for i in word):
            raise CourseError(f"Training starts from bytes, 0 to 255, and found the word {word}.")
    vocab = {i: bytes([i]) for i in range(BYTES)}
    merges: list[Pair] = []
    for new_id in range(BYTES, BYTES + n_merges):
        counts = pair_counts(words)
        if not counts:
            break
        best = max(counts, key=lambda pair: (counts[pair], vocab[pair[0]], vocab[pair[1]]))
        words = {merge_pair(word, best, new_id): times for word, times in words.items()}
        vocab[new_id] = vocab[best[0]] + vocab[best[1]]
        merges.append(best)
    return merges


def bpe_encode(ids: Sequence[int], ranks: Mapping[Pair, int]) -> Word:
    """One word's bytes as tokens: the merges are applied in the order in which they were learned.

    `ranks` says of each merge's pair when it was learned, from 0. As long as a pair of neighbours
    has a rank, the pair with the lowest rank is merged; the pair of rank r becomes 256 + r.
    """
    word = tuple(ids)
    while True:
        pairs = [pair for pair in pairwise(word) if pair in ranks]
        if not pairs:
            return word
        first = min(pairs, key=ranks.__getitem__)
        word = merge_pair(word, first, BYTES + ranks[first])


def bpe_decode(ids: Sequence[int], vocab: Mapping[int, bytes]) -> str:
    """The text of token ids: the byte strings of all of them joined, then read as UTF-8.

    `vocab` has the byte string of each id. Bytes that are not UTF-8 become U+FFFD, as by
    `bytes.decode(errors="replace")`. Raises `CourseError` for an id that is not in `vocab`.
    """
    unknown = [i for i in ids if i not in vocab]
    if unknown:
        raise CourseError(
            f"The id {unknown[0]} is not among the vocabulary's {len(vocab)}: "
            "take the vocabulary that belongs to these ids."
        )
    return b"".join(vocab[i] for i in ids).decode("utf-8", errors="replace")


def bpe_vocab(merges: Sequence[Pair]) -> dict[int, bytes]:
    """The byte string of every id: the 256 bytes, then one id for each merge."""
    vocab = {i: bytes([i]) for i in range(BYTES)}
    for new_id, (first, second) in enumerate(merges, start=BYTES):
        vocab[new_id] = vocab[first] + vocab[second]
    return vocab
