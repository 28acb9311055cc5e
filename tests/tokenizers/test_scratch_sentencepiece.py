"""ScratchSentencePiece equals the library: on many random texts and ids, and in each setting."""

from __future__ import annotations

import dataclasses
import io
import os
import pydoc_data.topics
import random
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st
from test_sentencepiece_tokenizer import relaxed

from llama_course.errors import CourseError
from llama_course.tokenizers import SentencePieceTokenizer, StreamDecoder, train_sentencepiece
from llama_course.tokenizers import Tokenizer as Protocol
from llama_course.tokenizers.model_proto import CONTROL, UNKNOWN, UNUSED, ModelProto
from llama_course.tokenizers.protobuf import field
from llama_course.tokenizers.scratch import ScratchSentencePiece, merge

SPACE = "\u2581"
Both = tuple[ScratchSentencePiece, SentencePieceTokenizer]
MULTILINGUAL = [
    "Le cœur a ses raisons que la raison ne connaît point. Ça va? Über, naïve, señor.",
    "Все счастливые семьи похожи друг на друга, каждая несчастливая несчастлива по-своему.",
    "吾輩は猫である。名前はまだ無い。 人民网 你好,世界 안녕하세요 여러분",
    "שלום עולם، مرحبا بالعالم नमस्ते दुनिया สวัสดีชาวโลก ආයුබෝවන් გამარჯობა Բարեւ",
    "🦙 👋🏽 👨‍👩‍👧‍👦 🇫🇷 ☃️ ∑∫√ ≤≥≠ → ← … e\u0301 n\u0303 \u0e01\u0e33",
    "def f(x):    return  x ** 2 + 3.14159        # 12345 67890 2,048",
]


def both(data: bytes) -> Both:
    return ScratchSentencePiece.from_bytes(data), SentencePieceTokenizer.from_bytes(data)


@pytest.fixture(scope="module")
def english() -> Both:
    """2,000 tokens of English; the rarest characters are spelled in bytes."""
    texts = [text for _, text in sorted(pydoc_data.topics.topics.items())]
    return both(train_sentencepiece(texts, 2000, character_coverage=0.999).model_proto)


@pytest.fixture(scope="module")
def multilingual() -> Both:
    """700 tokens of many scripts, of digits and of runs of spaces; every character has a piece."""
    return both(train_sentencepiece(MULTILINGUAL * 5, 700, character_coverage=1.0).model_proto)


@pytest.fixture(params=["english", "multilingual"])
def pair(request: pytest.FixtureRequest) -> Both:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def llama() -> Both:
    """Meta's own file, where there is one."""
    path = os.environ.get("LLAMA_TOKENIZER_MODEL")
    if not path:
        pytest.skip("LLAMA_TOKENIZER_MODEL does not name Meta's tokenizer.model")
    return ScratchSentencePiece(path, 32_000), SentencePieceTokenizer(path, 32_000)


# ---- random texts and ids ---------------------------------------------------------------------

WORDS = " ".join([*MULTILINGUAL, *pydoc_data.topics.topics["if"].split()]).split()
SIGNS = ["<s>", "</s>", "<unk>", "<0x0A>", "<0xE2>", SPACE, SPACE * 2, "\ufffd", "\u2047", "\ufeff"]


def point(chance: random.Random) -> str:
    """A code point that is no surrogate; assigned or not."""
    while (
        0xD800 <= (c := chance.randrange(chance.choice((0x80, 0x800, 0x10000, 0x110000)))) < 0xE000
    ):
        pass
    return chr(c)


KINDS = (
    lambda r: r.choice(WORDS),
    lambda r: " " + r.choice(WORDS),
    lambda r: r.choice(WORDS)[: r.randrange(4)],
    lambda r: " " * r.choice((1, 1, 2, 3, 7, 40)),
    lambda r: str(r.randrange(10 ** r.randrange(1, 12))),
    lambda r: point(r),
    lambda r: "".join(point(r) for _ in range(r.randrange(5))),
    lambda r: chr(r.randrange(0x21)),  # controls
    lambda r: chr(r.randrange(0x300, 0x370)),  # combining marks, with nothing before them or much
    lambda r: chr(r.randrange(0x1F300, 0x1FB00)) + r.choice(("", "\ufe0f", "\u200d", "\U0001f3fd")),
    lambda r: r.choice(SIGNS),
    lambda r: r.choice(WORDS[0]) * r.randrange(30),  # the same character over and over
)


