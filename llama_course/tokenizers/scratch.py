"""LLaMA's tokenizer without the library: SentencePiece's byte-pair encoding in plain Python.

Token for token what `sentencepiece` gives (github.com/google/sentencepiece: `bpe_model.cc`,
`normalizer.cc`, `sentencepiece_processor.cc`), for models with LLaMA's settings. All others are
refused, in one sentence.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from itertools import groupby, pairwise
from pathlib import Path

from llama_course.errors import CourseError
from llama_course.files import written_beside
from llama_course.tokenizers import llama2c, protobuf
from llama_course.tokenizers.model_file import parse_model, read_model
from llama_course.tokenizers.model_proto import (
    BPE,
    BYTE,
    CONTROL,
    NORMAL,
    SPACE,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    ModelProto,
    Piece,
)
from llama_course.tokenizers.utf8 import begins_a_character, check_surrogates

# Stands for a U+2581 of the text, which is no space: half a character is in no text and no piece.
_LITERAL = "\udb81"
_BYTE_BY_BYTE = "llama_course.byte_by_byte"
codecs.register_error(
    _BYTE_BY_BYTE,
    lambda error: ("\N{REPLACEMENT CHARACTER}", error.start + 1),  # type: ignore[attr-defined]
)


class ScratchSentencePiece:
    """A `tokenizer.model`, or llama2.c's `tokenizer.bin`: text to ids and back.

    It takes and gives what `SentencePieceTokenizer` does, the one character U+2581 included (which
    the library reads as a space, and which is spelled in bytes here). `vocab_size`, where given,
    must be the number of tokens in the file. `unk_id`, `bos_id`, `eos_id` and `pad_id` are -1
    where there is none.

    Raises `CourseError` for a file that cannot be read, and for settings that are not done here: a
    Unigram model, a table of normalisation, spaces that are joined or stand behind words.
    """

    def __init__(self, path: str | Path, vocab_size: int | None = None) -> None:
        self._load(read_model(Path(path)), str(path), vocab_size)

    @classmethod
    def from_bytes(
        cls, data: bytes, vocab_size: int | None = None, name: str = "the tokenizer"
    ) -> ScratchSentencePiece:
        """From the content of a tokenizer.model or tokenizer.bin; `name` is used in errors."""
        self = cls.__new__(cls)
        self._load(data, name, vocab_size)
        return self

    def _load(self, data: bytes, name: str, vocab_size: int | None) -> None:
        if llama2c.is_tokenizer_bin(data):
            data = llama2c.parse(data, name).to_bytes()
        self.model_proto = data  # the bytes of a tokenizer.model
        self.proto = parse_model(data, name)
        pieces = self.proto.pieces
        if vocab_size is not None and vocab_size != len(pieces):
            raise CourseError(
                f"{name} holds {len(pieces)} tokens, expected {vocab_size}; "
                "take the tokenizer that belongs to the model."
            )
        if (reason := _broken(self.proto)) is not None:
            raise CourseError(f"{name} {reason}; fetch the file again.")
        if (reason := _not_done(self.proto, data)) is not None:
            raise CourseError(
                f"{name} {reason}; ScratchSentencePiece does LLaMA's kind only, "
                "so read it with SentencePieceTokenizer."
            )
        self.vocab_size = len(pieces)
        self.unk_id = next(i for i, piece in enumerate(pieces) if piece.type == UNKNOWN)
        self.bos_id, self.eos_id = self.proto.bos_id, self.proto.eos_id
        self.pad_id = self.proto.pad_id
        self._score = {piece.text: piece.score for piece in pieces if piece.type == NORMAL}
        self._id_of = {p.text: i for i, p in enumerate(pieces) if p.type in (NORMAL, USER_DEFINED)}
        self._byte_of = {i: _byte(p) for i, p in enumerate(pieces) if p.type == BYTE}
        self._id_of_byte = {byte[0]: i for i, byte in self._byte_of.items()}
        self._surface = [self._surface_of(piece) for piece in pieces]
        whole = [piece.text for piece in pieces if piece.type == USER_DEFINED]
        self._cuts = _any_of(whole) if whole else None

    # ---- text to ids --------------------------------------------------------------------------

    def encode(self, text: str, bos: bool = False, eos: bool = False) -> list[int]:
        """The ids of `text`; `bos` and `eos` put the begin and end tokens around them.

        Raises `CourseError` for a lone surrogate, half of a character, which is no text.
        """
        check_surrogates(text)
        ids: list[int] = []
        for symbols in self._unmerged(self._with_spaces_shown(text)):
            ids.extend(self._ids(merge(symbols, self._score)))
        if bos:
            ids.insert(0, self._special(self.bos_id, "begin (BOS)"))
        if eos:
            ids.append(self._special(self.eos_id, "end (EOS)"))
        return ids

    def _with_spaces_shown(self, text: str) -> str:
        """U+2581 for every space, and one before the text: "the" at the start is as within it."""
        if not text:
            return ""
        if self.proto.byte_fallback:
            text = text.replace(SPACE, _LITERAL)
        prefix = SPACE if self.proto.add_dummy_prefix else ""
        return prefix + text.replace(" ", SPACE)

    def _unmerged(self, text: str) -> Iterator[list[str]]:
        """The characters of the text. A user-defined piece is taken whole and merges no more."""
        parts = self._cuts.split(text) if self._cuts else [text]
        for number, part in enumerate(parts):  # every second one is a user-defined piece
            yield [part] if number % 2 else list(part)

    def _ids(self, symbols: Iterable[str]) -> Iterator[int]:
        """The id of each symbol; a character without a piece is spelled in its bytes."""
        for known, run in groupby(symbols, self._id_of.__contains__):
            if known:
                yield from map(self._id_of.__getitem__, run)
            elif self.proto.byte_fallback:
                data = "".join(run).replace(_LITERAL, SPACE).encode("utf-8")
                yield from map(self._id_of_byte.__getitem__, data)
            else:
                yield self.unk_id  # one for the whole run

    # ---- ids to text --------------------------------------------------------------------------

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`. Control tokens give nothing, and an invalid byte gives U+FFFD.

        The space that encoding puts before a text is taken away again.
        """
        out: list[str] = []
        spelled = bytearray()  # a character's bytes stand in several ids
        may_be_prefix = self.proto.add_dummy_prefix
        ids = [int(token) for token in ids]
        if ids and not 0 <= min(ids) <= max(ids) < self.vocab_size:
            for token in ids:
                self._checked(token)
        for token in ids:
            byte = self._byte_of.get(token)
            if byte is not None:
                spelled += byte
                may_be_prefix = False
                continue
            if spelled:
                out.append(_text(spelled))
                spelled.clear()
            surface = self._surface[token]
            if may_be_prefix and surface:
                may_be_prefix = False
                if token != self.unk_id and self.proto.pieces[token].text[0] == SPACE:
                    surface = surface[1:]
            out.append(surface)
        if spelled:
            out.append(_text(spelled))
        return "".join(out)

    def _surface_of(self, piece: Piece) -> str:
        if piece.type == CONTROL:
            return ""
        if piece.type == UNKNOWN:
            return self.proto.unk_surface
        return piece.text.replace(SPACE, " ")

    def unfinished(self, ids: list[int]) -> int:
        """How many bytes at the end of `ids` begin a character that more ids can complete.

        `decode` shows each of them as one U+FFFD until then.
        """
        tail = b""
        for token in reversed(ids[-3:]):
            byte = self._byte_of.get(int(token))
            if byte is None:
                return 0
            tail = byte + tail
            if byte >= b"\xc0":  # the first byte of a character, if of any
                return len(tail) if begins_a_character(tail) else 0
        return 0

    # ---- what is in the file ------------------------------------------------------------------

    def id_to_piece(self, token: int) -> str:
        """The piece as SentencePiece writes it: U+2581 for a space, `<0x0A>` for a byte."""
        return self.proto.pieces[self._checked(token)].text

    def score(self, token: int) -> float:
        """The piece's score; of two possible merges, the one with the higher score comes first."""
        return self.proto.pieces[self._checked(token)].score

    def save(self, path: str | Path) -> None:
        """Write a tokenizer.model: the bytes that were read, or those that a tokenizer.bin says."""
        with written_beside(Path(path)) as new:
            new.write_bytes(self.model_proto)

    def _checked(self, token: int) -> int:
        token = int(token)
        if not 0 <= token < self.vocab_size:
            raise CourseError(
                f"There is no token {token}; the tokenizer's ids are 0 to {self.vocab_size - 1}."
            )
        return token

    def _special(self, token: int, name: str) -> int:
        if token < 0:
            raise CourseError(f"This tokenizer has no {name} token; encode without it.")
        return token


