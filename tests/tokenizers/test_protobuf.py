from __future__ import annotations

import dataclasses

import pytest
import sentencepiece

from llama_course.tokenizers import SentencePieceTokenizer, protobuf
from llama_course.tokenizers.model_proto import ModelProto


def test_the_documentation_s_own_examples():
    # "Encoding" page of the Protocol Buffers documentation: a varint, a string, a message in one.
    assert protobuf.field(1, 150) == bytes.fromhex("089601")
    assert protobuf.field(2, "testing") == bytes.fromhex("120774657374696e67")
    assert protobuf.field(3, protobuf.field(1, 150)) == bytes.fromhex("1a03089601")
    assert protobuf.field(43, -1).hex() == "d802" + "ff" * 9 + "01"
    assert protobuf.field(2, -1.0) == bytes.fromhex("15000080bf")


def test_fields_reads_what_field_writes():
    data = b"".join(protobuf.field(n, v) for n, v in [(1, 0), (2, 1 << 40), (44, "é"), (5, b"")])
    assert list(protobuf.fields(data)) == [(1, 0), (2, 1 << 40), (44, "é".encode()), (5, b"")]
    assert protobuf.signed(next(protobuf.fields(protobuf.field(1, -7)))[1]) == -7


@pytest.mark.parametrize("data", ["08", "0880", "0a05616263", "0d0000", "0b", "08" + "ff" * 11])
def test_no_message(data):
    with pytest.raises(ValueError):
        list(protobuf.fields(bytes.fromhex(data)))


def test_a_model_written_by_us_is_the_model(tokenizer: SentencePieceTokenizer):
    again = ModelProto.parse(tokenizer.proto.to_bytes())
    assert again == tokenizer.proto
    library = sentencepiece.SentencePieceProcessor(model_proto=again.to_bytes())
    for text in ("Hello  world 123\n", "naïve 🦙\0", ""):
        if "\u2581" not in text:
            assert library.encode(text) == tokenizer.encode(text)


def test_every_setting_survives(plain: SentencePieceTokenizer):
    changed = dataclasses.replace(
        plain.proto,
        model_type=1,
        split_digits=False,
        whitespace_as_suffix=True,
        pad_id=1,
        pad_piece="<s>",
        unk_surface="?",
        normalization=b"\x01\x02",
        add_dummy_prefix=False,
        remove_extra_whitespaces=True,
        escape_whitespaces=False,
    )
    assert ModelProto.parse(changed.to_bytes()) == changed
