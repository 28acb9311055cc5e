"""Llama 3's kind of file, with tokens trained here in the place of Meta's."""

from __future__ import annotations

import base64
import pickle
from pathlib import Path

import pytest
from bpe_samples import SAMPLES, TEXTS, in_tiktoken, trained
from hypothesis import HealthCheck, given, settings

from llama_course.errors import CourseError
from llama_course.tokenizers import LLAMA3_PATTERN, BPETokenizer, TiktokenTokenizer
from llama_course.tokenizers.tiktoken import LLAMA3_SPECIAL_TOKENS


def lines_of(tokens: list[bytes]) -> list[bytes]:
    return [base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens)]


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    return lines_of(list(trained("llama3").model.tokens))


@pytest.fixture(scope="module")
def tokenizer(lines: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> TiktokenTokenizer:
    path = tmp_path_factory.mktemp("llama3") / "tokenizer.model"
    path.write_bytes(b"".join(lines))
    return TiktokenTokenizer(path, ranks=len(lines))


def test_special_ids_follow_the_tokens(tokenizer: TiktokenTokenizer, lines: list[bytes]):
    """At Llama 3's size these are 128000 begin, 128001 end, 128004 pad, 128006 and 128007 header,
    128008 end of message, 128009 end of turn (Meta's published table)."""
    first = len(lines)
    assert tokenizer.vocab_size == first + 256 == first + len(LLAMA3_SPECIAL_TOKENS)
    assert (tokenizer.bos_id, tokenizer.eos_id) == (first, first + 1)
    special = tokenizer.special_tokens
    named = {
        "<|begin_of_text|>": 0,
        "<|end_of_text|>": 1,
        "<|reserved_special_token_0|>": 2,
        "<|finetune_right_pad_id|>": 4,
        "<|start_header_id|>": 6,
        "<|end_header_id|>": 7,
        "<|eom_id|>": 8,
        "<|eot_id|>": 9,
        "<|python_tag|>": 10,
        "<|reserved_special_token_2|>": 12,
        "<|reserved_special_token_245|>": 255,
    }
    assert {name: special[name] - first for name in named} == named
    assert tokenizer.model.pattern == LLAMA3_PATTERN


def test_equal_to_tiktoken(tokenizer: TiktokenTokenizer):
    pytest.importorskip("tiktoken")
    theirs = in_tiktoken(tokenizer)
    for text in [*SAMPLES, *(f"{name} and {name}x" for name in LLAMA3_SPECIAL_TOKENS[:12])]:
        assert tokenizer.encode(text) == theirs.encode_ordinary(text)
        parsed = tokenizer.encode(text, parse_special=True)
        assert parsed == theirs.encode(text, allowed_special="all")
        assert tokenizer.decode(parsed, keep_special=True) == theirs.decode(parsed) == text


@given(TEXTS)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_as_tiktoken(tokenizer: TiktokenTokenizer, text: str):
    pytest.importorskip("tiktoken")
    assert tokenizer.encode(text) == in_tiktoken(tokenizer).encode_ordinary(text)


def test_a_word_that_is_a_token_is_taken_at_once(lines: list[bytes], tmp_path: Path):
    """Also where no merges lead to it, as tiktoken does; within a longer word they are needed."""
    pytest.importorskip("tiktoken")
    (tmp_path / "t").write_bytes(
        b"".join([*lines, base64.b64encode(b"qzxqz") + b" %d\n" % len(lines)])
    )
    tokenizer = TiktokenTokenizer(tmp_path / "t", ranks=len(lines) + 1)
    assert tokenizer.encode("qzxqz") == [len(lines)]
    assert len(tokenizer.encode("qzxqzq")) > 1
    for text in ("qzxqz", "qzxqzq", "qzxqz qzxqz"):
        assert tokenizer.encode(text) == in_tiktoken(tokenizer).encode_ordinary(text)


def test_long_texts_are_encoded_as_a_whole(tokenizer: TiktokenTokenizer):
    """Beyond 400,000 characters, and beyond 25,000 of one class, where Meta's code cuts."""
    pytest.importorskip("tiktoken")
    text = "to be, or  not to be? " * 20_000 + "a" * 30_000 + " " * 30_001 + "b" + "\n" * 30_000
    assert tokenizer.encode(text) == in_tiktoken(tokenizer).encode_ordinary(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_saved_as_it_was_read(tokenizer: TiktokenTokenizer, lines: list[bytes], tmp_path: Path):
    tokenizer.save(tmp_path / "tokenizer.model")
    assert (tmp_path / "tokenizer.model").read_bytes() == b"".join(lines)
    sent = pickle.loads(pickle.dumps(tokenizer))
    assert isinstance(sent, TiktokenTokenizer) and sent.model == tokenizer.model
    assert type(TiktokenTokenizer.train(["ab"], 257)) is BPETokenizer


def test_a_file_may_be_in_any_order(lines: list[bytes], tmp_path: Path):
    (tmp_path / "t").write_bytes(b"".join(reversed(lines)))
    assert TiktokenTokenizer(tmp_path / "t", None).encode("the") == trained("llama3").encode("the")


def test_one_that_was_cut_is_noticed(lines: list[bytes], tmp_path: Path):
    data = b"".join(lines)
    path = tmp_path / "tokenizer.model"
    for end in [*range(1, 40), *range(len(data) - 40, len(data))]:
        path.write_bytes(data[:end])
        with pytest.raises(CourseError, match=r"tokenizer\.model") as error:
            TiktokenTokenizer(path, ranks=len(lines))
        assert "\n" not in str(error.value)
    path.write_bytes(data)
    with pytest.raises(CourseError, match=rf"holds {len(lines)} tokens, expected 128,000"):
        TiktokenTokenizer(path)


DAMAGE = [
    (lambda x: [*x[:7], b"I!== 7\n", *x[8:]], r"Line 8 .* is b'I!== 7'; expected a token in"),
    (lambda x: [*x[:7], b"I=== 7\n", *x[8:]], "Line 8 .* expected a token in base64"),
    (lambda x: [*x[:7], b"IQQ== 7\n", *x[8:]], "Line 8 .* expected a token in base64"),
    (lambda x: [*x[:7], b"IQ== seven\n", *x[8:]], "Line 8 .* expected a token in base64"),
    (lambda x: [*x[:7], b"\n", *x[7:]], "Line 8 .* expected a token in base64"),
    (lambda x: [*x, b"fn5-fg== 999\n"], "expected a token in base64"),
    (lambda x: [*x[:-1], b"fn5+fn4= 5\n"], "the rank 5 twice, in lines 6 and"),
    (lambda x: [*x, x[5].split()[0] + b" %d\n" % len(x)], "the token .* twice, in lines 6 and"),
    (lambda x: x[:300] + x[301:], "no token of rank 300, though of higher ones"),
    (lambda x: lines_of([base64.b64decode(y.split()[0]) for y in x[1:]]), "lacks 1 of the 256"),
    (lambda x: [b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02"], "but a SentencePiece model"),
    (lambda x: [b"<html>"], "but a web page"),
    (lambda x: [b"GGUF\x03\0\0\0"], "but a GGUF file"),
    (lambda x: [b"version https://git-lfs.github.com/spec/v1\noid"], "but a Git LFS pointer"),
    (lambda x: [b'{"model": {}}'], "but JSON, perhaps a tokenizer.json"),
    (lambda x: [b"\xff\xfe"], r"since it begins with b'\\xff\\xfe'"),
    (lambda x: [], "is empty"),
]


@pytest.mark.parametrize(("change", "message"), DAMAGE, ids=[message for _, message in DAMAGE])
def test_a_damaged_file_is_refused(change, message: str, lines: list[bytes], tmp_path: Path):
    path = tmp_path / "tokenizer.model"
    path.write_bytes(b"".join(change(list(lines))))
    with pytest.raises(CourseError, match=message) as error:
        TiktokenTokenizer(path, ranks=None)
    assert "tokenizer.model" in str(error.value) and "\n" not in str(error.value)


def test_no_file(tmp_path: Path):
    with pytest.raises(CourseError, match=r"There is no file .*; give the path of a tokenizer"):
        TiktokenTokenizer(tmp_path / "gone")
