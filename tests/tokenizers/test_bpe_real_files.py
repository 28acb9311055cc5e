"""GPT-2's and Llama 3's own files, where they are given, beside the libraries that read them.

LLAMA_COURSE_GPT2 names a folder with vocab.json and merges.txt (or encoder.json and vocab.bpe, the
same files by their first names); LLAMA3_TOKENIZER_MODEL names Meta's tokenizer.model of Llama 3,
whose licence does not let it be kept here.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import pydoc_data.topics
import random
from pathlib import Path
from typing import Any

import pytest
from bpe_samples import SAMPLES, TEXTS, in_tiktoken
from hypothesis import given, settings

from llama_course.tokenizers import (
    BPETokenizer,
    TiktokenTokenizer,
    read_tokenizer,
    write_huggingface_tokenizer,
)

tiktoken = pytest.importorskip("tiktoken")
relaxed = settings(deadline=None, max_examples=500)


def long_text(tokenizer: BPETokenizer) -> str:
    """English, code, every sample, and random runs of the vocabulary's own tokens."""
    rng = random.Random(0)
    tokens = [t.decode("utf-8", "ignore") for t in tokenizer.model.tokens]
    topics = "\n".join(text for _, text in sorted(pydoc_data.topics.topics.items()))
    code = inspect.getsource(inspect)
    return "\n".join([topics, code, *SAMPLES, *("".join(rng.choices(tokens, k=50_000)))])


def gpt2_files() -> tuple[Path, Path]:
    folder = os.environ.get("LLAMA_COURSE_GPT2")
    if not folder:
        pytest.skip("LLAMA_COURSE_GPT2 does not name a folder with GPT-2's vocabulary and merges")
    pairs = [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")]
    return next(
        (vocab, merges)
        for vocab, merges in ((Path(folder) / a, Path(folder) / b) for a, b in pairs)
        if vocab.is_file()
    )


@pytest.fixture(scope="module")
def gpt2() -> BPETokenizer:
    return BPETokenizer.from_gpt2(*gpt2_files())


@pytest.fixture(scope="module")
def tiktokens_gpt2() -> Any:
    """As `tiktoken.get_encoding("gpt2")`, which would fetch the files from the net: its own reader
    of the two files and its own pattern."""
    from tiktoken.load import data_gym_to_mergeable_bpe_ranks
    from tiktoken_ext import openai_public

    vocab, merges = gpt2_files()
    return tiktoken.Encoding(
        "gpt2",
        pat_str=openai_public.r50k_pat_str,
        mergeable_ranks=data_gym_to_mergeable_bpe_ranks(str(merges), str(vocab)),
        special_tokens={"<|endoftext|>": 50256},
    )


def test_gpt2s_vectors(gpt2: BPETokenizer):
    """Ids that are published: OpenAI's and Hugging Face's examples of the GPT-2 tokenizer."""
    assert gpt2.vocab_size == 50257 and gpt2.eos_id == 50256
    assert gpt2.encode("Hello world") == [15496, 995]
    assert gpt2.encode("hello world") == [31373, 995]
    assert gpt2.encode("<|endoftext|>", parse_special=True) == [50256]


def test_gpt2_as_tiktoken_has_it(gpt2: BPETokenizer, tiktokens_gpt2: Any):
    text = long_text(gpt2)
    assert gpt2.encode(text) == tiktokens_gpt2.encode_ordinary(text)
    assert gpt2.decode(gpt2.encode(text)) == text
    for sample in SAMPLES:
        assert gpt2.encode(sample) == tiktokens_gpt2.encode_ordinary(sample)


@given(TEXTS)
@relaxed
def test_gpt2_on_any_text(gpt2: BPETokenizer, tiktokens_gpt2: Any, text: str):
    assert gpt2.encode(text) == tiktokens_gpt2.encode_ordinary(text)


@pytest.fixture(scope="module")
def llama3() -> TiktokenTokenizer:
    path = os.environ.get("LLAMA3_TOKENIZER_MODEL")
    if not path:
        pytest.skip("LLAMA3_TOKENIZER_MODEL does not name Llama 3's tokenizer.model")
    return TiktokenTokenizer(path)


def test_llama3s_ids(llama3: TiktokenTokenizer):
    """Meta's published table, and the vectors of its own test (`test_tokenizer.py` of
    meta-llama/llama-models)."""
    assert (llama3.vocab_size, llama3.bos_id, llama3.eos_id) == (128_256, 128_000, 128_001)
    text = "This is a test sentence."
    ids = [2028, 374, 264, 1296, 11914, 13]
    assert llama3.encode(text, bos=True, eos=True) == [128_000, *ids, 128_001]
    assert llama3.decode([128_000, *ids, 128_001]) == text
    special = llama3.special_tokens
    assert special["<|start_header_id|>"] == 128_006 and special["<|eot_id|>"] == 128_009
    assert max(special.values()) == 128_255


@pytest.fixture(scope="module")
def tiktokens_llama3(llama3: TiktokenTokenizer) -> Any:
    return in_tiktoken(llama3)


def test_llama3_as_tiktoken_has_it(llama3: TiktokenTokenizer, tiktokens_llama3: Any):
    text = long_text(llama3)
    assert llama3.encode(text) == tiktokens_llama3.encode_ordinary(text)
    assert llama3.decode(llama3.encode(text)) == text
    for sample in SAMPLES:
        assert llama3.encode(sample) == tiktokens_llama3.encode_ordinary(sample)


@given(TEXTS)
@relaxed
def test_llama3_on_any_text(llama3: TiktokenTokenizer, tiktokens_llama3: Any, text: str):
    assert llama3.encode(text) == tiktokens_llama3.encode_ordinary(text)


def test_llama3_saved_is_the_same_file(llama3: TiktokenTokenizer, tmp_path: Path):
    llama3.save(tmp_path / "tokenizer.model")
    found = hashlib.md5((tmp_path / "tokenizer.model").read_bytes()).hexdigest()
    assert found == "08292403f8b173e7524d7fba7bbbd2d3"


@pytest.mark.parametrize("which", ["gpt2", "llama3"])
def test_real_ones_as_tokenizer_json(which: str, request: pytest.FixtureRequest, tmp_path: Path):
    """Written, read by Hugging Face's library and by us: the same ids in all three."""
    tokenizers = pytest.importorskip("tokenizers")
    ours = request.getfixturevalue(which)
    write_huggingface_tokenizer(ours, tmp_path)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    again = read_tokenizer(tmp_path)
    assert isinstance(again, BPETokenizer) and again.vocab_size == ours.vocab_size
    # Hugging Face's library always takes special tokens in a text as such.
    text = long_text(ours)[:1_000_000].replace("<|", "< |")
    ids = ours.encode(text)
    assert theirs.encode(text, add_special_tokens=False).ids == ids
    assert again.encode(text) == ids