def merge(symbols: Iterable[str], score: Mapping[str, float]) -> list[str]:
    """Merge two neighbours as long as any two make a piece: the highest score first, of equal
    ones the leftmost.

    A heap holds the pairs that wait, and a linked list the symbols that are left, so a text of n
    characters takes n log n steps. Looking for the best pair anew each time would take n squared.

    >>> merge("aab", {"aa": -1.0, "ab": -0.5})
    ['a', 'ab']
    """
    symbols = list(symbols)
    end = len(symbols)
    before, after = list(range(-1, end - 1)), list(range(1, end + 1))
    waiting = [
        (-score[left + right], i, left + right)
        for i, (left, right) in enumerate(pairwise(symbols))
        if left + right in score
    ]
    heapify(waiting)
    while waiting:
        _, i, piece = heappop(waiting)
        j = after[i]
        if not symbols[i] or j == end or symbols[i] + symbols[j] != piece:
            continue  # one of the two has merged with its other neighbour
        symbols[i], symbols[j] = piece, ""
        k = after[i] = after[j]
        if k < end:
            before[k] = i
            if (longer := piece + symbols[k]) in score:
                heappush(waiting, (-score[longer], i, longer))
        if (h := before[i]) >= 0 and (longer := symbols[h] + piece) in score:
            heappush(waiting, (-score[longer], h, longer))
    return [symbol for symbol in symbols if symbol]


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    """Where one of these begins, the longest of them; `split` gives what was found as well."""
    return re.compile("(" + "|".join(map(re.escape, sorted(texts, key=len, reverse=True))) + ")")


