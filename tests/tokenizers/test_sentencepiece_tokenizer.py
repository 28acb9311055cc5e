from __future__ import annotations

import copy
import dataclasses
import io
import pickle

import pytest
import sentencepiece
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llama_course.errors import CourseError
from llama_course.tokenizers import SentencePieceTokenizer, Tokenizer
from llama_course.tokenizers.model_proto import BYTE, CONTROL, UNKNOWN

SPACE = "\u2581"
# All of Unicode, and the same with what matters here made frequent.
ANY = st.characters(exclude_categories=["Cs"])
SIGNS = ["<s>", "</s>", "<unk>", "<0x0A>", "<0xE2>", "<", "the ", "é", "👨‍👩‍👧", "12"]
TRICKY = st.sampled_from([*SIGNS, *"\u2581 \n\t\0\ufffd\u2585\u2047\ue000\ue001\ue002\U0010ffff"])
TEXT = st.one_of(st.text(ANY), st.lists(st.one_of(TRICKY, ANY)).map("".join))
relaxed = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(text=TEXT)
@relaxed
def test_any_text_comes_back(tokenizer: SentencePieceTokenizer, text: str):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode(tokenizer.encode(text, bos=True, eos=True)) == text


@given(text=TEXT)
@relaxed
def test_the_ids_are_the_library_s(tokenizer: SentencePieceTokenizer, text: str):
    library = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model_proto)
    text = text.replace(SPACE, "")
    assert tokenizer.encode(text) == library.encode(text)


@given(ids=st.lists(st.integers(0, 419), max_size=30))
@relaxed
def test_decoding_is_the_library_s(tokenizer: SentencePieceTokenizer, ids: list[int]):
    library = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model_proto)
    assert tokenizer.decode(ids) == library.decode(ids)


def test_every_code_point_comes_back(tokenizer: SentencePieceTokenizer):
    library = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model_proto)
    points = [*range(0xD800), *range(0xE000, 0x110000)]
    for start in range(0, len(points), 1024):
        batch = "".join(map(chr, points[start : start + 1024]))
        ids = tokenizer.encode(batch)
        assert tokenizer.decode(ids) == batch, f"from U+{points[start]:04X} on"
        if SPACE not in batch:
            assert ids == library.encode(batch)


def test_every_code_point_comes_back_beside_the_space_sign(odd: SentencePieceTokenizer):
    """Each character next to U+2581, whose stand-in must not be mistaken for a character."""
    points = [*range(0xDFF0, 0xF900, 7), *range(0xE000, 0xE010), *range(0, 0x110000, 997)]
    for point in points:
        if not 0xD800 <= point < 0xE000:
            text = chr(point) + SPACE + chr(point) + " " + SPACE * 2
            assert odd.decode(odd.encode(text)) == text, f"U+{point:04X}"


def test_the_space_sign_is_spelled_in_bytes(plain: SentencePieceTokenizer):
    # The text around it is encoded as if any other unknown character stood there.
    other = plain.encode("the\u2582cat")  # its neighbour, which has no piece either
    here = plain.encode("the\u2581cat")
    spelled = [plain.id_to_piece(i) for i in here]
    assert [a == b for a, b in zip(here, other, strict=True)].count(False) == 1
    assert "".join(spelled).count("<0xE2><0x96><0x81>") == 1


def test_text_gives_no_control_token(tokenizer: SentencePieceTokenizer):
    never = {i for i, p in enumerate(tokenizer.proto.pieces) if p.type in (CONTROL, UNKNOWN)}
    assert never == {0, 1, 2}
    for piece in [*tokenizer.proto.pieces[:259]]:
        for text in (piece.text, f"a{piece.text}b", f" {piece.text}\n{piece.text}"):
            ids = tokenizer.encode(text)
            assert never.isdisjoint(ids), text
            assert tokenizer.decode(ids) == text
    # `<0x0A>` in a text is six characters, not a newline.
    newline = tokenizer.encode("\n")[-1]
    assert tokenizer.proto.pieces[newline].type in (BYTE, 1)
    assert 13 not in tokenizer.encode("<0x0A>")


@pytest.mark.parametrize("option", [{"control_symbols": ["¤"]}, {"unk_piece": "¤"}])
def test_nor_where_its_name_is_one_character(option):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["some words and more words"] * 9),
        model_writer=model,
        model_type="bpe",
        vocab_size=290,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=3,
        **option,
    )
    tokenizer = SentencePieceTokenizer.from_bytes(model.getvalue())
    names = [p.text for p in tokenizer.proto.pieces]
    ids = tokenizer.encode("1 ¤\u2581¤ 2")
    assert names.index("¤") not in ids
    assert tokenizer.decode(ids) == "1 ¤\u2581¤ 2"


