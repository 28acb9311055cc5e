"""`tokenizer.json` of Hugging Face, as far as it describes a byte-level BPE.

The file lists steps: a normalizer that changes the text, a pre-tokenizer that cuts it, a model, a
post-processor that adds special tokens, a decoder. GPT-2's pre-tokenizer is `ByteLevel`, with its
pattern built in; Llama 3's is `Split` with a pattern, then `ByteLevel` without. What changes ids
in any other way is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import regex

from llama_course.errors import CourseError
from llama_course.tokenizers.bpe_files import parse_ids, parse_merges, parse_tokens, read_json
from llama_course.tokenizers.bpe_model import BOS_NAMES, EOS_NAMES, BPEModel, usual
from llama_course.tokenizers.byte_alphabet import to_text
from llama_course.tokenizers.pre_tokens import GPT2_PATTERN
from llama_course.tokenizers.tokenizer_json import added_token, begin_template


class NotByteLevelBPE(CourseError):
    """A file in good order that describes a tokenizer of another kind."""


def read(path: Path) -> BPEModel:
    """The byte-level BPE that a tokenizer.json describes.

    The begin and end tokens are those of the tokenizer_config.json beside it; where that does not
    say, those that the post-processor adds; else those with a usual name.
    """
    content = read_json(path, "tokenizer.json")
    model = content.get("model")
    if not isinstance(model, dict):
        raise CourseError(f"{path} has no model; a tokenizer.json with a byte-level BPE has one.")
    reason = _other_model(model) or _other_steps(content)
    pattern = None if reason else _pattern(content.get("pre_tokenizer"))
    if pattern is None:
        reason = reason or "cuts text into words in a way that is not done here"
        raise NotByteLevelBPE(
            f"{path} {reason}; only a byte-level BPE like GPT-2's and Llama 3's is read."
        )
    special = _special_tokens(content.get("added_tokens") or [], path)
    vocab = dict(parse_ids(model.get("vocab"), path))
    for text, i in special.items():
        if vocab.get(text) == i:  # GPT-2's vocabulary has its special token among the others
            del vocab[text]
    bos, eos = _ends(content.get("post_processor"), special, path.parent)
    return BPEModel(
        tokens=parse_tokens(vocab, path),
        merges=parse_merges(model.get("merges"), path),
        pattern=pattern,
        special_tokens=special,
        bos_token=bos,
        eos_token=eos,
        whole_words=bool(model.get("ignore_merges")),
    )


def _other_model(model: dict[str, Any]) -> str | None:
    """What the model does that a byte-level BPE does not."""
    if model.get("type", "BPE") != "BPE":
        return f"describes a model of the type {model['type']}"
    if "merges" not in model:
        return "describes a model without merges"
    if model.get("byte_fallback"):
        return "spells only unknown characters in bytes, as SentencePiece does"
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(name):
            return f"sets {name} to {model[name]!r}"
    return None


def _other_steps(content: dict[str, Any]) -> str | None:
    for step in _steps(content.get("normalizer"), "normalizers"):
        return f"changes text before it is encoded (normalizer {step.get('type')})"
    for step in _steps(content.get("decoder"), "decoders"):
        if step.get("type") != "ByteLevel":
            return f"decodes by {step.get('type')}, not from bytes"
    return None


def _steps(step: Any, name: str) -> Iterator[dict[str, Any]]:
    """The steps in order, those of a sequence each for itself."""
    if not isinstance(step, dict):
        return
    if step.get("type") != "Sequence":
        yield step
        return
    for inner in step.get(name) or []:
        yield from _steps(inner, name)


def _pattern(pre_tokenizer: Any) -> str | None:
    """The pattern that does what the pre-tokenizer does, or None where none does."""
    steps = list(_steps(pre_tokenizer, "pretokenizers"))
    last = steps.pop() if steps else {}
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space", True):
        return None
    match steps:
        case []:
            return GPT2_PATTERN if last.get("use_regex", True) else None
        case [{"type": "Split", "behavior": "Isolated", "pattern": dict(pattern)} as split]:
            if split.get("invert") or last.get("use_regex", True):
                return None
            text = pattern.get("String")
            found = pattern.get("Regex") if text is None else regex.escape(text)
            return found if isinstance(found, str) else None
    return None


def _special_tokens(added: Any, path: Path) -> dict[str, int]:
    special: dict[str, Any] = {}
    if not isinstance(added, list):
        raise CourseError(f"{path} has no list of added tokens; it is damaged.")
    for token in added:
        if not isinstance(token, dict) or not isinstance(token.get("content"), str):
            raise CourseError(f"{path} has an added token without text; it is damaged.")
        text, i = token["content"], token.get("id")
        asked = [name for name in ("lstrip", "rstrip", "single_word") if token.get(name)]
        if not token.get("special") or asked:
            what = f"with {' and '.join(asked)}" if asked else "that is not a special token"
            raise NotByteLevelBPE(
                f"{path} adds the token {text!r} {what}, which is not done here; "
                "only added tokens that are special and taken exactly as written are read."
            )
        special[text] = i
    return parse_ids(special, path)


def _ends(post_processor: Any, special: dict[str, int], folder: Path) -> tuple[str, str]:
    """The names of the begin and the end token, "" where there is none."""
    config = folder / "tokenizer_config.json"
    said = read_json(config, "tokenizer_config.json") if config.is_file() else {}
    first, last = "", ""
    for step in _steps(post_processor, "processors"):
        template = step.get("single")
        if step.get("type") == "TemplateProcessing" and isinstance(template, list) and template:
            first, last = (_special_name(template[i]) for i in (0, -1))
    bos = _said(said, "bos_token", first or usual(BOS_NAMES, special))
    eos = _said(said, "eos_token", last or usual(EOS_NAMES, special))
    return bos if bos in special else "", eos if eos in special else ""


def _special_name(item: Any) -> str:
    """The special token of one item of a template, "" where the item is the text."""
    token = item.get("SpecialToken") if isinstance(item, dict) else None
    return str(token["id"]) if isinstance(token, dict) and "id" in token else ""


def _said(config: dict[str, Any], name: str, default: str) -> str:
    token = config.get(name, default)
    if isinstance(token, dict):  # an AddedToken, written out
        token = token.get("content")
    return token if isinstance(token, str) else ""


# ---- writing ------------------------------------------------------------------------------------


def tokenizer_json(model: BPEModel) -> dict[str, Any]:
    """The content of a `tokenizer.json` with which transformers gives the same ids.

    Where the model has no list of merges, every pair of tokens that makes a token is listed, in
    the order of the ids that they make.
    """
    merges = _merges_by_ids(model) if model.merges is None else model.merges
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    if model.pattern == GPT2_PATTERN:
        pre_tokenizer = {**byte_level, "use_regex": True}
    else:
        split = {"type": "Split", "behavior": "Isolated", "invert": False}
        split["pattern"] = {"Regex": model.pattern}
        steps = [split, {**byte_level, "use_regex": False}]
        pre_tokenizer = {"type": "Sequence", "pretokenizers": steps}
    special = sorted(model.special_tokens.items(), key=lambda item: item[1])
    bos = model.bos_token
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added_token(text, i) for text, i in special],
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": begin_template(bos, model.special_tokens[bos]) if bos else None,
        "decoder": {**byte_level, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": model.whole_words,
            "vocab": {to_text(token): i for token, i in model.tokens.items()},
            "merges": [[to_text(left), to_text(right)] for left, right in merges],
        },
    }


def _merges_by_ids(model: BPEModel) -> list[tuple[bytes, bytes]]:
    ids = model.tokens
    splits = (
        (ids[token], ids[token[:at]], token[:at], token[at:])
        for token in ids
        for at in range(1, len(token))
        if token[:at] in ids and token[at:] in ids
    )
    return [(left, right) for *_, left, right in sorted(splits)]
