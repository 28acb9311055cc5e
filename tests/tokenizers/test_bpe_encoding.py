"""What a byte-level BPE gives and gives back, beside tiktoken and beside the plain definition."""

from __future__ import annotations

import copy
import pickle
import random
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

import pytest
import regex
from bpe_samples import PATTERNS, SAMPLES, SIZE, SPECIAL, TEXTS, by_ids, in_tiktoken, trained
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_course.errors import CourseError
from llama_course.tokenizers import BPEModel, BPETokenizer, StreamDecoder, Tokenizer
from llama_course.tokenizers.bpe_merging import merge

relaxed = settings(deadline=None, max_examples=200)
which_pattern = pytest.mark.parametrize("which", PATTERNS)
KINDS = st.sampled_from([trained, by_ids])


def test_it_keeps_the_protocol():
    assert isinstance(trained(), Tokenizer)


@given(KINDS, st.sampled_from(list(PATTERNS)), st.one_of(TEXTS, st.text()))
@relaxed
def test_every_text_comes_back(kind, which: str, text: str):
    tokenizer = kind(which)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode("utf-8")
    assert not set(ids) & set(tokenizer.special_tokens.values())


@which_pattern
def test_equal_to_tiktoken_with_tokens_trained_here(which: str):
    """Both kinds of merging, since a trained list of merges and the order of ids say the same."""
    pytest.importorskip("tiktoken")
    listed, ranked = trained(which), by_ids(which)
    theirs = in_tiktoken(listed)
    rng = random.Random(0)
    tokens = [t.decode("utf-8", "ignore") for t in listed.model.tokens]
    mixtures = ["".join(rng.choices(tokens, k=30)) for _ in range(300)]
    for text in SAMPLES + mixtures:
        expected = theirs.encode_ordinary(text)
        assert ranked.encode(text) == expected, repr(text)
        assert listed.encode(text) == expected, repr(text)


@given(st.sampled_from(list(PATTERNS)), TEXTS)
@relaxed
def test_equal_to_tiktoken_on_any_text(which: str, text: str):
    pytest.importorskip("tiktoken")
    theirs = in_tiktoken(by_ids(which))
    assert by_ids(which).encode(text) == theirs.encode_ordinary(text)
    assert by_ids(which).encode(text, parse_special=True) == _with_special(theirs, text)


def _with_special(theirs, text: str) -> list[int]:
    """tiktoken does not say which of two special tokens at one place it takes: here the longer."""
    names = sorted(SPECIAL, key=len, reverse=True)
    ids = []
    for part in regex.split("(" + "|".join(map(regex.escape, names)) + ")", text):
        if part in SPECIAL:
            ids.append(theirs.encode_single_token(part))
        else:
            ids += theirs.encode_ordinary(part)
    return ids


def batched(words: list[str], size: int) -> Iterator[list[str]]:
    return (words[i : i + size] for i in range(0, len(words), size))


@which_pattern
def test_every_character_beside_every_class_is_cut_as_by_tiktoken(which: str):
    """The two libraries have Unicode's classes from different editions; old characters agree.

    A vocabulary of whole words shows the cuts: each word found as one token was one pre-token.
    """
    tiktoken = pytest.importorskip("tiktoken")
    classes: dict[str, list[str]] = {}
    for c in map(chr, range(0x110000)):
        classes.setdefault(unicodedata.ucd_3_2_0.category(c), []).append(c)
    del classes["Cn"], classes["Cs"]  # no characters yet, and halves of characters
    # Of the many alike (ideographs, syllables), some.
    letters = {c for members in classes.values() for c in members[:300] + members[-100:]}
    words = sorted({w for c in letters for w in (f"a{c}", f"1{c}", f"!{c}", f" {c}", f"'{c}")})
    tokens = {bytes([b]): b for b in range(256)}
    for word in words:
        tokens.setdefault(word.encode("utf-8"), len(tokens))
    tokenizer = BPETokenizer(BPEModel(tokens, None, PATTERNS[which], whole_words=True))
    theirs = tiktoken.Encoding(
        "w", pat_str=PATTERNS[which], mergeable_ranks=tokens, special_tokens={}
    )
    for some in batched(words, 200):
        text = "\n".join(some)
        assert tokenizer.encode(text) == theirs.encode_ordinary(text), some


