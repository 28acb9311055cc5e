"""Files of a byte-level BPE: ours and GPT-2's, whole and damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from bpe_samples import PATTERNS, SAMPLES, by_ids, trained

from llama_course.errors import CourseError
from llama_course.tokenizers import BPETokenizer
from llama_course.tokenizers.byte_alphabet import to_bytes, to_text

which_pattern = pytest.mark.parametrize("which", PATTERNS)


def same(a: BPETokenizer, b: BPETokenizer) -> None:
    assert (a.vocab_size, a.bos_id, a.eos_id) == (b.vocab_size, b.bos_id, b.eos_id)
    assert a.special_tokens == b.special_tokens
    for text in SAMPLES:
        assert a.encode(text) == b.encode(text), repr(text)
        assert a.encode(text, parse_special=True) == b.encode(text, parse_special=True)


# ---- the alphabet -------------------------------------------------------------------------------


def test_the_alphabet_is_gpt2s():
    """Its published signs: what is printable stays, a space is Ġ, a line end Ċ, a tab ĉ."""
    assert to_text(b" Hello\n\t!~") == "ĠHelloĊĉ!~"
    assert to_text(bytes([0x00, 0x7F, 0xA0, 0xAD, 0xA1, 0xFF])) == "ĀġłŃ¡ÿ"
    signs = [to_text(bytes([b])) for b in range(256)]
    assert len(set(signs)) == 256 and all(s.isprintable() and not s.isspace() for s in signs)
    assert to_bytes("".join(signs)) == bytes(range(256))
    for wrong in " \n\u0144字":
        with pytest.raises(ValueError, match=f"U\\+{ord(wrong):04X}"):
            to_bytes(f"a{wrong}")


# ---- ours ---------------------------------------------------------------------------------------


@which_pattern
@pytest.mark.parametrize("kind", [trained, by_ids])
def test_saved_and_loaded(kind: Callable, which: str, tmp_path: Path):
    tokenizer = kind(which)
    tokenizer.save(tmp_path / "new" / "bpe.json")
    again = BPETokenizer.load(tmp_path / "new" / "bpe.json")
    assert again.model == tokenizer.model
    same(again, tokenizer)
    again.save(tmp_path / "twice.json")
    text = (tmp_path / "twice.json").read_bytes()
    assert text == (tmp_path / "new" / "bpe.json").read_bytes()
    assert {path.name for path in tmp_path.rglob("*.*")} == {"bpe.json", "twice.json"}


def test_the_file_can_be_read_by_a_person(tmp_path: Path):
    text = "low low lowest"
    BPETokenizer.train([text], 259, ["<|endoftext|>"], pattern="[a-z]+").save(tmp_path / "t")
    content = json.loads((tmp_path / "t").read_text(encoding="utf-8"))
    assert content["merges"] == ["o w", "l ow"]
    assert content["tokens"]["low"] == 257 and content["tokens"]["Ġ"] == 32
    assert content["pattern"] == "[a-z]+" and content["special_tokens"] == {"<|endoftext|>": 258}


def damaged(tmp_path: Path, change: Callable[[dict], object]) -> Path:
    path = tmp_path / "bpe.json"
    trained().save(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


DAMAGE: dict[str, tuple[Callable[[dict], object], str]] = {
    "format": (lambda c: c.update(format="another 2"), "its format is 'another 2', expected"),
    "no format": (lambda c: c.pop("format"), "its format is None"),
    "no tokens": (lambda c: c.pop("tokens"), "has no 'tokens' of the kind"),
    "tokens are a list": (lambda c: c.update(tokens=[]), "has no 'tokens' of the kind"),
    "pattern": (lambda c: c.update(pattern=3), "has no 'pattern' of the kind"),
    "broken pattern": (lambda c: c.update(pattern="("), "cannot be read"),
    "a byte": (lambda c: c["tokens"].pop("a"), r"lacks 1 of the 256 bytes \(such as 0x61\)"),
    "an id as text": (lambda c: c["tokens"].update(a="97"), "the id '97', which is no integer"),
    "an id as truth": (lambda c: c["tokens"].update(a=True), "the id True, which is no integer"),
    "an id below 0": (lambda c: c["tokens"].update(a=-1), "the id -1; ids begin at 0"),
    "an id twice": (lambda c: c["tokens"].update(a=98), "the id 98 to both b'a' and b'b'"),
    "a special id twice": (
        lambda c: c["special_tokens"].update({"<|a b|>": 97}),
        r"the id 97 to both b'a' and '<\|a b\|>'",
    ),
    "a sign": (lambda c: c["tokens"].update({"a b": 7000}), r"' ' \(U\+0020\) stands for no byte"),
    "an empty token": (lambda c: c["tokens"].update({"": 7000}), "a token without text"),
    "a merge of one": (lambda c: c["merges"].insert(3, "ab"), "Merge 3 of .* is 'ab'; expected"),
    "a merge of three": (lambda c: c["merges"].insert(3, "a b c"), "Merge 3 of .* is 'a b c'"),
    "a merge of numbers": (lambda c: c["merges"].insert(3, [1, 2]), r"Merge 3 of .* is \[1, 2\]"),
    "an unknown merge": (lambda c: c["merges"].insert(3, "~ ~"), "Merge 3 of .* not all of these"),
    "the begin token": (lambda c: c.update(bos_token="<s>"), "no special token '<s>'.*begin token"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_refused(name: str, tmp_path: Path):
    change, message = DAMAGE[name]
    with pytest.raises(CourseError, match=message) as error:
        BPETokenizer.load(damaged(tmp_path, change))
    assert "broken pattern" in name or "bpe.json" in str(error.value)


OTHER_FILES = {
    b"": "is empty",
    b"<!DOCTYPE html>": "is no .* but a web page",
    b"version https://git-lfs.github.com/spec/v1\n": "but a Git LFS pointer",
    b"GGUF\x03\0\0\0": "but a GGUF file",
    b"\x80\x04pickle": "but a Python pickle",
    b"PK\x03\x04": "but a zip archive",
    b"IQ== 0\nIg== 1\n": "Llama 3.*TiktokenTokenizer reads",
    b"\xff\xfe\x00": "is not whole JSON",
    b"[1, 2]": "holds a JSON list",
    b'{"format": ': "is not whole JSON .* cut short",
    b"[" * 100_000: "is not whole JSON",
}


@pytest.mark.parametrize("content", OTHER_FILES, ids=lambda content: repr(content[:12]))
def test_another_file_in_its_place(content: bytes, tmp_path: Path):
    path = tmp_path / "tokenizer.model"
    path.write_bytes(content)
    for read in (
        BPETokenizer.load,
        BPETokenizer.from_tokenizer_json,
        lambda p: BPETokenizer.from_gpt2(p, p),
    ):
        with pytest.raises(CourseError, match=OTHER_FILES[content]) as error:
            read(path)
        assert "tokenizer.model" in str(error.value) and "\n" not in str(error.value)


def test_no_file(tmp_path: Path):
    with pytest.raises(CourseError, match=r"There is no file .*gone"):
        BPETokenizer.load(tmp_path / "gone")
    with pytest.raises(CourseError, match="is a folder"):
        BPETokenizer.load(tmp_path)


def test_every_cut_is_noticed(tmp_path: Path):
    whole = tmp_path / "whole"
    BPETokenizer.train(["abc abc"], 259).save(whole)
    data = whole.read_bytes()
    for end in range(0, len(data.rstrip()), 61):
        (tmp_path / "cut").write_bytes(data[:end])
        with pytest.raises(CourseError):
            BPETokenizer.load(tmp_path / "cut")


# ---- GPT-2's ------------------------------------------------------------------------------------


def write_gpt2(tokenizer: BPETokenizer, folder: Path, version: str = "#version: 0.2\n") -> None:
    """As OpenAI's files are: the special token among the others, a version before the merges."""
    vocab = {to_text(token): i for token, i in tokenizer.model.tokens.items()}
    vocab["<|endoftext|>"] = len(vocab)
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    lines = [f"{to_text(left)} {to_text(right)}\n" for left, right in tokenizer.model.merges]
    (folder / "merges.txt").write_text(version + "".join(lines), encoding="utf-8", newline="\n")


