"""What a SentencePiece `tokenizer.model` says: its pieces, and how text is prepared for them.

The file is a protobuf message named `ModelProto`. Field numbers are those of
`sentencepiece_model.proto` in SentencePiece's repository.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from typing import Any

from llama_course.tokenizers import protobuf

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
BPE = 2

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece writes a space as U+2581 inside its pieces
LLAMA_UNK_SURFACE = " \N{DOUBLE QUESTION MARK} "  # what decoding gives for the unknown token


@dataclass(frozen=True)
class Piece:
    """One entry of the vocabulary; its id is its place. Pairs of higher `score` merge first."""

    text: str
    score: float
    type: int = NORMAL


@dataclass(frozen=True)
class ModelProto:
    """The parts of a tokenizer.model that decide what it does. Defaults are the format's own.

    `unk_id` and its like are -1 where there is no such token. `normalization` is the compiled
    table of character replacements; LLaMA's is empty (identity).
    """

    pieces: tuple[Piece, ...] = field(repr=False)
    model_type: int = 1
    byte_fallback: bool = False
    split_digits: bool = False
    allow_whitespace_only_pieces: bool = False
    whitespace_as_suffix: bool = False
    unk_id: int = 0
    bos_id: int = 1
    eos_id: int = 2
    pad_id: int = -1
    unk_piece: str = "<unk>"
    bos_piece: str = "<s>"
    eos_piece: str = "</s>"
    pad_piece: str = "<pad>"
    unk_surface: str = LLAMA_UNK_SURFACE
    normalization: bytes = b""
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True
    escape_whitespaces: bool = True

    @classmethod
    def parse(cls, data: bytes) -> ModelProto:
        """Read the bytes of a tokenizer.model. Raises `ValueError` saying what is wrong."""
        pieces: list[Piece] = []
        values: dict[str, Any] = {}
        seen = set()
        for number, value in protobuf.fields(data):
            seen.add(number)
            if not isinstance(value, bytes) or number == 0:
                raise ValueError(f"field {number} of the message is not one of the format's")
            if number == 1:
                pieces.append(_parse_piece(value))
            elif number == 2:
                values |= _chosen(value, _TRAINER_FIELDS)
            elif number == 3:
                values |= _chosen(value, _NORMALIZER_FIELDS)
        if not pieces:
            raise ValueError("it holds no pieces")
        if not {2, 3} <= seen:
            raise ValueError(f"it ends after {len(pieces)} pieces, before its settings")
        found = cls(pieces=tuple(pieces), **values)
        # As the library does, special tokens are found by name: the settings' ids are for training.
        id_of = {p.text: i for i, p in enumerate(pieces) if p.type in (CONTROL, UNKNOWN)}
        return replace(
            found,
            unk_id=id_of.get(found.unk_piece, -1),
            bos_id=id_of.get(found.bos_piece, -1),
            eos_id=id_of.get(found.eos_piece, -1),
            pad_id=id_of.get(found.pad_piece, -1),
        )

    def to_bytes(self) -> bytes:
        """The bytes of a tokenizer.model with this content."""
        out = [protobuf.field(1, _piece_bytes(piece)) for piece in self.pieces]
        trainer = protobuf.field(4, len(self.pieces))
        trainer += b"".join(
            protobuf.field(number, getattr(self, name)) for number, name in _TRAINER_FIELDS.items()
        )
        normalizer = protobuf.field(1, "identity") if not self.normalization else b""
        normalizer += b"".join(
            protobuf.field(number, getattr(self, name))
            for number, name in _NORMALIZER_FIELDS.items()
        )
        return b"".join([*out, protobuf.field(2, trainer), protobuf.field(3, normalizer)])


_TRAINER_FIELDS = {
    3: "model_type",
    24: "whitespace_as_suffix",
    25: "split_digits",
    26: "allow_whitespace_only_pieces",
    35: "byte_fallback",
    40: "unk_id",
    41: "bos_id",
    42: "eos_id",
    43: "pad_id",
    44: "unk_surface",
    45: "unk_piece",
    46: "bos_piece",
    47: "eos_piece",
    48: "pad_piece",
}
_NORMALIZER_FIELDS = {
    2: "normalization",
    3: "add_dummy_prefix",
    4: "remove_extra_whitespaces",
    5: "escape_whitespaces",
}


def _chosen(data: bytes, names: dict[int, str]) -> dict[str, Any]:
    """The fields of a message that have a name in `names`, each in its Python type."""
    out: dict[str, Any] = {}
    for number, value in protobuf.fields(data):
        name = names.get(number)
        if name is None:
            continue
        kind = ModelProto.__annotations__[name]
        if isinstance(value, bytes) != (kind in ("str", "bytes")):
            raise ValueError(f"the setting {name} has the wrong type")
        if isinstance(value, int):
            out[name] = bool(value) if kind == "bool" else protobuf.signed(value)
        else:
            out[name] = value.decode("utf-8") if kind == "str" else value
    return out


def _parse_piece(data: bytes) -> Piece:
    text, score, kind = "", 0.0, NORMAL
    for number, value in protobuf.fields(data):
        if number == 1 and isinstance(value, bytes):
            text = value.decode("utf-8")
        elif number == 2 and isinstance(value, bytes) and len(value) == 4:
            (score,) = struct.unpack("<f", value)
        elif number == 3 and isinstance(value, int):
            kind = value
        elif number <= 3:
            raise ValueError(f"a piece's field {number} has the wrong type")
    if not text:
        raise ValueError("a piece has no text")
    return Piece(text, score, kind)


def _piece_bytes(piece: Piece) -> bytes:
    out = protobuf.field(1, piece.text) + protobuf.field(2, float(piece.score))
    return out if piece.type == NORMAL else out + protobuf.field(3, piece.type)
