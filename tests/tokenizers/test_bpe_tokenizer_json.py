"""Hugging Face's tokenizer.json: read and written, beside the `tokenizers` library."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from itertools import islice, product
from pathlib import Path
from typing import Any

import pytest
from bpe_samples import PATTERNS, SAMPLES, SPECIAL, by_ids, trained

from llama_course.checkpoints import load, save
from llama_course.config import ModelConfig
from llama_course.errors import CourseError
from llama_course.model import Llama
from llama_course.tokenizers import (
    LLAMA3_PATTERN,
    BPETokenizer,
    TiktokenTokenizer,
    no_tokenizer_reason,
    read_tokenizer,
    write_huggingface_tokenizer,
)
from llama_course.tokenizers.bpe_huggingface import NotByteLevelBPE, tokenizer_json

which_pattern = pytest.mark.parametrize("which", PATTERNS)
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}


def gpt2_form(merges_as_text: bool = True) -> dict[str, Any]:
    """As GPT-2's own file is: no types named that later files name, merges as text, the special
    token among the vocabulary."""
    content = tokenizer_json(trained().model)
    model = content["model"]
    for name in ("type", "ignore_merges", "byte_fallback"):
        del model[name]
    model |= {"continuing_subword_prefix": "", "end_of_word_suffix": "", "unk_token": None}
    if merges_as_text:
        model["merges"] = [" ".join(pair) for pair in model["merges"]]
    model["vocab"] |= {name: i for name, i in trained().special_tokens.items() if " " not in name}
    content |= {"pre_tokenizer": BYTE_LEVEL, "decoder": BYTE_LEVEL}
    content["post_processor"] = BYTE_LEVEL | {"add_prefix_space": True}
    return content


def llama3_form() -> dict[str, Any]:
    """As Llama 3's is: a split by the pattern, words taken at once, the begin token added after."""
    content = tokenizer_json(by_ids("llama3").model)
    template = content["post_processor"]
    content["post_processor"] = {"type": "Sequence", "processors": [BYTE_LEVEL, template]}
    return content


FORMS = {
    "gpt2": gpt2_form,
    "gpt2 with pairs": lambda: gpt2_form(merges_as_text=False),
    "llama3": llama3_form,
    "written, gpt2": lambda: tokenizer_json(trained().model),
    "written, llama3": lambda: tokenizer_json(trained("llama3").model),
    "written, by ids": lambda: tokenizer_json(by_ids().model),
}


def written(folder: Path, content: Any) -> Path:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("form", FORMS)
def test_the_same_ids_as_the_library(form: str, tmp_path: Path):
    tokenizers = pytest.importorskip("tokenizers")
    path = written(tmp_path, FORMS[form]())
    ours, theirs = BPETokenizer.from_tokenizer_json(path), tokenizers.Tokenizer.from_file(str(path))
    assert ours.vocab_size == theirs.get_vocab_size()
    for text in SAMPLES[:-2]:  # without special tokens, which the library always reads as such
        ids = theirs.encode(text, add_special_tokens=False).ids
        assert ours.encode(text) == ids, repr(text)
        assert ours.decode(ids) == theirs.decode(ids) == text
    text = "<|begin_of_text|>hi there<|end_of_text|>"
    ids = theirs.encode(text, add_special_tokens=False).ids
    assert ours.encode(text, parse_special=True) == ids
    assert ours.decode(ids, keep_special=True) == text
    if ours.bos_id >= 0 and "gpt2" not in form:
        assert theirs.encode("hi").ids == ours.encode("hi", bos=True)


def test_llama3s_form_is_read_as_it_says(tmp_path: Path):
    tokenizer = BPETokenizer.from_tokenizer_json(written(tmp_path, llama3_form()))
    assert tokenizer.model.pattern == LLAMA3_PATTERN and tokenizer.model.whole_words
    assert (tokenizer.bos_id, tokenizer.eos_id) == (trained().bos_id, trained().eos_id)


