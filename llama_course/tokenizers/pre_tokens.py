"""Cutting text into pre-tokens: the pieces, mostly words, beyond which no token reaches.

A pattern finds them. GPT-2's (Radford and others, 2019; `encoder.py` of openai/gpt-2) keeps a
space with the word behind it and leaves the last space of a run to the next word. Llama 3's
(`tokenizer.py` of meta-llama/llama-models) also cuts numbers into groups of three digits, and lets
any one sign go with the word behind it.

A stream is cut into blocks first. A cut is safe where the pattern ends a pre-token whatever text
follows; `_SAFE_CUTS` has such places for each pattern that is known here. A run of spaces is never
cut: whether its last space goes with the next word is only known when that word is there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import regex

from llama_course.errors import CourseError

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# In both patterns no alternative goes on from a letter to another kind of character, nor from a
# number, and the only one that looks ahead looks beyond spaces. From a sign, GPT-2's goes on to no
# space at all, Llama 3's to line ends only; and where these end, Llama 3's ends too.
_AFTER_A_RUN = r"(?<=\p{L})(?=\P{L})|(?<=\p{N})(?=\P{N})"
_SAFE_CUTS = {
    GPT2_PATTERN: rf"{_AFTER_A_RUN}|(?<=\S)(?=\s)",
    LLAMA3_PATTERN: rf"{_AFTER_A_RUN}|(?<=\S)(?=[^\S\r\n])|(?<=[\r\n])(?=\S)",
}

_BLOCK = 1 << 16  # characters


class PreTokenizer:
    """Cuts text by a pattern of the `regex` package (which knows `\\p{L}`, any letter).

    Nothing is lost: what a pattern passes over is a pre-token too. Raises `CourseError` for a
    pattern that cannot be used.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        try:
            self._find = regex.compile(pattern)
        except regex.error as error:
            raise CourseError(f"The pattern {pattern!r} cannot be read: {error}.") from None
        if self._find.groups:
            raise CourseError(
                f"The pattern {pattern!r} has a capturing group (...); write it as (?:...)."
            )
        cuts = _SAFE_CUTS.get(pattern)
        self._last_cut = None if cuts is None else regex.compile(f"(?r){cuts}")  # from the end

    def split(self, text: str) -> list[str]:
        """The pre-tokens of a whole text; joined, they are the text."""
        found: list[str] = self._find.findall(text)
        if sum(map(len, found)) == len(text):
            return found
        pieces, at = [], 0
        for match in self._find.finditer(text):
            pieces += [text[at : match.start()], match.group()]
            at = match.end()
        return [piece for piece in (*pieces, text[at:]) if piece]

    def blocks(self, chunks: Iterable[str], special: SpecialTokens | None = None) -> Iterator[str]:
        """The joined chunks in blocks that can be split each for itself, as the whole would be.

        Holds about a block (65,536 characters), or the longest stretch without a safe cut if that
        is more. With a pattern that is not known here nothing is safe, and all is one block.
        `special` are tokens that will be looked for in the text, and must not be cut either.
        """
        held: list[str] = []
        size, wanted = 0, _BLOCK
        for chunk in chunks:
            for at in range(0, len(chunk), _BLOCK):
                held.append(chunk[at : at + _BLOCK])
                size += len(held[-1])
                if size < wanted:
                    continue
                text = "".join(held)
                cut = self._cut(text, special)
                if cut:
                    yield text[:cut]
                held, size = [text[cut:]], size - cut
                # Looking again after each chunk would take quadratic time where there is no cut.
                wanted = max(_BLOCK, 2 * size)
        if size:
            yield "".join(held)

    def _cut(self, text: str, special: SpecialTokens | None) -> int:
        """The last safe cut of a text that goes on; 0 where there is none."""
        if self._last_cut is None:
            return 0
        # A special token that begins before `limit` is whole in the text, one beyond may not be.
        limit = len(text) if special is None else max(0, len(text) - special.longest + 1)
        match = self._last_cut.search(text, endpos=limit)
        cut = match.start() if match else 0
        if special is None:
            return cut
        # Plain text ends where a special token does, whatever the pattern says; and a cut within
        # one is moved to its end.
        return max([cut, *(m.end() for m in special.find(text) if m.start() < limit)])


class SpecialTokens:
    """Finds special tokens in a text; of two that begin at one place, the longer."""

    def __init__(self, names: Collection[str]) -> None:
        ordered = sorted(names, key=len, reverse=True)
        self._find = regex.compile("(" + "|".join(map(regex.escape, ordered)) + ")")
        self.longest = len(ordered[0])

    def find(self, text: str) -> Iterator[Any]:
        """The matches, from left to right, none overlapping."""
        return self._find.finditer(text)

    def split(self, text: str) -> list[str]:
        """Plain text and special tokens in turn: those at odd places are special tokens."""
        return self._find.split(text)
