"""Training against a trainer that counts every pair of the whole text anew for each merge."""

from __future__ import annotations

import doctest
from itertools import pairwise
from types import ModuleType

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_course.errors import CourseError
from llama_course.tokenizers import (
    GPT2_PATTERN,
    LLAMA3_PATTERN,
    BPETokenizer,
    bpe,
    byte_alphabet,
)
from llama_course.tokenizers.bpe_training import learn_merges

relaxed = settings(deadline=None, max_examples=150)
ANYTHING = "(?s:.+)"  # the whole text is one pre-token


def naive_merges(texts: list[str], count: int, pattern: str) -> list[tuple[bytes, bytes]]:
    """Every word of the text, again and again, and every pair of each; nothing is kept."""
    words = [
        [bytes([b]) for b in word.encode("utf-8")]
        for text in texts
        for word in regex.findall(pattern, text)
    ]
    merges: list[tuple[bytes, bytes]] = []
    while len(merges) < count:
        pairs = [pair for word in words for pair in pairwise(word)]
        if not pairs:
            break
        best = pairs[0]
        for pair in set(pairs):
            if (pairs.count(pair), pair) > (pairs.count(best), best):
                best = pair
        merges.append(best)
        for word in words:
            i = 0
            while i + 1 < len(word):
                if (word[i], word[i + 1]) == best:
                    word[i : i + 2] = [best[0] + best[1]]
                i += 1
    return merges


# Few different characters, so that many pairs are equally frequent and many overlap themselves;
# characters of two, three and four bytes, among them the first and the last byte there is in UTF-8.
TEXTS = st.lists(
    st.one_of(
        st.text("ab", max_size=30),
        st.text("ab c'\n", max_size=40),
        st.text("aé€😀\U0010ffff\0 1\x7f\x80", max_size=25),
        st.text(max_size=12),
    ),
    max_size=4,
)


@given(TEXTS, st.integers(0, 25), st.sampled_from([GPT2_PATTERN, LLAMA3_PATTERN, ANYTHING]))
@relaxed
def test_the_merges_are_the_naive_trainers(texts: list[str], count: int, pattern: str):
    expected = naive_merges(texts, count, pattern)
    tokenizer = BPETokenizer.train(texts, 256 + len(expected), pattern=pattern)
    assert tokenizer.model.merges == expected
    assert list(tokenizer.model.tokens.values()) == list(range(256 + len(expected)))
    assert list(tokenizer.model.tokens)[256:] == [left + right for left, right in expected]
    if len(expected) < count:
        with pytest.raises(CourseError, match=f"ask for at most {256 + len(expected)}, or"):
            BPETokenizer.train(texts, 256 + count, pattern=pattern)


@given(st.text("ab", max_size=60), st.integers(0, 20))
@relaxed
def test_long_runs(text: str, count: int):
    """Pairs that overlap themselves: a count that was kept wrongly shows here first."""
    words = {text.encode(): 1} if text else {}
    assert learn_merges(words, count) == naive_merges([text], count, ANYTHING)


def test_a_tie_goes_to_the_greater_byte_strings():
    # All pairs occur once. As text "é" (C3 A9) is beyond "z" (7A), as bytes too; but "z" is beyond
    # "ab" only as a string, not as the later token.
    assert learn_merges({b"ab": 1, b"yz": 1, b"\xc3\xa9": 1}, 1) == [(b"\xc3", b"\xa9")]
    # The same first token: the second decides.
    assert learn_merges({b"ab": 1, b"ac": 1}, 1) == [(b"a", b"c")]
    # A token that goes on is greater than one that ends: ("ab", "x") before ("a", "z").
    words = {b"ab": 9, b"abx": 2, b"az": 2}
    assert learn_merges(words, 2) == [(b"a", b"b"), (b"ab", b"x")]
    # And the extremes, where a key that complements bytes could lose its order.
    assert learn_merges({b"\xff\x00": 1, b"\xff\xff": 1, b"\x00\xff": 1}, 3) == [
        (b"\xff", b"\xff"),
        (b"\xff", b"\x00"),
        (b"\x00", b"\xff"),
    ]


