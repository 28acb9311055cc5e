"""Files of a byte-level BPE: this library's own, and GPT-2's two.

Ours is one JSON object with all of a `BPEModel`, for reading in an editor as well: tokens and
merges are written in GPT-2's alphabet of bytes (`byte_alphabet.py`), a merge as `"Ġ t"`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_course.errors import CourseError
from llama_course.files import write_text
from llama_course.tokenizers.bpe_model import BOS_NAMES, EOS_NAMES, BPEModel, usual
from llama_course.tokenizers.byte_alphabet import to_bytes, to_text
from llama_course.tokenizers.foreign import is_tiktoken, kind_of, read_file

FORMAT = "llama_course byte-level BPE 1"
_EXPECTED = "file that BPETokenizer.save wrote"
_FIELDS: dict[str, tuple[type, ...]] = {
    "pattern": (str,),
    "special_tokens": (dict,),
    "bos_token": (str,),
    "eos_token": (str,),
    "whole_words": (bool,),
    "tokens": (dict,),
    "merges": (list, type(None)),
}


def write(model: BPEModel, path: Path) -> None:
    """Write the model so that `read` gives it again; all or nothing."""
    merges = model.merges
    content = {
        "format": FORMAT,
        "pattern": model.pattern,
        "special_tokens": dict(model.special_tokens),
        "bos_token": model.bos_token,
        "eos_token": model.eos_token,
        "whole_words": model.whole_words,
        "tokens": {to_text(token): i for token, i in model.tokens.items()},
        "merges": None if merges is None else [" ".join(map(to_text, pair)) for pair in merges],
    }
    write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def is_ours(data: bytes) -> bool:
    """Whether this is the beginning of a file that `write` wrote."""
    return data[:200].split()[:3] == b'{ "format": "llama_course'.split()


def read(path: Path) -> BPEModel:
    """The model that `write` wrote to this file."""
    content = read_json(path, _EXPECTED)
    if content.get("format") != FORMAT:
        raise CourseError(
            f"{path} is no {_EXPECTED}: its format is {content.get('format')!r}, expected "
            f"{FORMAT!r}; a tokenizer.json is read by BPETokenizer.from_tokenizer_json."
        )
    for name, kinds in _FIELDS.items():
        if name not in content or not isinstance(content[name], kinds):
            raise CourseError(
                f"{path} has no {name!r} of the kind that BPETokenizer.save writes; it is damaged, "
                "so save the tokenizer again."
            )
    return BPEModel(
        tokens=parse_tokens(content["tokens"], path),
        merges=None if content["merges"] is None else parse_merges(content["merges"], path),
        pattern=content["pattern"],
        special_tokens=parse_ids(content["special_tokens"], path),
        bos_token=content["bos_token"],
        eos_token=content["eos_token"],
        whole_words=content["whole_words"],
    )


def read_gpt2(vocab: Path, merges: Path, special_tokens: Sequence[str]) -> BPEModel:
    """GPT-2's `vocab.json` and `merges.txt`, whose first line names its version."""
    ids = parse_ids(read_json(vocab, "vocab.json"), vocab)
    special = {text: ids.pop(text) for text in special_tokens if text in ids}
    data = read_file(merges, "merges.txt")
    kind = kind_of(data)
    try:
        lines = data.decode("utf-8").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError:
        kind = kind or "not text"
    if kind is not None:
        raise CourseError(f"{merges} is no merges.txt but {kind}; give GPT-2's list of merges.")
    if lines[-1] != "":
        raise CourseError(f"{merges} is cut short: its last line has no end; fetch it again.")
    if lines[0].startswith("#version"):
        lines = lines[1:]
    return BPEModel(
        tokens=parse_tokens(ids, vocab),
        merges=parse_merges([line for line in lines if line], merges),
        special_tokens=special,
        bos_token=usual(BOS_NAMES, special),
        eos_token=usual(EOS_NAMES, special),
    )


# ---- what files of byte-level BPE share ---------------------------------------------------------


def read_json(path: Path, expected: str) -> dict[str, Any]:
    """The JSON object in a file."""
    data = read_file(path, expected)
    kind = kind_of(data)
    if is_tiktoken(data):
        kind = "a tokenizer of the tiktoken kind (Llama 3), which TiktokenTokenizer reads"
    elif data.startswith(b"#version"):
        kind = "GPT-2's list of merges"
    if kind is not None and not data.lstrip().startswith(b"{"):
        raise CourseError(f"{path} is no {expected} but {kind}.")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CourseError(
            f"{path} is not whole JSON ({error}); a {expected} was expected, and this may be cut "
            "short, so fetch it again."
        ) from None
    if not isinstance(content, dict):
        raise CourseError(
            f"{path} holds a JSON {type(content).__name__}, but a {expected} is an object."
        )
    return content


def parse_ids(vocab: Any, path: Path) -> dict[str, int]:
    """A vocabulary as JSON has it, text to id, with every id looked at."""
    if not isinstance(vocab, dict):
        raise CourseError(f"{path} has no vocabulary that maps tokens to ids.")
    for text, i in vocab.items():
        if type(i) is not int:
            raise CourseError(f"{path} gives the token {text!r} the id {i!r}, which is no integer.")
    return vocab


def parse_tokens(vocab: Any, path: Path) -> dict[bytes, int]:
    """The tokens of a vocabulary that is written in GPT-2's alphabet, as bytes."""
    ids = parse_ids(vocab, path)
    return {_bytes(text, text, path): i for text, i in ids.items()}


def parse_merges(merges: Any, path: Path) -> list[tuple[bytes, bytes]]:
    """Merges as `"Ġ t"` or as `["Ġ", "t"]`, in bytes."""
    if not isinstance(merges, list):
        raise CourseError(f"{path} has no list of merges.")
    pairs = []
    for number, line in enumerate(merges):
        pair = line.split(" ") if isinstance(line, str) else line
        if not (isinstance(pair, list) and len(pair) == 2 and all(map(_is_text, pair))):
            raise CourseError(
                f"Merge {number} of {path} is {line!r}; expected two tokens with a space between."
            )
        pairs.append((_bytes(pair[0], line, path), _bytes(pair[1], line, path)))
    return pairs


def _is_text(part: object) -> bool:
    return isinstance(part, str)


def _bytes(text: str, whole: object, path: Path) -> bytes:
    try:
        return to_bytes(text)
    except ValueError as error:
        raise CourseError(
            f"{path} is not a byte-level vocabulary: {error} in {whole!r} (GPT-2's alphabet has "
            "256 signs, one for each byte)."
        ) from None