def naive_merge(word: bytes, ranks: dict[tuple[bytes, bytes], int]) -> list[bytes]:
    """The definition: the lowest rank in the word, its leftmost place, until there is none."""
    tokens = [bytes([b]) for b in word]
    while True:
        places = [(ranks[pair], i) for i, pair in enumerate(pairwise(tokens)) if pair in ranks]
        if not places:
            return tokens
        i = min(places)[1]
        tokens[i : i + 2] = [tokens[i] + tokens[i + 1]]


@given(st.text("ab", max_size=60), st.data())
@relaxed
def test_merging_is_the_plain_definition(text: str, data):
    """With merges in any order, also one that no training gives."""
    tokens = [b"a", b"b"]
    ranks: dict[tuple[bytes, bytes], int] = {}
    for _ in range(data.draw(st.integers(0, 12))):
        left, right = data.draw(st.sampled_from(tokens)), data.draw(st.sampled_from(tokens))
        if (left, right) not in ranks:
            ranks[left, right] = data.draw(st.integers(0, 99)) * 100 + len(ranks)  # all different
            tokens.append(left + right)
    found = merge(text.encode(), lambda left, right: ranks.get((left, right)))
    assert found == naive_merge(text.encode(), ranks)


def test_the_list_of_merges_decides_not_the_bytes():
    """Two ways to the same token, of which only one is a merge."""
    tokens = {bytes([b]): b for b in range(256)} | {b"bc": 256, b"abc": 257, b"ab": 258}
    merges = [(b"b", b"c"), (b"a", b"b"), (b"ab", b"c")]
    listed = BPETokenizer(BPEModel(tokens, merges))
    assert listed.encode("abc") == [97, 256]  # b and c first; a and bc are no merge
    assert BPETokenizer(BPEModel(tokens, None)).encode("abc") == [257]
    at_once = BPETokenizer(BPEModel(tokens, merges, whole_words=True))
    assert at_once.encode("abc abc") == [257, 32, 97, 256]  # " abc" is no token
    no_merges = BPETokenizer(BPEModel(tokens, []))
    assert no_merges.encode("abc") == [97, 98, 99]


def test_nothing_is_lost_that_the_pattern_passes_over():
    tokenizer = BPETokenizer.train(["aa bb cc"], 258, pattern=r"\w+")
    assert tokenizer.decode(tokenizer.encode("  aa--bb ")) == "  aa--bb "
    splits = BPETokenizer.train(["aabb"], 256, pattern="a|")
    assert splits.decode(splits.encode("aabba")) == "aabba"


@pytest.mark.parametrize("letters", ["a", "ab", "etaoin"])
def test_a_long_word_takes_no_quadratic_time(letters: str):
    """Counted in questions for a rank: one for each place, and for each merge its own turn, two
    new neighbours, and the turns of at most two that it made out of date."""
    runs = [b"a" * 2**k for k in range(1, 9)] + [b"ab", b"ba", b"bb", b"abab", b"bba"]
    tokens, size, asked = dict.fromkeys(trained().model.tokens), 20_000, 0
    tokens = {token: i for i, token in enumerate(tokens | dict.fromkeys(runs))}

    def rank(left: bytes, right: bytes) -> int | None:
        nonlocal asked
        asked += 1
        return tokens.get(left + right)

    merged = merge("".join(random.Random(0).choices(letters, k=size)).encode(), rank)
    assert len(merged) < 0.9 * size and asked < 6 * size


