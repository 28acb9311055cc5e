"""Tokenizers in checkpoint folders: finding ours, and writing what transformers reads.

transformers does not read a tokenizer.model as SentencePiece does: from it, it builds a tokenizer
of its own kind whose merges come in the order of the ids, not of the scores, and which treats a
leading space differently. So the same rules are written out as a `tokenizer.json`, which it takes
as it is, beside the tokenizer.model itself for every other reader.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llama_course.errors import CourseError
from llama_course.files import write_text
from llama_course.tokenizers import bpe_huggingface
from llama_course.tokenizers.bpe import BPETokenizer
from llama_course.tokenizers.bpe_files import is_ours
from llama_course.tokenizers.bpe_huggingface import NotByteLevelBPE
from llama_course.tokenizers.foreign import is_tiktoken
from llama_course.tokenizers.model_proto import (
    BPE,
    BYTE,
    CONTROL,
    NORMAL,
    SPACE,
    UNKNOWN,
    ModelProto,
)
from llama_course.tokenizers.protocol import Tokenizer
from llama_course.tokenizers.sentencepiece import SentencePieceTokenizer
from llama_course.tokenizers.tiktoken import TiktokenTokenizer
from llama_course.tokenizers.tokenizer_json import added_token, begin_template


def read_tokenizer(folder: str | Path) -> Tokenizer | None:
    """The tokenizer that belongs to a checkpoint folder (or to the file of a checkpoint).

    Looks for `tokenizer.model` (of SentencePiece, of Llama 3, or written by `BPETokenizer.save`),
    then llama2.c's `tokenizer.bin`, in the folder; in the folder above too if this is one of
    Meta's, whose tokenizer lies there. Then for a `tokenizer.json` that is a byte-level BPE. None
    where there is nothing to read: `no_tokenizer_reason` says why. Raises `CourseError` for a file
    that is broken.
    """
    path = _find(Path(folder))
    if path is None:
        return None
    if path.name == "tokenizer.json":
        try:
            return BPETokenizer.from_tokenizer_json(path)
        except NotByteLevelBPE:
            return None
    with path.open("rb") as stream:
        start = stream.read(200)
    if is_tiktoken(start):
        return TiktokenTokenizer(path)
    if is_ours(start):
        return BPETokenizer.load(path)
    return SentencePieceTokenizer(path)


def no_tokenizer_reason(folder: str | Path) -> str:
    """The sentence for the user when `read_tokenizer` gave None."""
    path, place = _find(Path(folder)), _as_folder(Path(folder))
    if path is None:
        return (
            f"The folder {place} has no tokenizer; put the model's tokenizer.model (or "
            "tokenizer.json, or llama2.c's tokenizer.bin) into it, or give the prompt as token ids."
        )
    if path.parent != place:
        return (
            f"The folder {place} has no tokenizer, and {path} in the folder above has another "
            "number of ids than the model; put the model's own tokenizer.model into the folder, "
            "or give the prompt as token ids."
        )
    try:
        BPETokenizer.from_tokenizer_json(path)
    except NotByteLevelBPE as error:
        return (
            f"{str(error).rstrip('.')}. Put the model's tokenizer.model beside it, or give the "
            "prompt as token ids."
        )
    return f"The tokenizer {path} can be read; load the checkpoint again."


def _as_folder(path: Path) -> Path:
    return path.parent if path.is_file() else path


def _places(folder: Path) -> list[Path]:
    meta = (folder / "params.json").is_file() or any(folder.glob("consolidated.*.pth"))
    return [folder, folder.resolve().parent] if meta else [folder]


def _find(path: Path) -> Path | None:
    folder = _as_folder(path)
    names = ("tokenizer.model", "tokenizer.bin")
    files = [place / name for place in _places(folder) for name in names]
    files.append(folder / "tokenizer.json")
    return next((file for file in files if file.is_file()), None)


def write_huggingface_tokenizer(tokenizer: Tokenizer, folder: str | Path) -> None:
    """Write the tokenizer so that transformers' `AutoTokenizer` gives the same ids.

    Files: `tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json`, and for a
    SentencePiece model its `tokenizer.model`.

    Two differences remain, both transformers' way: it reads `<s>` in a text as the control token
    (unless called with `split_special_tokens=True`), and U+2581 as a space, as SentencePiece does.
    Raises `CourseError` for a tokenizer that these files cannot express.
    """
    folder = Path(folder)
    if isinstance(tokenizer, SentencePieceTokenizer):
        content = tokenizer_json(tokenizer.proto)
        tokenizer.save(folder / "tokenizer.model")
        special = {
            f"{name}_token": tokenizer.id_to_piece(token)
            for name, token in _special_ids(tokenizer.proto).items()
        }
    elif isinstance(tokenizer, BPETokenizer):
        content = bpe_huggingface.tokenizer_json(tokenizer.model)
        ends = {"bos_token": tokenizer.model.bos_token, "eos_token": tokenizer.model.eos_token}
        special = {name: text for name, text in ends.items() if text}
    else:
        raise CourseError(
            f"A {type(tokenizer).__name__} cannot be written for Hugging Face; "
            "only a SentencePieceTokenizer and a BPETokenizer can."
        )
    config = {
        # Not LlamaTokenizer: that class would replace tokenizer.json's rules by its own.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": tokenizer.bos_id >= 0,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        **special,
    }
    _write_json(folder / "tokenizer.json", content)
    _write_json(folder / "special_tokens_map.json", special)
    _write_json(folder / "tokenizer_config.json", config)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_text(path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")


def _special_ids(model: ModelProto) -> dict[str, int]:
    ids = {"bos": model.bos_id, "eos": model.eos_id, "unk": model.unk_id, "pad": model.pad_id}
    return {name: token for name, token in ids.items() if token >= 0}


def tokenizer_json(model: ModelProto) -> dict[str, Any]:
    """The content of a `tokenizer.json` that encodes as the SentencePiece model does."""
    expected = {
        "model_type": BPE,
        "byte_fallback": True,
        "normalization": b"",
        "add_dummy_prefix": True,
        "remove_extra_whitespaces": False,
        "escape_whitespaces": True,
        "whitespace_as_suffix": False,
    }
    for name, value in expected.items():
        if getattr(model, name) != value:
            raise CourseError(
                f"A tokenizer whose {name} is {getattr(model, name)!r} cannot be written as a "
                f"tokenizer.json with the same ids; LLaMA's is {value!r}."
            )
    for piece in model.pieces:
        if piece.type not in (NORMAL, BYTE, CONTROL, UNKNOWN):
            raise CourseError(
                f"The token {piece.text!r} is user-defined or unused in the SentencePiece model, "
                "which a tokenizer.json cannot express with the same ids."
            )
    special = [
        added_token(piece.text, i)
        for i, piece in enumerate(model.pieces)
        if piece.type in (CONTROL, UNKNOWN)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        # The dummy prefix and the sign for spaces, as SentencePiece's normaliser applies them.
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": SPACE},
                {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": _with_bos(model),
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": model.pieces[model.unk_id].text,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {piece.text: i for i, piece in enumerate(model.pieces)},
            "merges": [list(pair) for pair in merges(model)],
        },
    }


def merges(model: ModelProto) -> list[tuple[str, str]]:
    """Every way to make a piece of two others, in the order in which SentencePiece prefers them.

    SentencePiece merges the pair whose piece has the highest score, and of equal ones the
    leftmost. A list of merges ranks all pairs, so equal scores must be put in some order: the
    longer left part first, which is what merging from the left leaves.
    """
    score_of = {piece.text: piece.score for piece in model.pieces if piece.type == NORMAL}
    pairs = [
        (-score, -len(left), left, right)
        for text, score in score_of.items()
        for left, right in _splits(text)
        if left in score_of and right in score_of
    ]
    return [(left, right) for _, _, left, right in sorted(pairs, key=lambda pair: pair[:2])]


def _splits(text: str) -> Iterator[tuple[str, str]]:
    return ((text[:at], text[at:]) for at in range(1, len(text)))


def _with_bos(model: ModelProto) -> dict[str, Any] | None:
    return (
        None if model.bos_id < 0 else begin_template(model.pieces[model.bos_id].text, model.bos_id)
    )
