"""What every tokenizer of the course can do, whoever wrote it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable


@runtime_checkable
class Tokenizer(Protocol):
    """Text to ids and back.

    `bos_id` and `eos_id` are -1 where the tokenizer has none, as in SentencePiece's files.

    A tokenizer may also have a method `unfinished(ids) -> int`: how many characters at the end of
    `decode(ids)` stand for the first bytes of a character that later ids can still complete.
    `StreamDecoder` uses it to hold back those and nothing else.
    """

    vocab_size: int
    bos_id: int
    eos_id: int

    def encode(self, text: str, bos: bool = False, eos: bool = False) -> list[int]:
        """The ids of `text`, with the begin and end tokens where asked for.

        Text never gives control tokens: the characters `<s>` are encoded as characters.
        """
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; control tokens have none, bytes that are no UTF-8 give U+FFFD."""
        ...