# ---- special tokens -----------------------------------------------------------------------------


def test_special_tokens_are_parsed_only_where_asked_for():
    tokenizer = trained()
    begin, end, ab, abc = (tokenizer.special_tokens[name] for name in SPECIAL)
    text = "<|begin_of_text|>hi<|a b|><|a b|>c<|end_of_text|>"
    assert not set(tokenizer.encode(text)) & {begin, end, ab, abc}
    hi = tokenizer.encode("hi")
    assert tokenizer.encode(text, parse_special=True) == [begin, *hi, ab, abc, end]
    some = tokenizer.encode(text, parse_special=["<|a b|>"])
    plain = tokenizer.encode
    assert some == [
        *plain("<|begin_of_text|>hi"),
        *(ab, ab),
        *plain("c<|end_of_text|>"),
    ]
    assert tokenizer.encode(text, parse_special="<|a b|>") == some
    assert tokenizer.encode(text, parse_special=[]) == plain(text)
    with pytest.raises(CourseError, match=r"no special token '<\|a\|>'.*did you mean <\|a b\|>"):
        tokenizer.encode(text, parse_special=["<|a|>"])


def test_begin_and_end():
    tokenizer = trained()
    hi = tokenizer.encode("hi")
    assert tokenizer.encode("hi", bos=True, eos=True) == [tokenizer.bos_id, *hi, tokenizer.eos_id]
    assert tokenizer.encode("", True, True) == [tokenizer.bos_id, tokenizer.eos_id]
    bare = BPETokenizer.train([], 256)
    with pytest.raises(CourseError, match=r"no begin \(BOS\) token"):
        bare.encode("hi", bos=True)
    with pytest.raises(CourseError, match=r"no end \(EOS\) token"):
        bare.encode("hi", eos=True)


@given(TEXTS)
@relaxed
def test_parsed_special_tokens_come_back_on_request(text: str):
    tokenizer = trained("llama3")
    ids = tokenizer.encode(text, parse_special=True)
    assert tokenizer.decode(ids, keep_special=True) == text


def test_special_tokens_have_no_text():
    tokenizer = trained()
    a, begin = tokenizer.encode("a"), tokenizer.bos_id
    assert tokenizer.decode([begin, *a, begin]) == "a"
    assert tokenizer.decode([begin, *a], keep_special=True) == "<|begin_of_text|>a"
    assert tokenizer.token_bytes(begin) == b""
    # The two halves of a character are not joined across one.
    assert tokenizer.decode([0xC3, begin, 0xA9]) == "\ufffd\ufffd"


# ---- bytes that are no text ---------------------------------------------------------------------


def test_bytes_that_are_no_text_are_replaced():
    tokenizer = trained()
    assert tokenizer.decode([0xFF]) == "\ufffd"
    assert tokenizer.decode([0xF0, 0x9F, 0x41]) == "\ufffdA"
    assert tokenizer.decode([]) == ""


@given(st.lists(st.integers(0, SIZE - 1), max_size=12), st.lists(st.integers(0, 255), max_size=6))
@relaxed
def test_any_ids_decode_as_python_decodes_their_bytes(ids: list[int], more: list[int]):
    tokenizer = trained()
    special = set(tokenizer.special_tokens.values())
    ids = [i for i in ids + more if i not in special]
    spelled = b"".join(map(tokenizer.token_bytes, ids))
    assert tokenizer.decode(ids) == spelled.decode("utf-8", "replace")


def test_an_id_that_is_not_there():
    tokenizer = trained()
    for wrong in (-1, SIZE):
        for call in (lambda i: tokenizer.decode([97, i]), tokenizer.token_bytes):
            with pytest.raises(CourseError, match=f"no token {wrong}; .* 0 to {SIZE - 1}"):
                call(wrong)


