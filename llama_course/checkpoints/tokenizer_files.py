"""The tokenizer that lies beside a checkpoint: finding it, judging it, writing it."""

from __future__ import annotations

import warnings
from pathlib import Path

from llama_course.checkpoints.journal import Files
from llama_course.errors import CourseError
from llama_course.tokenizers import Tokenizer, read_tokenizer, write_huggingface_tokenizer

# Everything that says how text becomes ids; they are replaced together or not at all.
TOKENIZER_FILES = (
    "tokenizer.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.bin",
    "vocab.json",
    "merges.txt",
)


def find_tokenizer(files: Files, format: str, vocab_size: int) -> Tokenizer | None:
    """The tokenizer of a checkpoint's folder, or None.

    Meta's downloads of LLaMA 1 and 2 have it in the parent folder: there it is taken only if its
    size is the model's, since that folder may belong to something else. Raises `CourseError` where
    the tokenizer has more ids than the model's embedding has rows.
    """
    if any(name in files for name in TOKENIZER_FILES):
        with files.as_folder(TOKENIZER_FILES) as folder:
            tokenizer = read_tokenizer(folder)
        if tokenizer is not None:
            check_size(tokenizer, vocab_size, files.folder)
        return tokenizer
    if format != "meta":
        return None
    tokenizer = read_tokenizer(files.folder)  # which looks in the parent folder too
    return tokenizer if tokenizer is not None and tokenizer.vocab_size == vocab_size else None


def check_size(tokenizer: Tokenizer, vocab_size: int, where: object) -> None:
    """Refuse a tokenizer with ids that the embedding has no row for; tell of rows without id.

    Embeddings are often padded to a round number of rows; the other way round cannot work.
    """
    size = tokenizer.vocab_size
    if size > vocab_size:
        raise CourseError(
            f"{where}: the tokenizer has {size} ids and the model's embedding has {vocab_size} "
            "rows, so some text could not be looked up; use the tokenizer that the model was "
            "trained with."
        )
    if size < vocab_size:
        warnings.warn(
            f"{where}: the tokenizer has {size} ids and the model's embedding has {vocab_size} "
            "rows; the rows beyond are taken for padding or added tokens.",
            stacklevel=4,
        )


def write_tokenizer(tokenizer: Tokenizer, folder: Path, format: str) -> None:
    """Write a tokenizer the way a format keeps it."""
    if format == "huggingface":
        write_huggingface_tokenizer(tokenizer, folder)
        return
    name, method = {
        "meta": ("tokenizer.model", "save"),
        "llama2c": ("tokenizer.bin", "save_llama2c"),
    }[format]
    save = getattr(tokenizer, method, None)
    if save is None:
        raise CourseError(
            f"The format {format!r} keeps its tokenizer as {name}, which a "
            f"{type(tokenizer).__name__} cannot be written as; use format='huggingface', or leave "
            "the tokenizer out."
        )
    save(folder / name)
