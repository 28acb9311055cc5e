from __future__ import annotations

import random

import pytest

from llama_course.errors import CourseError
from llama_course.tokenizers import SentencePieceTokenizer, train_sentencepiece
from llama_course.tokenizers.model_proto import BPE, BYTE, NORMAL

WORDS = ["the cat sat on the mat and the dog ran to the cat 42 times"] * 5


def test_the_settings_are_llama_s(plain: SentencePieceTokenizer):
    model = plain.proto
    assert model.model_type == BPE and model.byte_fallback and model.split_digits
    assert model.normalization == b"" and model.add_dummy_prefix and model.escape_whitespaces
    assert not model.remove_extra_whitespaces and model.allow_whitespace_only_pieces
    assert model.unk_surface == " \u2047 "
    assert [p.text for p in model.pieces[:3]] == ["<unk>", "<s>", "</s>"]
    assert [p.text for p in model.pieces[3:259]] == [f"<0x{b:02X}>" for b in range(256)]
    assert {p.type for p in model.pieces[3:259]} == {BYTE}
    assert {p.type for p in model.pieces[259:]} == {NORMAL}
    assert [p.score for p in model.pieces[259:]] == [-float(i) for i in range(1024 - 259)]
    assert not any("\n" in p.text for p in model.pieces)
    assert "\u2581\u2581" in {p.text for p in model.pieces}  # runs of spaces are kept and learnt
    assert not any(len(p.text) > 1 and p.text.strip("\u2581").isdigit() for p in model.pieces)


def test_the_same_text_gives_the_same_bytes(tmp_path):
    path = tmp_path / "deep" / "tokenizer.model"
    first = train_sentencepiece(WORDS, 290, path)
    second = train_sentencepiece(iter(WORDS), 290)
    assert first.model_proto == second.model_proto == path.read_bytes()
    assert b"deep" not in first.model_proto
    assert train_sentencepiece("\n".join(WORDS), 290).model_proto == first.model_proto


def test_nothing_is_printed(capfd):
    train_sentencepiece(WORDS, 290)
    with pytest.raises(CourseError):
        train_sentencepiece(WORDS, 5000)
    assert capfd.readouterr() == ("", "")


def test_the_limits_of_the_vocabulary():
    with pytest.raises(CourseError, match=r"too large.*largest possible") as error:
        train_sentencepiece(WORDS, 5000)
    largest = int(str(error.value).split("largest possible is ")[1].split(";")[0])
    assert train_sentencepiece(WORDS, largest).vocab_size == largest
    with pytest.raises(CourseError, match=f"largest possible is {largest}"):
        train_sentencepiece(WORDS, largest + 1)
    characters = len(set("".join(WORDS)))  # the space among them
    smallest = 3 + 256 + characters
    with pytest.raises(CourseError, match=f"at least {smallest} .*{characters} characters"):
        train_sentencepiece(WORDS, smallest - 1)
    assert train_sentencepiece(WORDS, smallest).vocab_size == smallest


@pytest.mark.parametrize("size", [-1, 0, 1, 3, 259])
def test_no_room_for_bytes(size: int):
    with pytest.raises(CourseError, match=f"A vocabulary of {size} is too small"):
        train_sentencepiece(WORDS, size)


@pytest.mark.parametrize("texts", [[], "", ["", "\n\n"], ["\0"]])
def test_no_text(texts):
    with pytest.raises(CourseError, match="no text"):
        train_sentencepiece(texts, 300)


def test_coverage():
    with pytest.raises(CourseError, match="character_coverage"):
        train_sentencepiece(WORDS, 300, character_coverage=0.5)
    rare = [*WORDS * 100, "\u00fe"]
    pieces = {p.text for p in train_sentencepiece(rare, 290).proto.pieces}
    assert "\u00fe" not in pieces
    rare_too = train_sentencepiece(rare, 290, character_coverage=1.0)
    assert "\u00fe" in {p.text for p in rare_too.proto.pieces}


def test_surrogates_say_which_text():
    with pytest.raises(CourseError, match=r"Text 1 .*U\+DC80\) at character 2"):
        train_sentencepiece(["fine", "ab\udc80"], 300)


def test_an_error_of_the_iterable_is_not_hidden():
    def texts():
        yield "some words"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        train_sentencepiece(texts(), 300)


def test_nothing_of_a_long_line_is_dropped():
    """Only the end of one very long line holds these words; a dropped line would not learn them."""
    line = "the cat " * 3000 + "zyzzyva " * 3000
    pieces = {p.text for p in train_sentencepiece([line], 280).proto.pieces}
    assert "\u2581zyzzyva" in pieces
    # Without a space to cut at, and with four bytes to the character.
    pieces = {p.text for p in train_sentencepiece(["\U0001f999" * 30_000 + "q"], 262).proto.pieces}
    assert {"\U0001f999", "\U0001f999" * 2} & pieces


@pytest.mark.parametrize("sign", ["\0", "\u2581", "\u2585", "\t", "<s>", "<unk>", "<0x0A>"])
def test_reserved_signs_do_not_cost_the_text_around_them(sign: str):
    texts = [f"zyzzyva{sign}zyzzyva {sign}zyzzyva"] * 20
    tokenizer = train_sentencepiece([*texts, *WORDS], 300)
    assert "zyzzyva" in {p.text.strip("\u2581") for p in tokenizer.proto.pieces}
    assert tokenizer.decode(tokenizer.encode(texts[0])) == texts[0]


def test_noise_trains_and_comes_back():
    rng = random.Random(0)
    points = [*range(0xD800), *range(0xE000, 0x110000)]
    texts = ["".join(map(chr, rng.choices(points, k=50))) for _ in range(20)]
    tokenizer = train_sentencepiece(texts, 1280)
    for text in texts:
        assert tokenizer.decode(tokenizer.encode(text)) == text
