"""Text from ids as they come, without splitting a character or losing a space.

Ids cannot be decoded one by one. A character may be spread over several ids, and SentencePiece
drops the space of the first piece of a text, so a word decoded alone loses its space. What an id
adds is the difference between two decodings: of all ids with it, and of all ids without it.

Decoding everything anew for every id would take quadratic time. It is enough to decode a few: what
came before matters in two ways only, whether there was any text yet, and which bytes wait for the
rest of their character. So the decoder keeps the first ids that gave text (the anchor) and, after
them, only ids whose character is not complete.
"""

from __future__ import annotations

from collections.abc import Iterable

from llama_course.tokenizers.protocol import Tokenizer

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class StreamDecoder:
    """Decodes ids that come one at a time, after `prefix_ids` (a prompt) whose text is known.

    `push(id)` gives the text that the id completes, often one piece, sometimes none; `finish()`
    gives what is left of a character that was never completed. Together they are exactly
    `decode(prefix + ids)` without `decode(prefix)`. Where the prefix ends within a character and
    the ids complete it, the whole character comes out.

    >>> stream = StreamDecoder(tokenizer, prompt_ids)  # doctest: +SKIP
    >>> text = "".join(stream.push(i) for i in new_ids) + stream.finish()  # doctest: +SKIP
    """

    def __init__(self, tokenizer: Tokenizer, prefix_ids: Iterable[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._anchor: list[int] = []  # ids that give text, with no character left open
        self._window: list[int] = []  # the anchor, and the ids since then that still matter
        self._shown = ""  # the part of the window's text that was given out
        for token in prefix_ids:
            self.push(token)
        self._shown = self._decode()

    def push(self, token: int) -> str:
        """The text that is certain now and was not before this id."""
        token = int(token)
        self._window.append(token)
        text = self._decode()
        if not text and token in self._window[:-1]:
            self._window.pop()  # before any text, a silent id that came already changes nothing
            return ""
        held = self._unfinished(text)
        new = self._give(text[: len(text) - held])
        if text and not held:
            self._anchor = self._anchor or self._window
            self._window = list(self._anchor)
            self._shown = self._decode()
        return new

    def finish(self) -> str:
        """What is left: a replacement character for each byte that waits for its character."""
        return self._give(self._decode())

    def _give(self, text: str) -> str:
        if self._shown.startswith(text):
            return ""
        # Only a prefix that ends within a character makes the two differ before the end.
        alike = 0
        while text[alike : alike + 1] == self._shown[alike : alike + 1] != "":
            alike += 1
        self._shown = text
        return text[alike:]

    def _decode(self) -> str:
        return self._tokenizer.decode(self._window)

    def _unfinished(self, text: str) -> int:
        """How many characters at the end of `text` may still change."""
        exact = getattr(self._tokenizer, "unfinished", None)
        if exact is not None:
            return int(exact(self._window))
        # Without the tokenizer's word: an open character has one to three bytes so far, and each
        # tokenizer shows them as one replacement character each, or as one for all.
        return min(3, len(text) - len(text.rstrip(REPLACEMENT)))