def from_gpt2(folder: Path, **arguments: object) -> BPETokenizer:
    return BPETokenizer.from_gpt2(folder / "vocab.json", folder / "merges.txt", **arguments)


@pytest.mark.parametrize("version", ["#version: 0.2\n", ""])
def test_gpt2s_two_files(version: str, tmp_path: Path):
    plain = BPETokenizer(trained().model)
    write_gpt2(plain, tmp_path, version)
    tokenizer = from_gpt2(tmp_path)
    size = len(plain.model.tokens)
    assert (tokenizer.vocab_size, tokenizer.bos_id, tokenizer.eos_id) == (size + 1, -1, size)
    for text in SAMPLES:
        assert tokenizer.encode(text) == plain.encode(text)
    assert tokenizer.encode("<|endoftext|>", parse_special=True) == [size]
    assert size not in tokenizer.encode("<|endoftext|>")
    windows = (tmp_path / "merges.txt").read_bytes().replace(b"\n", b"\r\n")
    (tmp_path / "merges.txt").write_bytes(windows)
    assert from_gpt2(tmp_path).model == tokenizer.model


def test_signs_that_look_like_the_version_are_merges(tmp_path: Path):
    tokenizer = BPETokenizer.train(["## ##"], 257, pattern="#+")
    assert tokenizer.model.merges == [(b"#", b"#")]
    write_gpt2(tokenizer, tmp_path, version="")
    assert from_gpt2(tmp_path).model.merges == [(b"#", b"#")]


def test_damaged_files_of_gpt2(tmp_path: Path):
    write_gpt2(trained(), tmp_path)
    merges, vocab = tmp_path / "merges.txt", tmp_path / "vocab.json"
    good = merges.read_text(encoding="utf-8")
    for text, message in [
        (good[:-3], "cut short: its last line has no end"),
        (good[:10], "cut short: its last line has no end"),  # within the line of the version
        (good + "Ġ\n", "expected two tokens with a space between"),
        (good + "Ġ t x\n", "expected two tokens with a space between"),
        (good + "字 字\n", "not a byte-level vocabulary: '字'"),
        (good + "~ ~\n", "of .*vocab.json with merges.txt is of .* not all of these"),
    ]:
        merges.write_text(text, encoding="utf-8", newline="\n")
        with pytest.raises(CourseError, match=message):
            from_gpt2(tmp_path)
    merges.write_text(good, encoding="utf-8")
    with pytest.raises(CourseError, match=r"no vocab.json but GPT-2's list of merges"):
        BPETokenizer.from_gpt2(merges, vocab)
    vocab.write_bytes(vocab.read_bytes()[:-100])
    with pytest.raises(CourseError, match=r"vocab.json is not whole JSON"):
        from_gpt2(tmp_path)
    merges.write_bytes(b"a b\n\xff\xfe\n")
    write_gpt2(trained(), tmp_path)
    merges.write_bytes(b"a b\n\xff\xfe\n")
    with pytest.raises(CourseError, match=r"no merges.txt but not text"):
        from_gpt2(tmp_path)