def test_a_lone_surrogate_is_refused(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(CourseError, match=r"Character 2 of the text .* \(U\+D83E\)"):
        trained().encode("ab\ud83e")
    monkeypatch.setattr("llama_course.tokenizers.pre_tokens._BLOCK", 4)
    with pytest.raises(CourseError, match="Character 22 of the text"):
        list(trained().encode_iterable(["a b c d e ", "f g h i j k \ud83e"]))


# Bytes of characters in part and whole, any token, special tokens.
_BYTES = [list(c.encode()[:k]) for c in "é\u2028\ufffd👋\U0010ffff\0 \n" for k in range(1, 5)]
IDS = st.lists(
    st.one_of(
        st.sampled_from(_BYTES),
        st.integers(0x80, 0xFF).map(lambda b: [b]),
        st.integers(0, SIZE - 1).map(lambda i: [i]),
    ),
    max_size=10,
).map(lambda parts: [i for part in parts for i in part])


@given(IDS, IDS)
@relaxed
def test_streamed_decoding_is_the_difference(prefix: list[int], ids: list[int]):
    tokenizer = trained()
    decoder = StreamDecoder(tokenizer, prefix)
    text = "".join(decoder.push(i) for i in ids) + decoder.finish()
    before, whole = tokenizer.decode(prefix), tokenizer.decode(prefix + ids)
    if whole.startswith(before):
        assert text == whole[len(before) :]


@given(IDS)
@relaxed
def test_unfinished_is_what_later_ids_can_change(ids: list[int]):
    """By trial: nothing else changes, whatever follows; and what is held back can change."""
    tokenizer = trained()
    text, held = tokenizer.decode(ids), tokenizer.unfinished(ids)
    continuations = [[b, *[0x80] * n] for b in (0x80, 0x90, 0xA0, 0xBF, 0x41) for n in range(3)]
    futures = [tokenizer.decode(ids + more) for more in continuations]
    sure = text[: len(text) - held]
    assert held in (0, 1) and all(future.startswith(sure) for future in futures)
    changed = [future for future in futures if not future.startswith(text)]
    assert bool(held) == bool(changed)


def test_a_streamed_character_comes_whole_and_at_once():
    decoder = StreamDecoder(trained())
    assert [decoder.push(b) for b in "👋".encode()] == ["", "", "", "👋"]
    # With `unfinished`, a real U+FFFD comes at once too, though it looks like a broken character.
    assert [decoder.push(b) for b in "\ufffd".encode()] == ["", "", "\ufffd"]
    assert [decoder.push(b) for b in (0xED, 0xA0)] == ["", "\ufffd\ufffd"]  # a surrogate
    end = trained().eos_id
    assert [decoder.push(b) for b in (0xE2, end, 0x96)] == ["", "\ufffd", "\ufffd"]


# ---- what is remembered -------------------------------------------------------------------------


def test_what_is_remembered_stays_bounded_and_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    tokenizer = BPETokenizer(trained().model)
    monkeypatch.setattr(type(tokenizer._ids_of), "FULL", 10)
    texts = [f"word{i} word{i % 7} " + "long" * 30 for i in range(60)]
    expected = [BPETokenizer(trained().model).encode(text) for text in texts]
    for _ in range(2):
        assert [tokenizer.encode(text) for text in texts] == expected
        assert 0 < len(tokenizer._ids_of) <= 10
        assert max(map(len, tokenizer._ids_of)) <= 64


def test_a_copy_and_another_process_have_the_same_tokenizer():
    tokenizer = BPETokenizer(trained("llama3").model)
    tokenizer.encode("hello there")
    small = len(pickle.dumps(BPETokenizer(trained("llama3").model)))
    sent = pickle.dumps(tokenizer)
    assert len(sent) == small  # what is remembered does not travel
    for other in (pickle.loads(sent), copy.deepcopy(tokenizer)):
        assert other.encode("hello there", bos=True) == tokenizer.encode("hello there", bos=True)
        assert other.model == tokenizer.model
