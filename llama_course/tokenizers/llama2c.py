"""llama2.c's `tokenizer.bin`: the vocabulary and the scores of a SentencePiece model, no more.

Little-endian: the length of the longest token in bytes (uint32), then for each id its score
(float32), its length in bytes (uint32) and its bytes. The number of tokens is not in the file.
Spaces are spaces, not U+2581; ids 1 and 2 are `<s>` and `</s>` between newlines; the tokens of
single bytes keep their names, `<0x0A>`. Everything else is understood: LLaMA's settings.
Source: `tokenizer.py` and `run.c` of github.com/karpathy/llama2.c.
"""

from __future__ import annotations

import struct

from llama_course.errors import CourseError
from llama_course.tokenizers.model_proto import (
    BPE,
    BYTE,
    CONTROL,
    LLAMA_UNK_SURFACE,
    NORMAL,
    SPACE,
    UNKNOWN,
    ModelProto,
    Piece,
)

_FIRST = struct.pack("<I", 5) + b"<unk>"  # the length and the bytes of token 0
_SPECIAL = {0: ("<unk>", UNKNOWN), 1: ("<s>", CONTROL), 2: ("</s>", CONTROL)}
_BYTES = frozenset(f"<0x{b:02X}>" for b in range(256))

# The settings that the file does not say: those of LLaMA's tokenizer.
_SETTINGS = {
    "model_type": BPE,
    "byte_fallback": True,
    "whitespace_as_suffix": False,
    "unk_id": 0,
    "bos_id": 1,
    "eos_id": 2,
    "pad_id": -1,
    "unk_piece": "<unk>",
    "bos_piece": "<s>",
    "eos_piece": "</s>",
    "unk_surface": LLAMA_UNK_SURFACE,
    "normalization": b"",
    "add_dummy_prefix": True,
    "remove_extra_whitespaces": False,
    "escape_whitespaces": True,
}


def is_tokenizer_bin(data: bytes) -> bool:
    """Whether these bytes begin as a tokenizer.bin does: with `<unk>` as token 0."""
    return data[8 : 8 + len(_FIRST)] == _FIRST


def parse(data: bytes, name: str) -> ModelProto:
    """The SentencePiece model that a tokenizer.bin was made from; `name` is used in errors."""
    pieces: list[Piece] = []
    at = 4
    while at < len(data):
        if at + 8 > len(data):
            raise _cut_short(name, len(pieces))
        score, size = struct.unpack_from("<fI", data, at)
        at += 8
        if at + size > len(data):
            raise _cut_short(name, len(pieces))
        try:
            text = data[at : at + size].decode("utf-8")
        except UnicodeDecodeError:
            raise CourseError(
                f"{name} is damaged: token {len(pieces)} is not UTF-8; fetch the file again."
            ) from None
        at += size
        pieces.append(_piece(len(pieces), text, score))
    missing = _BYTES - {piece.text for piece in pieces}
    if missing:
        raise CourseError(
            f"{name} lacks {len(missing)} of the 256 byte tokens (such as {min(missing)}), "
            f"which a tokenizer.bin has; it holds {len(pieces)} tokens and may be cut short."
        )
    settings = {**_SETTINGS, "split_digits": True, "allow_whitespace_only_pieces": True}
    return ModelProto(pieces=tuple(pieces), **settings)  # type: ignore[arg-type]


def to_bytes(model: ModelProto) -> bytes:
    """The tokenizer.bin of a SentencePiece model.

    Raises `CourseError`, naming the first setting, for a model that reading the file back would
    not give again.
    """
    for name, expected in _SETTINGS.items():
        found = getattr(model, name)
        if found != expected:
            raise CourseError(
                f"tokenizer.bin cannot say that {name} is {found!r} (it stands for {expected!r}); "
                "save this tokenizer as a tokenizer.model."
            )
    records = []
    for i, piece in enumerate(model.pieces):
        text = piece.text.replace(SPACE, " ")
        if i in (1, 2):
            text = f"\n{text}\n"
        if _piece(i, text, piece.score) != piece:
            raise CourseError(
                f"tokenizer.bin cannot hold token {i}, {piece.text!r}, as the kind of token that "
                "it is here; save this tokenizer as a tokenizer.model."
            )
        data = text.encode("utf-8")
        records.append(struct.pack("<fI", piece.score, len(data)) + data)
    longest = max(len(record) - 8 for record in records)
    return struct.pack("<I", longest) + b"".join(records)


def _piece(token: int, text: str, score: float) -> Piece:
    if token in _SPECIAL:
        text, kind = _SPECIAL[token]
        return Piece(text, score, kind)
    return Piece(text.replace(" ", SPACE), score, BYTE if text in _BYTES else NORMAL)


def _cut_short(name: str, token: int) -> CourseError:
    return CourseError(f"{name} is cut short: it ends inside token {token}; fetch the file again.")
