"""LLaMA's tokenizer, through the `sentencepiece` library."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from itertools import chain
from pathlib import Path

import sentencepiece

from llama_course.errors import CourseError
from llama_course.files import written_beside
from llama_course.tokenizers import llama2c
from llama_course.tokenizers.model_file import parse_model, read_model
from llama_course.tokenizers.model_proto import BYTE, SPACE
from llama_course.tokenizers.utf8 import begins_a_character as _begins_a_character
from llama_course.tokenizers.utf8 import check_surrogates as _check_surrogates


class SentencePieceTokenizer:
    """The tokenizer of LLaMA 1 and 2: a `tokenizer.model`, or llama2.c's `tokenizer.bin`.

    The content tells which of the two a file is. `vocab_size`, where given, must be the number of
    tokens that the file holds; a tokenizer.bin does not say it, so one that was cut between two
    tokens is noticed only then. Raises `CourseError` for a file that cannot be read.

    With LLaMA's settings (bytes for unknown characters, identity normalisation, spaces kept)
    `decode(encode(text)) == text` for every text. The ids are the library's, but for one
    character: the library reads U+2581 as a space, here it is itself, spelled in bytes.

    `unk_id`, `bos_id`, `eos_id` and `pad_id` are -1 where there is none (LLaMA has no pad).
    """

    def __init__(self, path: str | Path, vocab_size: int | None = None) -> None:
        path = Path(path)
        self._load(read_model(path), str(path), vocab_size)

    @classmethod
    def from_bytes(
        cls, data: bytes, vocab_size: int | None = None, name: str = "the tokenizer"
    ) -> SentencePieceTokenizer:
        """From the content of a tokenizer.model or tokenizer.bin; `name` is used in errors."""
        self = cls.__new__(cls)
        self._load(data, name, vocab_size)
        return self

    def _load(self, data: bytes, name: str, vocab_size: int | None) -> None:
        if llama2c.is_tokenizer_bin(data):
            data = llama2c.parse(data, name).to_bytes()
        self.model_proto = data  # the bytes of a tokenizer.model
        self.proto = parse_model(data, name)
        if vocab_size is not None and vocab_size != len(self.proto.pieces):
            raise CourseError(
                f"{name} holds {len(self.proto.pieces)} tokens, expected {vocab_size}; "
                "take the tokenizer that belongs to the model."
            )
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(data)
        except RuntimeError as error:
            raise CourseError(f"{name} is refused by sentencepiece: {error}.") from None
        self.vocab_size: int = self._processor.vocab_size()
        self.unk_id: int = self._processor.unk_id()
        self.bos_id: int = self._processor.bos_id()
        self.eos_id: int = self._processor.eos_id()
        self.pad_id: int = self._processor.pad_id()

    def encode(self, text: str, bos: bool = False, eos: bool = False) -> list[int]:
        """The ids of `text`; `bos` and `eos` put the begin and end tokens around them.

        Raises `CourseError` for a lone surrogate, half of a character, which is no text.
        """
        _check_surrogates(text)
        if SPACE in text and self.proto.byte_fallback:
            ids = self._encode_with_space_signs(text)
        else:
            ids = self._processor.encode(text)
        if bos:
            ids.insert(0, self._special(self.bos_id, "begin (BOS)"))
        if eos:
            ids.append(self._special(self.eos_id, "end (EOS)"))
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`. Control tokens give nothing, and an invalid byte gives U+FFFD.

        The space that encoding puts before a text is taken away again.
        """
        ids = [int(i) for i in ids]
        if ids and not 0 <= min(ids) <= max(ids) < self.vocab_size:
            for token in ids:
                self._checked(token)
        return self._processor.decode(ids)

    def unfinished(self, ids: list[int]) -> int:
        """How many bytes at the end of `ids` begin a character that more ids can complete.

        `decode` shows each of them as one U+FFFD until then.
        """
        tail = b""
        for token in reversed(ids[-3:]):
            byte = self._byte_of.get(token)
            if byte is None:
                return 0
            tail = byte + tail
            if byte >= b"\xc0":  # the first byte of a character, if of any
                return len(tail) if _begins_a_character(tail) else 0
        return 0

    def id_to_piece(self, token: int) -> str:
        """The piece as SentencePiece writes it: U+2581 for a space, `<0x0A>` for a byte."""
        return self.proto.pieces[self._checked(token)].text

    def score(self, token: int) -> float:
        """The piece's score; of two possible merges, the one with the higher score comes first."""
        return self.proto.pieces[self._checked(token)].score

    def save(self, path: str | Path) -> None:
        """Write a tokenizer.model."""
        with written_beside(Path(path)) as new:
            new.write_bytes(self.model_proto)

    def save_llama2c(self, path: str | Path) -> None:
        """Write llama2.c's tokenizer.bin; refused where that file would encode differently."""
        data = llama2c.to_bytes(self.proto)
        with written_beside(Path(path)) as new:
            new.write_bytes(data)

    def _checked(self, token: int) -> int:
        token = int(token)
        if not 0 <= token < self.vocab_size:
            raise CourseError(
                f"There is no token {token}; the tokenizer's ids are 0 to {self.vocab_size - 1}."
            )
        return token

    # ---- the one character that the library would not give back -------------------------------

    @cached_property
    def _byte_of(self) -> dict[int, bytes]:
        """The byte that each byte token stands for."""
        return {
            i: bytes([int(piece.text[3:5], 16)])
            for i, piece in enumerate(self.proto.pieces)
            if piece.type == BYTE
        }

    def _byte_ids(self, character: str) -> list[int]:
        id_of = {byte: i for i, byte in self._byte_of.items()}
        return [id_of[bytes([b])] for b in character.encode("utf-8")]

    @cached_property
    def _stand_in(self) -> str:
        """A character in no piece of the vocabulary, which the library therefore spells in bytes.

        It merges with nothing beside it: put in the place of another character, it shows exactly
        where in the ids that character's bytes belong.
        """
        used = set().union(*(piece.text for piece in self.proto.pieces))
        private_use = chain(range(0xE000, 0xF900), range(0xF0000, 0xFFFFE))
        return next(c for c in map(chr, private_use) if c not in used)

    def _encode_with_space_signs(self, text: str) -> list[int]:
        """The ids of a text with U+2581, SentencePiece's sign for a space, as its three bytes."""
        stand_in = self._stand_in
        bytes_of = {c: self._byte_ids(c) for c in (SPACE, stand_in)}
        mark = bytes_of[stand_in]
        stood_for = iter([c for c in text if c in bytes_of])  # it may be in the text as well
        ids = self._processor.encode(text.replace(SPACE, stand_in))
        out: list[int] = []
        at = 0
        while at < len(ids):
            if ids[at] == mark[0] and ids[at : at + len(mark)] == mark:
                out += bytes_of[next(stood_for)]
                at += len(mark)
            else:
                out.append(ids[at])
                at += 1
        return out

    def _special(self, token: int, name: str) -> int:
        if token < 0:
            raise CourseError(f"This tokenizer has no {name} token; encode without it.")
        return token
