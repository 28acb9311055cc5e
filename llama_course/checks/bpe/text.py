"""Words for the cases of lesson 01, made of a few sentences of the course's own."""

from __future__ import annotations

import random
from collections import Counter

Words = dict[tuple[int, ...], int]

STORY = """The potter bakes the pots that the butter and the better bread go into. A bitter batter
needs a better butter, and butter needs a bigger pot than the batter. Anna had a banana and Hannah
had an ananas; nobody had a whole bananarama. Ninety-nine shells, she said, she sells by the sea in
a shed, and three of these shells are there, where the others were. When the wind wheels round the
weathercock whistles, and whether the weather whitens or withers the wheat, nobody knows. Mmm, said
the cook, aaaah! Zzzzz, said the dog. Note that no note of this song is not a tone too high.
Ο ήλιος λάμπει, λάμπει και η λάμπα. Über übliche Übel. 羊羊羊和羊毛. 🦙🦙 and 🦙."""


def words_of(**times: int) -> Words:
    """Words and how often they occur, with the bytes of each for its ids."""
    return {tuple(word.encode()): n for word, n in times.items()}


def counted(text: str) -> Words:
    """The words of a text that spaces divide, each with the space before it."""
    return dict(Counter(tuple(f" {word}".encode()) for word in text.split()))


def babble(seed: int, count: int, longest: int, letters: str = "abc") -> list[str]:
    """Words of two letters or more, in no order. Few letters give many ties and many overlaps."""
    chance = random.Random(seed).random  # the same numbers in every version of Python
    return [
        "".join(letters[int(chance() * len(letters))] for _ in range(2 + int(chance() * longest)))
        for _ in range(count)
    ]


def babbled(seed: int, count: int) -> Words:
    """Such words with counts from 1 to 4."""
    words = babble(seed, count, 7)
    return {tuple(word.encode()): 1 + i % 4 for i, word in enumerate(dict.fromkeys(words))}
