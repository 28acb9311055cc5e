"""The merges of byte-pair encoding applied to one word, in the order of their ranks."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

# The rank of a merge of two neighbouring tokens, given as bytes; None where they do not merge.
Rank = Callable[[bytes, bytes], int | None]


def merge(word: bytes, rank: Rank) -> list[bytes]:
    """The tokens of `word`: always the merge of lowest rank first, and of equal ones the leftmost.

    The candidates lie in a heap, so a word of n bytes takes about n log n steps, however long it
    is. A candidate whose tokens have changed meanwhile is recognised when its turn comes: the two
    that now stand there have another rank, or none.
    """
    # The token that begins at byte i, b"" where none does any more; and the places of its
    # neighbours. The end of the word is a neighbour too, with nothing in it.
    token = [word[i : i + 1] for i in range(len(word) + 1)]
    right = list(range(1, len(word) + 2))
    left = list(range(-1, len(word)))
    waiting = [
        (number, i)
        for i in range(len(word) - 1)
        if (number := rank(token[i], token[i + 1])) is not None
    ]
    heapify(waiting)
    while waiting:
        number, i = heappop(waiting)
        gone = right[i]
        if not token[i] or not token[gone] or rank(token[i], token[gone]) != number:
            continue
        token[i] += token[gone]
        token[gone] = b""
        right[i] = right[gone]
        left[right[i]] = i
        for start in (left[i], i):
            if start >= 0 and token[right[start]]:
                new = rank(token[start], token[right[start]])
                if new is not None:
                    heappush(waiting, (new, start))
    return [t for t in token if t]