def texts(count: int, seed: int) -> Iterator[str]:
    """Random texts of every kind, among them the empty one; the same for the same seed."""
    chance = random.Random(seed)
    for _ in range(count):
        yield "".join(chance.choice(KINDS)(chance) for _ in range(chance.randrange(8)))


def id_lists(count: int, seed: int, vocab_size: int) -> Iterator[list[int]]:
    """Random ids; bytes and special tokens are frequent, whole characters of bytes among them."""
    chance = random.Random(seed)
    for _ in range(count):
        ids: list[int] = []
        for _ in range(chance.randrange(7)):
            match chance.randrange(4):
                case 0:
                    ids.append(chance.randrange(vocab_size))
                case 1:
                    ids.append(chance.randrange(3, 259))
                case 2:
                    ids += [3 + byte for byte in point(chance).encode()][: chance.randrange(1, 5)]
                case _:
                    ids.append(chance.randrange(3))
        yield ids


def differs_from_the_library(pair: Both, count: int, seed: int) -> list[Any]:
    """The texts and the ids for which the two differ."""
    ours, wrapped = pair
    library = sentencepiece.SentencePieceProcessor(model_proto=wrapped.model_proto)
    wrong: list[Any] = []
    for text in texts(count, seed):
        # The wrapper is the library but for U+2581, which it gives back.
        theirs = wrapped.encode(text) if SPACE in text else library.encode(text)
        if ours.encode(text) != theirs or ours.decode(theirs) != text:
            wrong.append(text)
    for ids in id_lists(count, seed, ours.vocab_size):
        if ours.decode(ids) != library.decode(ids):
            wrong.append(ids)
    return wrong


def test_a_thousand_texts(pair: Both) -> None:
    assert differs_from_the_library(pair, 1000, seed=1) == []


@pytest.mark.slow
def test_a_hundred_thousand_texts(pair: Both) -> None:
    assert differs_from_the_library(pair, 100_000, seed=2) == []


def test_the_file_of_llama(llama: Both) -> None:
    assert differs_from_the_library(llama, 20_000, seed=3) == []


def test_the_random_texts_are_of_every_kind() -> None:
    many = list(texts(3000, seed=2))
    for part in ("", " " * 40, "\0", "\n", SPACE, "<s>", "\u200d", "吾"):
        assert any(part in text for text in many)
    assert "" in many and any(text[:1] and 0x300 <= ord(text[0]) < 0x370 for text in many)
    assert len({c for text in many for c in text}) > 2000


ANY = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(st.sampled_from([*SIGNS, *WORDS, *" \n\0é12ab"])).map("".join),
)


@given(text=ANY)
@relaxed
def test_hypothesis_finds_no_difference(pair: Both, text: str) -> None:
    ours, wrapped = pair
    assert ours.encode(text, bos=True, eos=True) == wrapped.encode(text, bos=True, eos=True)
    assert ours.decode(ours.encode(text)) == text


@given(ids=st.lists(st.integers(0, 699), max_size=30))
@relaxed
def test_nor_in_ids(pair: Both, ids: list[int]) -> None:
    ours, wrapped = pair
    assert ours.decode(ids) == wrapped.decode(ids)
    assert ours.unfinished(ids) == wrapped.unfinished(ids)


@pytest.mark.slow
def test_every_code_point(multilingual: Both) -> None:
    ours, wrapped = multilingual
    points = [*range(0xD800), *range(0xE000, sys.maxunicode + 1)]
    for start in range(0, len(points), 4096):
        batch = "".join(map(chr, points[start : start + 4096]))
        ids = wrapped.encode(batch)
        assert ours.encode(batch) == ids, f"from U+{points[start]:04X} on"
        assert ours.decode(ids) == batch


# ---- settings of a model ----------------------------------------------------------------------


def trained(**options: Any) -> bytes:
    """A small model with settings that train_sentencepiece does not offer."""
    model = io.BytesIO()
    settings = {
        "model_type": "bpe",
        "vocab_size": 340,
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        **options,
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["some words and more words: <a> 12 <ab> 21 <a  b> abc"] * 9),
        model_writer=model,
        hard_vocab_limit=False,
        minloglevel=3,
        **settings,
    )
    return model.getvalue()


USER = ["<a", "<ab>", "ab", "<a  b>", "é", "é\u0301", "more words", " x"]


