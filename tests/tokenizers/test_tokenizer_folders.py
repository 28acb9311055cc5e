"""Tokenizers in checkpoint folders: what is found, and what transformers makes of ours."""

from __future__ import annotations

import dataclasses
import json
import random

import pytest
import sentencepiece

from llama_course.errors import CourseError
from llama_course.tokenizers import (
    SentencePieceTokenizer,
    no_tokenizer_reason,
    read_tokenizer,
    write_huggingface_tokenizer,
)
from llama_course.tokenizers.model_proto import USER_DEFINED, Piece

TORTURE = [
    "",
    " ",
    "  ",
    "hello",
    " hello",
    "   hello   there   ",
    "\n",
    "\n\n hello\n",
    "\t\ttab\r\n",
    "0 12 345 6789 3.14 1,000,000 ٣٤ ⅷ",
    "naïve café — “quotes” … œuvre",
    "Все счастливые семьи похожи",
    "你好,世界 吾輩は猫である 안녕하세요",
    "שלום مرحبا नमस्ते สวัสดี",
    "🦙 👋🏽 👨‍👩‍👧‍👦 🇫🇷 ☃️",
    "\0\x01\x7f\x85\xa0\u200b\u2028\ufeff\ufffd\ue000\U0010ffff",
    "<0x0A><0xFF> <s",
    "def f(x):\n    if x:\n\treturn  x",
    "a" * 50 + " " * 50 + "a",
    "e\u0301 \u00e9",
]


def texts(tokenizer: SentencePieceTokenizer) -> list[str]:
    """The list, and random runs of pieces, where the order of merges matters most."""
    rng = random.Random(0)
    pieces = [p.text.replace("\u2581", " ") for p in tokenizer.proto.pieces[259:]]
    pieces = [p for p in pieces if "\u2581" not in p]
    runs = ["".join(rng.choices([*pieces, " ", "  ", "e", "a"], k=20)) for _ in range(300)]
    return TORTURE + runs


@pytest.fixture
def transformers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return pytest.importorskip("transformers")


def llama_like(tokenizer: SentencePieceTokenizer) -> SentencePieceTokenizer:
    """With LLaMA's scores for runs of spaces, which the order of the ids contradicts."""
    pieces = tuple(
        dataclasses.replace(p, score=-1e9) if p.text.strip("\u2581") == "" else p
        for p in tokenizer.proto.pieces
    )
    model = dataclasses.replace(tokenizer.proto, pieces=pieces)
    return SentencePieceTokenizer.from_bytes(model.to_bytes())


@pytest.mark.parametrize("with_config", [False, True])
@pytest.mark.parametrize("which", ["plain", "odd", "llama-like"])
def test_transformers_gives_the_same_ids(transformers, request, tmp_path, which, with_config):
    ours = request.getfixturevalue("plain" if which == "llama-like" else which)
    ours = llama_like(ours) if which == "llama-like" else ours
    write_huggingface_tokenizer(ours, tmp_path)
    if with_config:  # as in a checkpoint's folder
        config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
        (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    library = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.unk_token_id) == (1, 2, 0)
    assert theirs.pad_token_id is None and len(theirs) == ours.vocab_size
    for text in texts(ours):
        ids = theirs.encode(text, add_special_tokens=False)
        assert ids == ours.encode(text) == library.encode(text), repr(text)
        assert theirs.encode(text) == ours.encode(text, bos=True)
        assert theirs.decode(ids) == text
    # Where it differs, its own way: control tokens are read from the text unless told otherwise.
    assert theirs.encode("</s>", add_special_tokens=False) == [2]
    split = theirs.encode("</s>", add_special_tokens=False, split_special_tokens=True)
    assert split == ours.encode("</s>")


def test_order_by_id_in_place_of_score_fails(transformers, plain, tmp_path):
    """The planted error: merges in the order of ids, as from a model without its scores."""
    ours = llama_like(plain)
    write_huggingface_tokenizer(plain, tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    different = [t for t in texts(ours) if theirs.encode(t) != ours.encode(t, bos=True)]
    assert different


def test_written_files_are_read_by_us(plain, tmp_path):
    write_huggingface_tokenizer(plain, tmp_path / "new")
    again = read_tokenizer(tmp_path / "new")
    assert isinstance(again, SentencePieceTokenizer)
    assert again.model_proto == plain.model_proto
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {
        "tokenizer.model",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
    }


def test_what_cannot_be_written_is_refused(plain, tmp_path):
    class Other:
        vocab_size, bos_id, eos_id = 1, -1, -1

        def encode(self, text, bos=False, eos=False):
            return []

        def decode(self, ids):
            return ""

    with pytest.raises(CourseError, match="A Other cannot be written"):
        write_huggingface_tokenizer(Other(), tmp_path)
    without = dataclasses.replace(plain.proto, add_dummy_prefix=False)
    with pytest.raises(CourseError, match="add_dummy_prefix"):
        write_huggingface_tokenizer(SentencePieceTokenizer.from_bytes(without.to_bytes()), tmp_path)
    pieces = (*plain.proto.pieces[:-1], Piece("<chat>", 0.0, USER_DEFINED))
    chat = dataclasses.replace(plain.proto, pieces=pieces)
    with pytest.raises(CourseError, match="'<chat>'"):
        write_huggingface_tokenizer(SentencePieceTokenizer.from_bytes(chat.to_bytes()), tmp_path)
    assert not list(tmp_path.iterdir())


def test_finding_a_tokenizer(plain, tmp_path):
    folder = tmp_path / "7B"
    folder.mkdir()
    assert read_tokenizer(folder) is None
    assert "has no tokenizer" in no_tokenizer_reason(folder)
    assert read_tokenizer(tmp_path / "absent") is None

    plain.save(tmp_path / "tokenizer.model")
    assert read_tokenizer(folder) is None  # the folder above belongs to it only if it is Meta's
    (folder / "params.json").write_text("{}", encoding="utf-8")
    found = read_tokenizer(folder)
    assert found is not None and found.vocab_size == 1024
    reason = no_tokenizer_reason(folder)  # asked where the model has another number of ids
    assert "in the folder above has another number of ids than the model" in reason

    (folder / "params.json").unlink()
    plain.save_llama2c(folder / "tokenizer.bin")
    (folder / "model.bin").write_bytes(b"")
    for path in (folder, folder / "model.bin", str(folder)):
        found = read_tokenizer(path)
        assert found is not None and found.encode("hello") == plain.encode("hello")


def test_a_broken_tokenizer_is_an_error(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(b"<html>")
    with pytest.raises(CourseError, match="a web page"):
        read_tokenizer(tmp_path)


def test_a_tokenizer_json_of_another_kind_is_not_read(plain, tmp_path):
    """Ours among them: from the tokenizer.model the library itself encodes, so that is needed."""
    write_huggingface_tokenizer(plain, tmp_path)
    (tmp_path / "tokenizer.model").unlink()
    assert read_tokenizer(tmp_path) is None
    reason = no_tokenizer_reason(tmp_path)
    assert "as SentencePiece does" in reason and "tokenizer.model beside it" in reason
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CourseError, match="has no model"):
        read_tokenizer(tmp_path)


def test_a_tiktoken_file_that_is_not_llama3s(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(b"IQ== 0\nIg== 1\n")
    with pytest.raises(CourseError, match="holds 2 tokens, expected 128,000"):
        read_tokenizer(tmp_path)