@which_pattern
@pytest.mark.parametrize("kind", [trained, by_ids])
def test_transformers_reads_what_is_written(kind: Callable, which: str, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    ours = kind(which)
    write_huggingface_tokenizer(ours, tmp_path)
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert (theirs.bos_token_id, theirs.eos_token_id) == (ours.bos_id, ours.eos_id)
    for text in SAMPLES[:-2]:
        assert theirs.encode(text, add_special_tokens=False) == ours.encode(text), repr(text)
        assert theirs.encode(text) == ours.encode(text, bos=True)
        assert theirs.decode(ours.encode(text)) == text
    again = read_tokenizer(tmp_path)
    assert isinstance(again, BPETokenizer) and again.encode("hello") == ours.encode("hello")
    assert (again.bos_id, again.eos_id) == (ours.bos_id, ours.eos_id)


# ---- the begin and the end token ----------------------------------------------------------------


def ends(folder: Path, content: dict[str, Any], config: dict[str, Any] | None) -> tuple[str, str]:
    if config is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    model = BPETokenizer.from_tokenizer_json(written(folder, content)).model
    return model.bos_token, model.eos_token


def test_who_says_which_are_begin_and_end(tmp_path: Path):
    begin, end, ab, _ = SPECIAL
    content = tokenizer_json(trained().model)
    assert ends(tmp_path, content, None) == (begin, end)  # the template, the usual name
    content["post_processor"]["single"][0]["SpecialToken"]["id"] = ab
    assert ends(tmp_path, content, None) == (ab, end)
    content["post_processor"]["single"].append({"SpecialToken": {"id": begin, "type_id": 0}})
    assert ends(tmp_path, content, None) == (ab, begin)
    assert ends(tmp_path, content, {"eos_token": {"content": ab}}) == (ab, ab)
    assert ends(tmp_path, content, {"bos_token": end, "eos_token": None}) == (end, "")
    assert ends(tmp_path, content, {"bos_token": "<unknown>"}) == ("", begin)
    content["post_processor"] = None
    assert ends(tmp_path, content, {"model_max_length": 1024}) == (begin, end)


# ---- what is refused ----------------------------------------------------------------------------


def with_model(**changes: Any) -> Callable[[dict], object]:
    return lambda content: content["model"].update(changes)


def with_token(**changes: Any) -> Callable[[dict], object]:
    return lambda content: content["added_tokens"][1].update(changes)


def split(**changes: Any) -> Callable[[dict], object]:
    one = {"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Isolated", "invert": False}
    steps = [one | changes, BYTE_LEVEL | {"use_regex": False}]
    return lambda c: c.update(pre_tokenizer={"type": "Sequence", "pretokenizers": steps})


WORDS = "cuts text into words in a way"
OTHER_KINDS: dict[str, tuple[Callable[[dict], object], str]] = {
    "wordpiece": (with_model(type="WordPiece"), "a model of the type WordPiece"),
    "unigram": (with_model(type="Unigram", merges=None), "a model of the type Unigram"),
    "no merges": (lambda c: c["model"].pop("merges"), "a model without merges"),
    "byte fallback": (with_model(byte_fallback=True), "in bytes, as SentencePiece does"),
    "dropout": (with_model(dropout=0.1), "sets dropout to 0.1"),
    "prefix": (with_model(continuing_subword_prefix="##"), "continuing_subword_prefix to '##'"),
    "suffix": (with_model(end_of_word_suffix="</w>"), "end_of_word_suffix to '</w>'"),
    "normalizer": (lambda c: c.update(normalizer={"type": "NFC"}), r"\(normalizer NFC\)"),
    "normalizers": (
        lambda c: c.update(
            normalizer={"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "_"}]}
        ),
        r"\(normalizer Prepend\)",
    ),
    "decoder": (lambda c: c.update(decoder={"type": "Metaspace"}), "decodes by Metaspace"),
    "no words": (lambda c: c.update(pre_tokenizer=None), WORDS),
    "whitespace": (lambda c: c.update(pre_tokenizer={"type": "Whitespace"}), WORDS),
    "prefix space": (
        lambda c: c.update(pre_tokenizer=BYTE_LEVEL | {"add_prefix_space": True}),
        WORDS,
    ),
    "no pattern": (lambda c: c.update(pre_tokenizer=BYTE_LEVEL | {"use_regex": False}), WORDS),
    "digits": (split(type="Digits", individual_digits=True), WORDS),
    "removed": (split(behavior="Removed"), WORDS),
    "inverted": (split(invert=True), WORDS),
    "an odd pattern": (split(pattern={"Other": "a"}), WORDS),
    "added text": (with_token(special=False), r"'<\|end_of_text\|>' that is not a special token"),
    "strips": (with_token(lstrip=True, rstrip=True), "with lstrip and rstrip"),
    "words only": (with_token(single_word=True), "with single_word"),
}


@pytest.mark.parametrize("name", OTHER_KINDS)
def test_other_kinds_are_refused_and_the_model_still_loads(name: str, tmp_path: Path):
    change, message = OTHER_KINDS[name]
    content = tokenizer_json(trained("llama3").model)
    change(content)
    path = written(tmp_path, content)
    with pytest.raises(NotByteLevelBPE, match=message) as error:
        BPETokenizer.from_tokenizer_json(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert read_tokenizer(tmp_path) is None
    reason = no_tokenizer_reason(tmp_path)
    assert str(error.value).rstrip(".") in reason and "as token ids" in reason


DAMAGE: dict[str, tuple[Callable[[dict], object], str]] = {
    "no model": (lambda c: c.pop("model"), "has no model"),
    "no vocabulary": (with_model(vocab=None), "has no vocabulary"),
    "merges": (with_model(merges="a b"), "has no list of merges"),
    "a merge": (with_model(merges=[["a"]]), r"Merge 0 of .* is \['a'\]"),
    "a byte": (lambda c: c["model"]["vocab"].pop("a"), "lacks 1 of the 256 bytes"),
    "an added token": (lambda c: c["added_tokens"].append(3), "an added token without text"),
    "the added tokens": (lambda c: c.update(added_tokens=3), "no list of added tokens"),
    "an added id": (with_token(id="5"), "the id '5', which is no integer"),
    "an id twice": (with_token(id=97), r"the id 97 to both b'a' and '<\|end_of_text\|>'"),
    "a pattern": (split(pattern={"Regex": "("}), "cannot be read"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_an_error(name: str, tmp_path: Path):
    change, message = DAMAGE[name]
    content = tokenizer_json(trained("llama3").model)
    change(content)
    written(tmp_path, content)
    with pytest.raises(CourseError, match=message) as error:
        read_tokenizer(tmp_path)
    assert not isinstance(error.value, NotByteLevelBPE) and "\n" not in str(error.value)


def test_a_split_by_a_text(tmp_path: Path):
    tokenizers = pytest.importorskip("tokenizers")
    content = tokenizer_json(trained().model)
    split(pattern={"String": "."})(content)
    path = written(tmp_path, content)
    ours, theirs = BPETokenizer.from_tokenizer_json(path), tokenizers.Tokenizer.from_file(str(path))
    for text in ["the end. The...", "a", ""]:
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False).ids


# ---- checkpoint folders -------------------------------------------------------------------------


def model_for(tokenizer: BPETokenizer) -> Llama:
    config = ModelConfig(
        dim=16, n_layers=1, n_heads=2, n_kv_heads=1, vocab_size=tokenizer.vocab_size
    )
    return Llama(config)


@pytest.mark.parametrize("format", ["meta", "huggingface"])
@pytest.mark.filterwarnings("ignore:.*max_seq_len")  # which Meta's params.json does not have
@which_pattern
def test_a_checkpoint_keeps_its_tokenizer(format: str, which: str, tmp_path: Path):
    tokenizer = trained(which)
    save(model_for(tokenizer), tmp_path / "model", format=format, tokenizer=tokenizer)
    again = load(tmp_path / "model")[1]
    assert isinstance(again, BPETokenizer) and again.model.pattern == tokenizer.model.pattern
    for text in SAMPLES:
        assert again.encode(text, bos=True) == tokenizer.encode(text, bos=True)


def test_llama2c_has_no_place_for_it(tmp_path: Path):
    with pytest.raises(CourseError, match=r"keeps its tokenizer as tokenizer\.bin"):
        save(model_for(trained()), tmp_path / "m.bin", format="llama2c", tokenizer=trained())


def test_llama3s_file_in_metas_folder(tmp_path: Path):
    """At its real size, with other tokens: the bytes, all pairs of bytes, some of three."""
    every = [bytes([b]) for b in range(256)]
    tokens = [t for k in (1, 2, 3) for t in map(b"".join, islice(product(every, repeat=k), 70_000))]
    tokens = tokens[:128_000]
    lines = [b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens)]
    (tmp_path / "tokenizer.model").write_bytes(b"".join(lines))
    folder = tmp_path / "8B"
    folder.mkdir()
    assert read_tokenizer(folder) is None  # the folder above belongs to it only if it is Meta's
    (folder / "params.json").write_text("{}", encoding="utf-8")
    found = read_tokenizer(folder)
    assert isinstance(found, TiktokenTokenizer)
    assert (found.vocab_size, found.bos_id, found.eos_id) == (128_256, 128_000, 128_001)
    assert found.special_tokens["<|eot_id|>"] == 128_009
    (tmp_path / "tokenizer.model").write_bytes(b"".join(lines[:-1]))
    with pytest.raises(CourseError, match="holds 127,999 tokens, expected 128,000"):
        read_tokenizer(tmp_path)