@pytest.mark.parametrize(
    "options",
    [
        {"user_defined_symbols": USER},
        {"user_defined_symbols": USER, "byte_fallback": False, "vocab_size": 70},
        {"byte_fallback": False, "vocab_size": 70},
        {"add_dummy_prefix": False},
        {"control_symbols": ["<a>", "words"], "pad_id": 3},
        {"unk_surface": "?", "unk_id": 3, "bos_id": -1, "eos_id": 0},
        {"unk_surface": ""},
        {"split_digits": True, "split_by_whitespace": False},
    ],
    ids=str,
)
def test_other_settings(options: dict[str, Any]) -> None:
    ours, wrapped = both(trained(**options))
    library = sentencepiece.SentencePieceProcessor(model_proto=wrapped.model_proto)
    parts = [
        *USER,
        "<a>",
        "some",
        " words",
        "  ",
        "12",
        "é",
        "\u0301",
        "🦙",
        "🦙🦙",
        "<",
        "b",
        SPACE,
    ]
    chance = random.Random(0)
    for _ in range(2000):
        text = "".join(chance.choice(parts) for _ in range(chance.randrange(9)))
        assert ours.encode(text) == wrapped.encode(text), text
        ids = [chance.randrange(ours.vocab_size) for _ in range(chance.randrange(6))]
        assert ours.decode(ids) == library.decode(ids), ids
        assert ours.decode(wrapped.encode(text)) == wrapped.decode(wrapped.encode(text)), text
    for name in ("vocab_size", "unk_id", "bos_id", "eos_id", "pad_id"):
        assert getattr(ours, name) == getattr(wrapped, name), name


@pytest.mark.parametrize("option", [{"control_symbols": ["¤"]}, {"unk_piece": "¤"}], ids=str)
def test_a_special_piece_of_one_character_is_not_found_in_text(option: dict[str, Any]) -> None:
    ours, wrapped = both(trained(**option))
    for text in ("¤", "1 ¤\u2581¤ 2", "¤¤"):
        assert ours.encode(text) == wrapped.encode(text)
        assert ours.decode(ours.encode(text)) == text


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"model_type": "unigram", "vocab_size": 290}, "no byte-pair model"),
        ({"normalization_rule_name": "nmt_nfkc"}, "by a table before"),
        ({"remove_extra_whitespaces": True}, "joins spaces"),
        ({"treat_whitespace_as_suffix": True}, "at the end of its pieces"),
        ({"escape_whitespaces": False}, "does not write spaces"),
    ],
    ids=str,
)
def test_what_is_not_done_is_refused(options: dict[str, Any], says: str) -> None:
    data = trained(**{k: v for k, v in options.items() if k != "escape_whitespaces"})
    if "escape_whitespaces" in options:  # the trainer cannot make it
        proto = dataclasses.replace(ModelProto.parse(data), escape_whitespaces=False)
        data = proto.to_bytes()
    with pytest.raises(CourseError, match=f"the file {says}|{says}") as error:
        ScratchSentencePiece.from_bytes(data, name="the file")
    assert str(error.value).startswith("the file ") and "SentencePieceTokenizer" in str(error.value)
    SentencePieceTokenizer.from_bytes(data)  # the wrapper does it


def test_a_table_for_decoding_is_refused() -> None:
    with_table = trained(normalization_rule_name="nmt_nfkc")
    table = ModelProto.parse(with_table).normalization
    with pytest.raises(CourseError, match="after it has decoded"):
        ScratchSentencePiece.from_bytes(trained() + field(5, field(2, table)))
    ScratchSentencePiece.from_bytes(trained() + field(5, field(1, "identity")))


@pytest.mark.parametrize(
    ("place", "kind", "says"),
    [
        (300, UNUSED, "marked as unused"),
        (0, CONTROL, "not exactly one"),
        (1, UNKNOWN, "not exactly"),
    ],
)
def test_odd_kinds_of_pieces_are_refused(english: Both, place: int, kind: int, says: str) -> None:
    pieces = list(english[0].proto.pieces)
    pieces[place] = dataclasses.replace(pieces[place], type=kind)
    model = dataclasses.replace(english[0].proto, pieces=tuple(pieces))
    with pytest.raises(CourseError, match=says):
        ScratchSentencePiece.from_bytes(model.to_bytes())