def test_a_count_that_falls_is_not_believed():
    # (b, c) occurs 5 times, until (a, b), which occurs 6 times, takes 4 of them away.
    words = {b"abc": 4, b"bc": 1, b"ab": 2, b"de": 3}
    assert learn_merges(words, 3) == [(b"a", b"b"), (b"ab", b"c"), (b"d", b"e")]


def test_ids_and_special_tokens():
    tokenizer = BPETokenizer.train(["banana band"], 262, ["<|endoftext|>", "<|user|>"])
    assert tokenizer.vocab_size == 262
    assert tokenizer.special_tokens == {"<|endoftext|>": 260, "<|user|>": 261}
    assert (tokenizer.bos_id, tokenizer.eos_id) == (-1, 260)
    assert [tokenizer.token_bytes(i) for i in (0, 97, 255)] == [b"\0", b"a", b"\xff"]
    named = BPETokenizer.train(["ab"], 258, ["<|x|>"], bos_token="<|x|>")
    assert (named.bos_id, named.eos_id) == (257, -1)
    assert BPETokenizer.train([], 256).encode("é") == [0xC3, 0xA9]
    usual = BPETokenizer.train([], 258, ["<|begin_of_text|>", "<|end_of_text|>"])
    assert (usual.bos_id, usual.eos_id) == (256, 257)


def test_special_tokens_in_the_texts_count_for_nothing():
    texts = ["xy<|endoftext|>yz", "<|endoftext|>"]
    tokenizer = BPETokenizer.train(texts, 259, ["<|endoftext|>"])
    assert tokenizer.model.merges == [(b"y", b"z"), (b"x", b"y")]  # nothing across it either
    with pytest.raises(CourseError, match="after 2 merges no pair is left; ask for at most 259"):
        BPETokenizer.train(texts, 260, ["<|endoftext|>"])


def test_one_text_is_a_text_and_a_generator_is_read_once():
    text = "low lower lowest " * 3
    whole = BPETokenizer.train(text, 262)
    assert whole.model == BPETokenizer.train([text], 262).model
    assert whole.model == BPETokenizer.train((t for t in [text]), 262).model


def test_long_texts_are_counted_as_a_whole(monkeypatch: pytest.MonkeyPatch):
    text = "It's  5 o'clock.\n\n  'tis   late " * 20
    whole = BPETokenizer.train([text], 270).model
    monkeypatch.setattr("llama_course.tokenizers.pre_tokens._BLOCK", 7)
    assert BPETokenizer.train([text], 270).model == whole


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["ab"], 200), "A vocabulary of 200 is too small for 256 bytes .* at least 256"),
        ((["ab"], 257, ["<a>", "<b>"]), "256 bytes and 2 special tokens; .* at least 258"),
        ((["ab"], 300, ["<a>", "<a>"]), "must have a name of its own"),
        ((["ab"], 300), "after 1 merges no pair is left; ask for at most 257"),
        (([], 257), "ask for at most 256, or train on more text"),
        ((["a", "b\ud800"], 257), r"Character 1 of the text is a lone surrogate \(U\+D800\)"),
        ((["ab"], 258, [""]), "none an empty one"),
    ],
)
def test_what_cannot_be_trained_is_refused(arguments: tuple, message: str):
    with pytest.raises(CourseError, match=message):
        BPETokenizer.train(*arguments)


@pytest.mark.parametrize("module", [bpe, byte_alphabet])
def test_the_examples_in_the_docstrings(module: ModuleType):
    result = doctest.testmod(module)
    assert result.attempted > 0 and result.failed == 0


def test_patterns_and_names_that_cannot_be_used_are_refused():
    with pytest.raises(CourseError, match="cannot be read"):
        BPETokenizer.train(["ab"], 257, pattern="(")
    with pytest.raises(CourseError, match="capturing group"):
        BPETokenizer.train(["ab"], 257, pattern="(a)b")
    with pytest.raises(CourseError, match=r"no special token '<\|e\|>' to be the end token; it h"):
        BPETokenizer.train(["ab"], 257, eos_token="<|e|>")
    with pytest.raises(CourseError, match=r"no special token '<\|e\|>' to parse; this .* has none"):
        BPETokenizer.train(["ab"], 257).encode("a", parse_special=["<|e|>"])


def test_one_special_token_may_be_given_as_it_is():
    assert BPETokenizer.train(["ab"], 258, "<|x|>").special_tokens == {"<|x|>": 257}
