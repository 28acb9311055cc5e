"""llama2.c's tokenizer.bin."""

from __future__ import annotations

import dataclasses
import struct

import pytest
import sentencepiece
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llama_course.errors import CourseError
from llama_course.tokenizers import SentencePieceTokenizer, llama2c
from llama_course.tokenizers.model_proto import USER_DEFINED, Piece


def exported(model: bytes) -> bytes:
    """The file as the format's description has it, through the library alone."""
    sp = sentencepiece.SentencePieceProcessor(model_proto=model)
    records, longest = b"", 0
    for i in range(sp.vocab_size()):
        text = sp.id_to_piece(i)
        if i == sp.bos_id():
            text = "\n<s>\n"
        elif i == sp.eos_id():
            text = "\n</s>\n"
        data = text.replace("\u2581", " ").encode("utf-8")
        longest = max(longest, len(data))
        records += struct.pack("<fI", sp.get_score(i), len(data)) + data
    return struct.pack("<I", longest) + records


def like_llama(tokenizer: SentencePieceTokenizer) -> SentencePieceTokenizer:
    """LLaMA's peculiarity: runs of spaces have an early id and the lowest score of all."""
    pieces = [
        dataclasses.replace(p, score=-1e9) if set(p.text) == {"\u2581"} and len(p.text) > 1 else p
        for p in tokenizer.proto.pieces
    ]
    assert pieces != list(tokenizer.proto.pieces)
    model = dataclasses.replace(tokenizer.proto, pieces=tuple(pieces))
    return SentencePieceTokenizer.from_bytes(model.to_bytes())


@given(st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(" \n\0e12▁"))))
@settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_same_ids_as_the_model(tokenizer: SentencePieceTokenizer, text: str):
    again = _again(tokenizer)
    assert again.encode(text) == tokenizer.encode(text)
    assert again.decode(tokenizer.encode(text)) == text


_cache: dict[int, SentencePieceTokenizer] = {}


def _again(tokenizer: SentencePieceTokenizer) -> SentencePieceTokenizer:
    if id(tokenizer) not in _cache:
        data = exported(tokenizer.model_proto)
        _cache[id(tokenizer)] = SentencePieceTokenizer.from_bytes(data)
    return _cache[id(tokenizer)]


def test_the_same_pieces_and_bytes(tokenizer: SentencePieceTokenizer, tmp_path):
    original = like_llama(tokenizer) if tokenizer.vocab_size == 1024 else tokenizer
    path = tmp_path / "anything.dat"  # the content is what counts
    original.save_llama2c(path)
    assert path.read_bytes() == exported(original.model_proto)
    again = SentencePieceTokenizer(path, vocab_size=original.vocab_size)
    assert again.proto.pieces == original.proto.pieces
    assert (again.unk_id, again.bos_id, again.eos_id, again.pad_id) == (0, 1, 2, -1)
    for n in range(40):
        text = "if x:" + " " * n + "\n" + " " * (3 * n) + "return 12"
        assert again.encode(text) == original.encode(text)
    again.save(tmp_path / "tokenizer.model")
    reread = SentencePieceTokenizer(tmp_path / "tokenizer.model")
    assert reread.proto.pieces == original.proto.pieces


def test_order_by_id_in_place_of_score_would_be_seen(plain: SentencePieceTokenizer):
    """The planted error: LLaMA's runs of spaces merged in the order of ids."""
    text = "a  the"  # a space and " the", or two spaces and "the"
    assert like_llama(plain).encode(text) != plain.encode(text)


def test_cut_files(plain: SentencePieceTokenizer):
    data = exported(plain.model_proto)
    ends, at = [], 4
    while at < len(data):
        at += 8 + struct.unpack_from("<I", data, at + 4)[0]
        ends.append(at)
    inside = [size for size in range(20, len(data), 331) if size not in ends]
    for size in inside:
        with pytest.raises(CourseError, match="cut short"):
            SentencePieceTokenizer.from_bytes(data[:size], name="tokenizer.bin")
    with pytest.raises(CourseError, match="256 byte tokens"):  # at the end of a token
        SentencePieceTokenizer.from_bytes(data[: ends[100]])
    with pytest.raises(CourseError, match="holds 501 tokens, expected 1024"):
        SentencePieceTokenizer.from_bytes(data[: ends[500]], vocab_size=1024)
    with pytest.raises(CourseError, match="token 300 is not UTF-8"):
        SentencePieceTokenizer.from_bytes(data[: ends[300] - 1] + b"\xff" + data[ends[300] :])


@pytest.mark.parametrize(
    "setting",
    [
        {"add_dummy_prefix": False},
        {"bos_piece": "<begin>"},
        {"unk_surface": "?"},
        {"model_type": 1},
    ],
)
def test_what_the_file_cannot_say_is_refused(plain: SentencePieceTokenizer, setting):
    model = dataclasses.replace(plain.proto, **setting)
    with pytest.raises(CourseError, match=next(iter(setting))):
        llama2c.to_bytes(model)


def test_tokens_the_file_cannot_hold_are_refused(plain: SentencePieceTokenizer, tmp_path):
    pieces = list(plain.proto.pieces)
    pieces[400] = Piece("<chat>", 0.0, USER_DEFINED)
    model = dataclasses.replace(plain.proto, pieces=tuple(pieces))
    tokenizer = SentencePieceTokenizer.from_bytes(model.to_bytes())
    with pytest.raises(CourseError, match="token 400, '<chat>'"):
        tokenizer.save_llama2c(tmp_path / "tokenizer.bin")
    assert not list(tmp_path.iterdir())