@pytest.mark.parametrize(
    ("place", "text", "says"),
    [
        (400, None, "same piece twice"),
        (4, "<0xXY>", "all 256 bytes"),
        (4, "<0x00>", "same piece twice"),
    ],
)
def test_what_the_library_refuses_is_refused(
    english: Both, place: int, text: str | None, says: str
) -> None:
    pieces = list(english[0].proto.pieces)
    pieces[place] = dataclasses.replace(pieces[place], text=text or pieces[399].text)
    data = dataclasses.replace(english[0].proto, pieces=tuple(pieces)).to_bytes()
    for reader in (ScratchSentencePiece, SentencePieceTokenizer):
        with pytest.raises(CourseError):
            reader.from_bytes(data)
    with pytest.raises(CourseError, match=says):
        ScratchSentencePiece.from_bytes(data)


# ---- the rest of the protocol -----------------------------------------------------------------


def test_the_protocol(english: Both, tmp_path: Path) -> None:
    ours, wrapped = english
    assert isinstance(ours, Protocol)
    assert (ours.vocab_size, ours.unk_id, ours.bos_id, ours.eos_id, ours.pad_id) == (
        2000,
        0,
        1,
        2,
        -1,
    )
    assert ours.encode("", bos=True, eos=True) == [1, 2]
    assert ours.id_to_piece(13) == "<0x0A>" and ours.score(300) == -(300 - 259)
    ours.save(tmp_path / "a" / "tokenizer.model")
    wrapped.save_llama2c(tmp_path / "tokenizer.bin")
    for path in (tmp_path / "a" / "tokenizer.model", tmp_path / "tokenizer.bin"):
        again = ScratchSentencePiece(path, vocab_size=2000)
        assert again.encode("naïve  \u2581 12 🦙") == wrapped.encode("naïve  \u2581 12 🦙")
    with pytest.raises(CourseError, match="holds 2000 tokens, expected 32000"):
        ScratchSentencePiece(tmp_path / "tokenizer.bin", vocab_size=32_000)


def test_bad_input(english: Both, tmp_path: Path) -> None:
    ours, _ = english
    with pytest.raises(CourseError, match=r"Character 2 .*U\+DB81"):
        ours.encode("ab\udb81")
    for wrong in (-1, 2000):
        with pytest.raises(CourseError, match=f"no token {wrong}"):
            ours.decode([5, wrong])
        with pytest.raises(CourseError, match=f"no token {wrong}"):
            ours.id_to_piece(wrong)
    with pytest.raises(CourseError, match="There is no file"):
        ScratchSentencePiece(tmp_path / "tokenizer.model")
    with pytest.raises(CourseError, match="no begin"):
        ScratchSentencePiece.from_bytes(trained(bos_id=-1)).encode("a", bos=True)


def test_text_gives_no_special_token(pair: Both) -> None:
    ours, _ = pair
    special = {i for i, p in enumerate(ours.proto.pieces) if p.type in (CONTROL, UNKNOWN)}
    assert special == {0, 1, 2}
    for piece in ours.proto.pieces[:259]:
        for text in (piece.text, f"a{piece.text}b", f" {piece.text}\n"):
            assert special.isdisjoint(ours.encode(text)) and ours.decode(ours.encode(text)) == text


def test_streaming(pair: Both) -> None:
    ours, _ = pair
    text = "naïve 👨‍👩‍👧‍👦  12 \u2581 ไทย"
    decoder = StreamDecoder(ours)
    assert "".join(map(decoder.push, ours.encode(text))) + decoder.finish() == text


def test_merging_is_as_looking_for_the_best_pair_anew() -> None:
    """Against the plainest way of writing it, with equal scores and unreachable pieces."""

    def plainest(symbols: list[str], score: dict[str, float]) -> list[str]:
        while True:
            pairs = [a + b for a, b in pairwise(symbols)]
            if not (known := [score[p] for p in pairs if p in score]):
                return symbols
            i = next(i for i, p in enumerate(pairs) if score.get(p) == max(known))
            symbols = [*symbols[:i], pairs[i], *symbols[i + 2 :]]

    chance = random.Random(5)
    for _ in range(3000):
        some = {"".join(chance.choices("abc", k=chance.randrange(2, 6))) for _ in range(12)}
        score = {text: float(chance.randrange(4)) for text in some}
        text = "".join(chance.choices("abc", k=chance.randrange(12)))
        assert merge(text, score) == plainest(list(text), score)


def test_a_long_text_takes_n_log_n(english: Both) -> None:
    """The worst for a search that begins anew: one run without a space. n squared would take
    hours here."""
    ours, wrapped = english
    text = "ab" * 60_000
    assert ours.encode(text) == wrapped.encode(text)
