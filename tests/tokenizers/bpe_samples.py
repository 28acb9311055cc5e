"""Byte-level tokenizers trained here, hard texts, and tiktoken with the same tokens."""

from __future__ import annotations

import pydoc_data.topics
import unicodedata
from functools import cache
from typing import Any

from hypothesis import strategies as st

from llama_course.tokenizers import GPT2_PATTERN, LLAMA3_PATTERN, BPEModel, BPETokenizer

SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|a b|>", "<|a b|>c"]
SIZE = 800
PATTERNS = {"gpt2": GPT2_PATTERN, "llama3": LLAMA3_PATTERN}

SAMPLES = [
    "",
    " ",
    "  ",
    " a",
    "a  b   c",
    "I'll don't WE'RE it'S 'tis o'clock 'sx 'ſ 'rx 're''ll",
    "12345 1234567 3.14 1,000,000 ٣٤٥٦ ½ⅷ x1y22z333",
    "line\nline\n\n\nline\r\n\r\n  line \n \n x\t\ty\t \n",
    "end of line  \n    indented\n\t\ttabbed (see: [x]) {y} <z> --- ... !!!\n!!!\n",
    "Le cœur a ses raisons que la raison ne connaît point. naïve, señor",
    "e\u0301 \u00e9 \u0301a \u200b\u200d\ufeff \ufffd \ufffe",
    "吾輩は猫である。名前はまだ無い。\n\n人民网,你好 世界 안녕하세요",
    "Все счастливые семьи שלום עולם مرحبا नमस्ते สวัสดี",
    "🦙 👋🏽 👨‍👩‍👧‍👦🇫🇷 ☃️ ∑∫√",
    "\0\x01\x1c\x1d\x7f\x85\xa0\u1680\u2000\u2028\u2029\u202f\u3000x \u3000 y",
    "<|begin_of_text|><|a b|><|a b|>c<|end_of_text|>",
    "a" * 200 + " " * 200 + "1" * 200 + "\n" * 200 + "!" * 200 + "x",
]

# Where a pattern turns from one alternative to another: letters in both cases, the one of another
# script that matches 's without regard to case, digits, signs, spaces and line ends.
_TURNS = [
    *"aAsStTrReEvVlLmMdDſé字\u0301'123٣½!.-(\u200d🦙 \t\n\r\x0b\x85\xa0\u3000\0<|",
    "  ",
    "\r\n",
]


def _long_known(character: str) -> bool:
    """Assigned in Unicode 3.2: later characters are of another class in an older library."""
    return unicodedata.ucd_3_2_0.category(character) != "Cn"


TEXTS = st.one_of(
    st.lists(st.sampled_from(_TURNS), max_size=40).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]).filter(_long_known), max_size=30),
    st.sampled_from(SAMPLES),
)


@cache
def trained(which: str = "gpt2") -> BPETokenizer:
    """800 tokens of English and a little of everything else."""
    topics = "".join(text for _, text in sorted(pydoc_data.topics.topics.items()))
    return BPETokenizer.train(
        [topics[:50_000], *SAMPLES[5:15] * 20], SIZE, SPECIAL, pattern=PATTERNS[which]
    )


@cache
def by_ids(which: str = "gpt2") -> BPETokenizer:
    """The same tokens in the way of tiktoken's files: no list of merges, words taken at once."""
    model = trained(which).model
    return BPETokenizer(
        BPEModel(
            model.tokens,
            None,
            model.pattern,
            model.special_tokens,
            model.bos_token,
            model.eos_token,
            whole_words=True,
        )
    )


def in_tiktoken(tokenizer: BPETokenizer) -> Any:
    """OpenAI's library with the same tokens, pattern and special tokens."""
    import tiktoken

    return tiktoken.Encoding(
        "sample",
        pat_str=tokenizer.model.pattern,
        mergeable_ranks=dict(tokenizer.model.tokens),
        special_tokens=tokenizer.special_tokens,
    )
