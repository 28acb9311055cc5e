from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llama_course.tokenizers import SentencePieceTokenizer, StreamDecoder

relaxed = settings(
    deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class ByteTokens:
    """A byte-level tokenizer with the protocol's methods alone: the ids are bytes, then pairs of
    two bytes that split characters anywhere, then a silent control token."""

    PAIRS = (b"a\xe2", b"\x96\x81", b"\x9f\x91", b" \xf0", b"\x8b ", b"\xff\xfe", b"\xc3\xa9")
    vocab_size = 256 + len(PAIRS) + 1
    bos_id = vocab_size - 1
    eos_id = -1

    def encode(self, text: str, bos: bool = False, eos: bool = False) -> list[int]:
        return [self.bos_id] * bos + list(text.encode("utf-8"))

    def decode(self, ids: Iterable[int]) -> str:
        table = [*(bytes([b]) for b in range(256)), *self.PAIRS, b""]
        return b"".join(table[i] for i in ids).decode("utf-8", "replace")


def stream(tokenizer, prefix: list[int], ids: list[int]) -> str:
    decoder = StreamDecoder(tokenizer, prefix)
    return "".join(decoder.push(i) for i in ids) + decoder.finish()


def check(tokenizer, prefix: list[int], ids: list[int]) -> None:
    before, whole = tokenizer.decode(prefix), tokenizer.decode(prefix + ids)
    if whole.startswith(before):
        assert stream(tokenizer, prefix, ids) == whole[len(before) :]
    else:
        stream(tokenizer, prefix, ids)


def byte_ids(*values: int) -> list[int]:
    return [value + 3 for value in values]


# Bytes of valid and broken characters, control tokens, a lone space and common pieces.
CHARACTERS = "é▁\u2028\ufffd👋\U0010ffff\0 \n"
IDS = st.lists(
    st.one_of(
        st.sampled_from([[0], [1], [2], byte_ids(0x20), byte_ids(0x41)]),
        st.integers(0x80, 0xFF).map(byte_ids),
        st.sampled_from([byte_ids(*c.encode()[:k]) for c in CHARACTERS for k in range(1, 5)]),
        st.integers(0, 419).map(lambda i: [i]),
        st.just([-1]),  # the piece of a lone space, whatever its id is
    ),
    max_size=12,
).map(lambda parts: [i for part in parts for i in part])


def _ids(tokenizer: SentencePieceTokenizer, ids: list[int]) -> list[int]:
    pieces = [p.text for p in tokenizer.proto.pieces]
    return [pieces.index("\u2581") if i < 0 else i for i in ids]


@given(prefix=IDS, ids=IDS)
@relaxed
def test_the_stream_is_the_difference(tokenizer: SentencePieceTokenizer, prefix, ids):
    check(tokenizer, _ids(tokenizer, prefix), _ids(tokenizer, ids))


def may_be_completed(tail: bytes) -> bool:
    """By trial: some continuation makes one character of it."""
    seconds = [0x80, 0x90, 0x9F, 0xA0, 0xBF]
    for size in range(len(tail) + 1, 5):
        for second in seconds:
            whole = (tail + bytes([second]) + b"\x80" * 2)[:size]
            try:
                if len(whole.decode("utf-8")) == 1:
                    return True
            except UnicodeDecodeError:
                continue
    return False


def test_every_beginning_of_a_character(plain: SentencePieceTokenizer):
    edges = [0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0]
    tails = [bytes([a]) for a in range(0x80, 0x100)]
    tails += [bytes([a, b]) for a in range(0xBF, 0x100) for b in range(0x80, 0xC0)]
    tails += [bytes([a, b, c]) for a in range(0xDF, 0xF8) for b in edges for c in edges]
    for tail in tails:
        expected = max(
            (k for k in range(1, len(tail) + 1) if may_be_completed(tail[-k:])), default=0
        )
        assert plain.unfinished(byte_ids(*b"a", *tail)) == expected, tail.hex()


@given(ids=IDS)
@relaxed
def test_only_an_open_character_is_held_back(tokenizer: SentencePieceTokenizer, ids):
    ids = _ids(tokenizer, ids)
    decoder, shown = StreamDecoder(tokenizer), ""
    for end in range(1, len(ids) + 1):
        shown += decoder.push(ids[end - 1])
        tail = b""
        for token in reversed(ids[:end]):
            if not 3 <= token < 259:
                break
            tail = bytes([token - 3]) + tail
        held = max(
            (k for k in (1, 2, 3) if k <= len(tail) and may_be_completed(tail[-k:])), default=0
        )
        text = tokenizer.decode(ids[:end])
        assert shown == text[: len(text) - held]


def test_a_continuation_keeps_its_space(plain: SentencePieceTokenizer):
    prompt = plain.encode("the first", bos=True)
    more = plain.encode("the first of the lines")[len(prompt) - 1 :]
    assert stream(plain, prompt, more) == " of the lines"
    # As a text of its own it begins without the added space, as `decode` has it.
    assert stream(plain, [], more) == plain.decode(more) == "of the lines"
    assert stream(plain, [1], more) == "of the lines"
    assert stream(plain, [], [1, *more]) == "of the lines"
    assert stream(plain, [1, 1], [1, *plain.encode("  x"), 2]) == "  x"


def test_a_character_comes_whole_and_at_once(plain: SentencePieceTokenizer):
    decoder = StreamDecoder(plain)
    wave = byte_ids(*"👋".encode())
    assert [decoder.push(i) for i in wave] == ["", "", "", "👋"]
    assert [decoder.push(i) for i in byte_ids(*"\ufffd".encode())] == ["", "", "\ufffd"]
    assert [decoder.push(i) for i in byte_ids(0xF0, 0x9F, 0x41)] == ["", "", "\ufffd\ufffdA"]
    assert decoder.push(byte_ids(0xFF)[0]) == "\ufffd"  # begins no character
    assert [decoder.push(i) for i in byte_ids(0xED, 0xA0)] == ["", "\ufffd\ufffd"]  # a surrogate
    assert decoder.push(byte_ids(0xE2)[0]) == "" and decoder.finish() == "\ufffd"
    assert decoder.finish() == ""


def test_a_control_token_ends_an_open_character(plain: SentencePieceTokenizer):
    ids = [*byte_ids(0xE2), 1, *byte_ids(0x96, 0x81)]
    assert plain.decode(ids) == "\ufffd\ufffd\ufffd"
    decoder = StreamDecoder(plain)
    assert [decoder.push(i) for i in ids] == ["", "\ufffd", "\ufffd", "\ufffd"]


def test_a_character_begun_in_the_prompt(plain: SentencePieceTokenizer):
    wave = byte_ids(*"👋".encode())
    assert stream(plain, [1, *wave[:2]], [*wave[2:], 68]) == "👋A"
    assert stream(plain, [1, *wave[:2]], [68]) == "A"  # the prompt showed its two broken bytes


@given(
    st.lists(st.integers(0, ByteTokens.vocab_size - 1), max_size=8),
    st.lists(st.one_of(st.integers(0, 255), st.integers(256, ByteTokens.vocab_size - 1))),
)
@relaxed
def test_a_byte_level_tokenizer_through_the_protocol_alone(prefix, ids):
    check(ByteTokens(), prefix, ids)


@given(st.text(st.characters(exclude_categories=["Cs"])))
@relaxed
def test_byte_level_text_comes_at_once(text: str):
    decoder, shown = StreamDecoder(ByteTokens()), ""
    for c in text.replace("\ufffd", ""):  # which alone it must take for an open character
        for byte in c.encode("utf-8"):
            shown += decoder.push(byte)
        assert shown[-1] == c


class Counting:
    """Counts the ids that are decoded."""

    def __init__(self, inner: SentencePieceTokenizer) -> None:
        self._inner = inner
        self.vocab_size, self.bos_id, self.eos_id = inner.vocab_size, 1, 2
        self.count = 0

    def encode(self, text: str, bos: bool = False, eos: bool = False) -> list[int]:
        return self._inner.encode(text, bos, eos)

    def decode(self, ids: Iterable[int]) -> str:
        ids = list(ids)
        self.count += len(ids)
        return self._inner.decode(ids)

    def unfinished(self, ids: list[int]) -> int:
        return self._inner.unfinished(ids)


@pytest.mark.parametrize("kind", ["pieces", "begin tokens", "controls", "broken bytes", "mixture"])
@pytest.mark.parametrize("first", [[], [1, 2], byte_ids(0xE2), [300]])
def test_the_time_is_linear(plain: SentencePieceTokenizer, kind: str, first: list[int]):
    rng, n = random.Random(0), 2000
    ids = {
        "pieces": [rng.randrange(259, 1024) for _ in range(n)],
        "begin tokens": [1] * n,
        "controls": [rng.choice([1, 2]) for _ in range(n)],
        "broken bytes": byte_ids(*rng.choices(range(0x80, 0x100), k=n)),
        "mixture": [rng.randrange(1024) for _ in range(n)],
    }[kind]
    tokenizer = Counting(plain)
    result = stream(tokenizer, first, ids)
    # Two decodings an id, each of the anchor (a few ids) and at most four more.
    assert tokenizer.count < 2 * 9 * n
    assert result == plain.decode(first + ids)[len(plain.decode(first)) :]
