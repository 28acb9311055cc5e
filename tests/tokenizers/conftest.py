"""Two small trained tokenizers: one of ordinary text, one of the oddest that Unicode has."""

from __future__ import annotations

import pydoc_data.topics
from itertools import pairwise

import pytest

from llama_course.tokenizers import SentencePieceTokenizer, train_sentencepiece

MULTILINGUAL = [
    "The cat sat on the mat.  It had 12345 reasons, 3.14159 of them good.\n",
    "Le cœur a ses raisons que la raison ne connaît point. Ça va? Über, naïve, señor.\n",
    "Все счастливые семьи похожи друг на друга, каждая несчастливая несчастлива по-своему.\n",
    "吾輩は猫である。名前はまだ無い。 人民网 你好,世界 안녕하세요 여러분\n",
    "שלום עולם، مرحبا بالعالم नमस्ते दुनिया สวัสดีชาวโลก\n",
    "🦙 👋🏽 👨‍👩‍👧‍👦 🇫🇷 ☃️ ∑∫√ ≤≥≠ → ← …\n",
    "def f(x):\n    if x:\n        return  x ** 2\n\treturn None\r\n",
]

# Controls, NUL, SentencePiece's own signs, every kind of space, joiners, byte-order marks,
# noncharacters, both sides of the surrogates, private use, the last code points.
ODD = (
    "".join(map(chr, range(0x21)))
    + "\x7f\x80\x85\xa0\xad\u0300\u0301\u1680\u180e\u2000\u2009\u200b\u200c\u200d\u200e\u202e"
    + "\u2028\u2029\u2047\u2060\u2581\u2585\u3000\ud7ff\ue000\ue001\uf8ff\ufdd0\ufe0f\ufeff"
    + "\ufffc\ufffd\ufffe\uffff\U0001f999\U000e0001\U000f0000\U0010fffd\U0010fffe\U0010ffff"
)


@pytest.fixture(scope="session")
def plain() -> SentencePieceTokenizer:
    """1,024 tokens of English and a little of everything else."""
    topics = [text for _, text in sorted(pydoc_data.topics.topics.items())]
    return train_sentencepiece([*topics, *MULTILINGUAL * 20], 1024)


@pytest.fixture(scope="session")
def odd() -> SentencePieceTokenizer:
    """A vocabulary of control characters, private use characters and the like, and pairs of them;
    U+E000, which is the first to stand in for others, has a piece."""
    text = [ODD, ODD[::-1], *(c + d for c, d in pairwise(ODD)), "a  b" * 9]
    return train_sentencepiece(text * 3, 420, character_coverage=1.0)


@pytest.fixture(params=["plain", "odd"])
def tokenizer(request: pytest.FixtureRequest) -> SentencePieceTokenizer:
    return request.getfixturevalue(request.param)