def test_the_small_protocol(plain: SentencePieceTokenizer):
    assert isinstance(plain, Tokenizer)
    assert (plain.unk_id, plain.bos_id, plain.eos_id, plain.pad_id) == (0, 1, 2, -1)
    assert plain.vocab_size == 1024
    assert plain.encode("") == []
    assert plain.encode("", bos=True, eos=True) == [1, 2]
    hello = plain.encode("hello")
    assert plain.encode("hello", bos=True) == [1, *hello]
    assert plain.encode("hello", eos=True) == [*hello, 2]
    # A space of the text stands beside the one that encoding adds; digits stand alone.
    assert plain.decode(plain.encode(" hello")) == " hello"
    assert len(plain.encode("12345")) == 1 + 5
    assert plain.decode([0]) == " \u2047 "
    assert plain.id_to_piece(13) == "<0x0A>"
    assert plain.score(300) == -(300 - 259)


def test_copies_and_pickles(plain: SentencePieceTokenizer):
    for other in (copy.deepcopy(plain), pickle.loads(pickle.dumps(plain))):
        assert other.encode("hello \u2581 there") == plain.encode("hello \u2581 there")


@pytest.mark.parametrize("text", ["\ud800", "ab\udfff", "é \udc80 x"])
def test_lone_surrogates_are_refused(plain: SentencePieceTokenizer, text: str):
    where = next(i for i, c in enumerate(text) if 0xD800 <= ord(c) < 0xE000)
    with pytest.raises(CourseError, match=f"Character {where} .*U\\+{ord(text[where]):04X}"):
        plain.encode(text)


@pytest.mark.parametrize("wrong", [-1, 1024, 10**12])
def test_ids_outside_the_vocabulary(plain: SentencePieceTokenizer, wrong: int):
    with pytest.raises(CourseError, match=f"no token {wrong}"):
        plain.decode([5, wrong])
    with pytest.raises(CourseError, match=f"no token {wrong}"):
        plain.id_to_piece(wrong)


def test_saved_and_read(plain: SentencePieceTokenizer, tmp_path):
    path = tmp_path / "new folder" / "tokenizer.model"
    plain.save(path)
    assert path.read_bytes() == plain.model_proto
    again = SentencePieceTokenizer(path, vocab_size=1024)
    assert again.encode("hello") == plain.encode("hello")
    assert [p.name for p in path.parent.iterdir()] == ["tokenizer.model"]
    with pytest.raises(CourseError, match="holds 1024 tokens, expected 32000"):
        SentencePieceTokenizer(path, vocab_size=32_000)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"Once upon a time there was a text file.", "no SentencePiece model"),
        (b"\nOnce upon a time\nthere was a text file.", "no SentencePiece model"),
        (b"<!DOCTYPE html><html>404</html>", "a web page"),
        (b"\n <html>", "a web page"),
        (b'{"version": "1.0"}', "JSON"),
        (pickle.dumps({"a": 1}), "a Python pickle"),
        (b"PK\x03\x04" + bytes(40), "a zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (b"IQ== 0\nIg== 1\n", "tiktoken"),
        (bytes(100), "no SentencePiece model"),
        (b"\x0a", "no SentencePiece model"),
    ],
)
def test_files_of_another_kind(tmp_path, content: bytes, says: str):
    path = tmp_path / "tokenizer.model"
    path.write_bytes(content)
    with pytest.raises(CourseError, match=says) as error:
        SentencePieceTokenizer(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_model_cut_anywhere_is_refused(odd: SentencePieceTokenizer):
    whole = odd.model_proto
    # Places in the settings at the end, and a few in the pieces (at and between their ends).
    for size in [4, 5, 16, 17, 18, *range(1000, len(whole) - 100, 997), *range(-99, 0, 9), -1]:
        with pytest.raises(CourseError, match=r"cut short|no SentencePiece model"):
            SentencePieceTokenizer.from_bytes(whole[:size])


def test_missing_files(tmp_path):
    with pytest.raises(CourseError, match="There is no file"):
        SentencePieceTokenizer(tmp_path / "tokenizer.model")
    with pytest.raises(CourseError, match="is a folder"):
        SentencePieceTokenizer(tmp_path)


def test_a_model_without_begin_token(plain: SentencePieceTokenizer):
    pieces = list(plain.proto.pieces)
    pieces[1] = dataclasses.replace(pieces[1], text="<begin>")
    model = dataclasses.replace(plain.proto, pieces=tuple(pieces))
    tokenizer = SentencePieceTokenizer.from_bytes(model.to_bytes())
    assert tokenizer.bos_id == tokenizer.proto.bos_id == -1
    with pytest.raises(CourseError, match="no begin"):
        tokenizer.encode("hello", bos=True)
