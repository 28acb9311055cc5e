"""Meta's own tokenizer.model, where there is one: it may not be passed on with the course.

Set LLAMA_TOKENIZER_MODEL to the path of LLaMA 1's or Llama 2's tokenizer.model (32,000 tokens).
"""

from __future__ import annotations

import os

import pytest

from llama_course.tokenizers import SentencePieceTokenizer, StreamDecoder

VECTORS = {
    "Hello world": [15043, 3186],
    " Hello world": [29871, 15043, 3186],
    "": [],
    "\n": [29871, 13],
    "12345": [29871, 29896, 29906, 29941, 29946, 29945],
    "\N{LLAMA}": [29871, 243, 162, 169, 156],
    "  two  spaces": [259, 1023, 29871, 8162],
    "I believe the meaning of life is": [306, 4658, 278, 6593, 310, 2834, 338],
    "<s>hi": [529, 29879, 29958, 2918],
}


@pytest.fixture(scope="module")
def llama() -> SentencePieceTokenizer:
    path = os.environ.get("LLAMA_TOKENIZER_MODEL")
    if not path:
        pytest.skip("LLAMA_TOKENIZER_MODEL does not name Meta's tokenizer.model")
    return SentencePieceTokenizer(path, vocab_size=32_000)


@pytest.mark.parametrize("text", VECTORS, ids=repr)
def test_vector(llama: SentencePieceTokenizer, text: str):
    assert llama.encode(text) == VECTORS[text]
    assert llama.decode(VECTORS[text]) == text
    decoder = StreamDecoder(llama)
    assert "".join(map(decoder.push, VECTORS[text])) + decoder.finish() == text


def test_special_ids(llama: SentencePieceTokenizer):
    assert (llama.unk_id, llama.bos_id, llama.eos_id, llama.pad_id) == (0, 1, 2, -1)
    assert llama.encode("Hello world", bos=True, eos=True) == [1, 15043, 3186, 2]


def test_scores(llama: SentencePieceTokenizer):
    """The order of the ids is that of the scores, but for 16 pieces: runs of spaces."""
    other = [i for i in range(259, 32_000) if llama.score(i) != -(i - 259)]
    assert len(other) == 16
    assert {llama.score(i) for i in other} == {-1e9}
    assert all(set(llama.id_to_piece(i)) == {"\u2581"} for i in other)


def test_tokenizer_bin(llama: SentencePieceTokenizer, tmp_path):
    llama.save_llama2c(tmp_path / "tokenizer.bin")
    assert (tmp_path / "tokenizer.bin").read_bytes()[:4] == (27).to_bytes(4, "little")
    again = SentencePieceTokenizer(tmp_path / "tokenizer.bin")
    for text in [*VECTORS, "def f(x):\n        return  x", " " * 40, "naïve \u2581 🦙"]:
        assert again.encode(text) == llama.encode(text)
        assert llama.decode(llama.encode(text)) == text
