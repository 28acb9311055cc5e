"""Text to one long row of token ids, small enough to keep in memory or on disk."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from llama_course.errors import CourseError
from llama_course.tokenizers.protocol import Tokenizer


def encode_corpus(
    tokenizer: Tokenizer, text: str | Iterable[str], *, bos: bool = True, eos: bool = False
) -> np.ndarray:
    """The ids of a text, or of several documents one after the other, as a row.

    With `bos` every document begins with the tokenizer's BOS, which tells the model that what
    came before does not count. The row is uint16 where the vocabulary allows it (two bytes a
    token), else uint32. Documents may come from a generator: only ids are held.
    """
    narrow = tokenizer.vocab_size <= 2**16
    dtype = np.dtype(np.uint16 if narrow else np.uint32)
    documents = [text] if isinstance(text, str) else text
    rows = []
    for document in documents:
        ids = np.asarray(tokenizer.encode(document, bos=bos, eos=eos), dtype=np.int64)
        if ids.size and (ids.min() < 0 or ids.max() >= tokenizer.vocab_size):
            wrong = int(ids.min() if ids.min() < 0 else ids.max())
            raise CourseError(
                f"The tokenizer gave id {wrong}, outside its vocabulary of {tokenizer.vocab_size}; "
                "a tokenizer without BOS or EOS must be called with bos=False and eos=False."
            )
        rows.append(ids.astype(dtype))
    return np.concatenate(rows) if rows else np.zeros(0, dtype)
