"""Text and batches: named corpora, text to token ids, and windows of them for training."""

from llama_course.data.batches import TokenBatches, eval_windows
from llama_course.data.corpora import (
    CORPORA,
    Corpus,
    cache_folder,
    corpus_path,
    load_corpus,
    load_split,
)
from llama_course.data.encode import encode_corpus
from llama_course.data.python_docs import python_docs
from llama_course.data.split import split

__all__ = [
    "CORPORA",
    "Corpus",
    "TokenBatches",
    "cache_folder",
    "corpus_path",
    "encode_corpus",
    "eval_windows",
    "load_corpus",
    "load_split",
    "python_docs",
    "split",
]