def _text(data: bytes | bytearray) -> str:
    """Bytes as text, one U+FFFD for each that is no part of a character.

    Python's own `errors="replace"` gives one for several bytes that begin a character.
    """
    return data.decode("utf-8", _BYTE_BY_BYTE)


def _byte(piece: Piece) -> bytes:
    return bytes([int(piece.text[3:5], 16)])


# Settings of LLaMA's tokenizer, and what a file with another value asks for.
_SETTINGS = {
    "model_type": (BPE, "is no byte-pair model (perhaps a Unigram one)"),
    "normalization": (b"", "changes characters by a table before it encodes them"),
    "remove_extra_whitespaces": (False, "joins spaces that stand side by side"),
    "whitespace_as_suffix": (False, "puts spaces at the end of its pieces"),
    "escape_whitespaces": (True, "does not write spaces as U+2581"),
}


def _not_done(model: ModelProto, data: bytes) -> str | None:
    """What this model asks for and this file does not do; None where that is nothing."""
    for name, (value, words) in _SETTINGS.items():
        if getattr(model, name) != value:
            return words
    if sum(piece.type == UNKNOWN for piece in model.pieces) != 1:
        return "has not exactly one piece for what is unknown"
    if any(piece.type == UNUSED for piece in model.pieces):
        return "has pieces marked as unused"
    # Field 5 is the table for decoding, empty in LLaMA's file.
    for number, value in protobuf.fields(data):
        if number == 5 and isinstance(value, bytes) and dict(protobuf.fields(value)).get(2):
            return "changes characters by a table after it has decoded them"
    return None


def _broken(model: ModelProto) -> str | None:
    """What the library would refuse in this model; None where that is nothing."""
    for kinds in ((NORMAL, USER_DEFINED), (CONTROL, UNKNOWN, BYTE)):
        names = [piece.text for piece in model.pieces if piece.type in kinds]
        if len(set(names)) < len(names):
            return "has the same piece twice"
    found = {piece.text for piece in model.pieces if piece.type == BYTE}
    expected = {f"<0x{byte:02X}>" for byte in range(256)} if model.byte_fallback else set()
    return None if found == expected else "has not the pieces of all 256 bytes that it should have"
