"""Tokenizers: text to ids and back."""

from llama_course.tokenizers.huggingface import (
    no_tokenizer_reason,
    read_tokenizer,
    write_huggingface_tokenizer,
)
from llama_course.tokenizers.protocol import Tokenizer
from llama_course.tokenizers.sentencepiece import SentencePieceTokenizer
from llama_course.tokenizers.streaming import StreamDecoder
from llama_course.tokenizers.training import train_sentencepiece

__all__ = [
    "SentencePieceTokenizer",
    "StreamDecoder",
    "Tokenizer",
    "no_tokenizer_reason",
    "read_tokenizer",
    "train_sentencepiece",
    "write_huggingface_tokenizer",
]
