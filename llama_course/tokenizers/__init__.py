"""Tokenizers: text to ids and back."""

from llama_course.tokenizers.bpe import BPETokenizer
from llama_course.tokenizers.bpe_model import BPEModel
from llama_course.tokenizers.huggingface import (
    no_tokenizer_reason,
    read_tokenizer,
    write_huggingface_tokenizer,
)
from llama_course.tokenizers.pre_tokens import GPT2_PATTERN, LLAMA3_PATTERN
from llama_course.tokenizers.protocol import Tokenizer
from llama_course.tokenizers.scratch import ScratchSentencePiece
from llama_course.tokenizers.sentencepiece import SentencePieceTokenizer
from llama_course.tokenizers.streaming import StreamDecoder
from llama_course.tokenizers.tiktoken import TiktokenTokenizer
from llama_course.tokenizers.training import train_sentencepiece

__all__ = [
    "GPT2_PATTERN",
    "LLAMA3_PATTERN",
    "BPEModel",
    "BPETokenizer",
    "ScratchSentencePiece",
    "SentencePieceTokenizer",
    "StreamDecoder",
    "TiktokenTokenizer",
    "Tokenizer",
    "no_tokenizer_reason",
    "read_tokenizer",
    "train_sentencepiece",
    "write_huggingface_tokenizer",
]
