"""Learning the merges of byte-pair encoding.

Counting all pairs anew for each merge would read the whole text each time. Two things spare that:
a text has few distinct words, so each is kept once with how often it occurs; and a merge changes
only the words that contain its pair, so only their pairs are counted again.

Source: Sennrich, Haddow, Birch, "Neural Machine Translation of Rare Words with Subword Units"
(2016), section 3.2, where the same two savings are named.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from itertools import pairwise

Pair = tuple[bytes, bytes]


def learn_merges(words: Mapping[bytes, int], count: int) -> list[Pair]:
    """The first `count` merges for words with these frequencies; fewer where no pair is left.

    Each time the most frequent pair of neighbouring tokens is merged, and of equally frequent ones
    the greater: the first tokens are compared as byte strings, then the second.
    """
    tokens = [[word[i : i + 1] for i in range(len(word))] for word in words]
    times = list(words.values())
    counts: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)  # words that have, or had, the pair
    for number, word in enumerate(tokens):
        for pair in pairwise(word):
            counts[pair] += times[number]
            where[pair].add(number)

    # The heap may say more of a pair than is true, never less: a count that falls is mended when
    # the pair comes to the top, and only pairs with the new token, which are pushed, can rise.
    heap = [_entry(pair, n) for pair, n in counts.items()]
    heapify(heap)
    merges: list[Pair] = []
    while heap and len(merges) < count:
        minus, _, _, best = heappop(heap)
        now = counts[best]
        if now != -minus:
            if now:
                heappush(heap, _entry(best, now))
            continue
        merges.append(best)
        new = b"".join(best)
        fresh: set[Pair] = set()
        for number in where.pop(best):
            old = tokens[number]
            word = _merged(old, best, new)
            if len(word) == len(old):
                continue  # another merge took the pair away before
            for pair in pairwise(old):
                counts[pair] -= times[number]
            for pair in pairwise(word):
                counts[pair] += times[number]
                if new in pair:
                    where[pair].add(number)
                    fresh.add(pair)
            tokens[number] = word
        del counts[best]
        for pair in fresh:
            heappush(heap, _entry(pair, counts[pair]))
    return merges


def _merged(word: list[bytes], pair: Pair, new: bytes) -> list[bytes]:
    """`word` with each `pair`, from the left, replaced by the token `new`."""
    first, second = pair
    out: list[bytes] = []
    i = 0
    while i < len(word):
        if word[i] == first and i + 1 < len(word) and word[i + 1] == second:
            out.append(new)
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out


Entry = tuple[int, str, str, Pair]


def _entry(pair: Pair, count: int) -> Entry:
    """A heap gives its least entry: the highest count, and of equal ones the greatest pair."""
    return -count, _descending(pair[0]), _descending(pair[1]), pair


_FLIP = bytes(range(255, -1, -1))


def _descending(token: bytes) -> str:
    """A key that sorts the other way round: the greater the token, the less its key.

    Each byte is taken from 255; and a token that goes on must come before one that ends, so the
    end is a character beyond all of them.
    """
    return token.translate(_FLIP).decode("latin-1") + "\u0100"
