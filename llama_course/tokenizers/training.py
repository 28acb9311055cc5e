"""Training a SentencePiece model with the settings of LLaMA's."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import sentencepiece

from llama_course.errors import CourseError
from llama_course.tokenizers.model_proto import LLAMA_UNK_SURFACE
from llama_course.tokenizers.sentencepiece import SentencePieceTokenizer

_CHUNK = 4096  # characters; longer sentences than the trainer's limit would be dropped unsaid

# Where a text is divided into the trainer's sentences. NUL and U+2585 would make it leave out the
# whole sentence, and U+2581 it takes for a space. As in LLaMA, a newline is never part of a piece.
_BREAKS = re.compile("[\n\0\u2581\u2585]")


def train_sentencepiece(
    texts: Iterable[str],
    vocab_size: int,
    path: str | Path | None = None,
    *,
    character_coverage: float = 0.99995,
) -> SentencePieceTokenizer:
    """Learn a tokenizer of LLaMA's kind from `texts`, and write it to `path` if one is given.

    Byte-pair encoding; characters without a piece are spelled in bytes; every digit is a token of
    its own; text is neither normalised nor are its spaces joined; ids: 0 unknown, 1 begin, 2 end,
    no pad (LLaMA paper, section 2.1, and its tokenizer.model).

    `character_coverage` is the share of the text's characters that get a piece of their own; the
    rarest beyond it are spelled in bytes. The same texts give the same model, byte for byte.

    Raises `CourseError` where `vocab_size` is too small (3 special tokens, 256 bytes, and the
    characters must fit) or more than the text has pairs for, naming the limit.
    """
    if not 0.98 <= character_coverage <= 1:  # sentencepiece's own limits
        raise CourseError(
            f"character_coverage must be between 0.98 and 1, found {character_coverage}."
        )
    if vocab_size < 260:
        raise CourseError(
            f"A vocabulary of {vocab_size} is too small: 3 special tokens and 256 bytes come "
            "first, and the text's characters after them; ask for at least 260, better 512 or more."
        )
    sentences = _Sentences([texts] if isinstance(texts, str) else texts)
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            character_coverage=character_coverage,
            byte_fallback=True,
            split_digits=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            add_dummy_prefix=True,
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=-1,
            unk_surface=LLAMA_UNK_SURFACE,
            max_sentence_length=4 * _CHUNK + 16,  # bytes, and a character has at most four
            num_threads=1,  # stands in the file, so it must not depend on the machine
            minloglevel=3,
        )
    except RuntimeError as error:
        if sentences.error is not None:
            raise sentences.error from None
        raise _explained(str(error), vocab_size, sentences.count) from None
    tokenizer = SentencePieceTokenizer.from_bytes(model.getvalue())
    if path is not None:
        tokenizer.save(path)
    return tokenizer


class _Sentences:
    """The texts in pieces that the trainer takes whole. Keeps the error that ended the reading,
    which the trainer's own error would hide."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = texts
        self.error: Exception | None = None
        self.count = 0

    def __iter__(self) -> Iterator[str]:
        try:
            for number, text in enumerate(self._texts):
                try:
                    text.encode("utf-8")
                except UnicodeEncodeError as error:
                    raise CourseError(
                        f"Text {number} to train on has a lone surrogate "
                        f"(U+{ord(text[error.start]):04X}) at character {error.start}, "
                        "half of a character; read the text again as UTF-8."
                    ) from None
                for line in _BREAKS.split(text):
                    for chunk in _chunks(line):
                        self.count += 1
                        yield chunk
        except Exception as error:
            self.error = error
            raise


def _chunks(line: str) -> Iterator[str]:
    """`line` in pieces of at most `_CHUNK` characters, cut at a space where there is one.

    The space at a cut is left out: the trainer puts one before every sentence.
    """
    start = 0
    while len(line) - start > _CHUNK:
        cut = line.rfind(" ", start + 1, start + _CHUNK)
        end = cut if cut > 0 else start + _CHUNK
        yield line[start:end]
        start = end + 1 if cut > 0 else end
    if start < len(line):
        yield line[start:]


def _explained(message: str, vocab_size: int, count: int) -> CourseError:
    """The trainer's error in words that say what to do."""
    too_small = re.search(r"smaller than required_chars\. \d+ vs (\d+)", message)
    if too_small:
        needed = int(too_small[1])
        return CourseError(
            f"A vocabulary of {vocab_size} is too small for this text: it needs at least {needed} "
            f"(3 special tokens, 256 bytes, {needed - 259} characters); "
            "ask for more, or lower character_coverage."
        )
    too_large = re.search(r"too high \(\d+\)\. Please set it to a value <= (\d+)", message)
    if too_large and int(too_large[1]) > 259:
        return CourseError(
            f"A vocabulary of {vocab_size} is too large for this text: the largest possible is "
            f"{too_large[1]}; ask for that or less, or train on more text."
        )
    if count == 0 or too_large or "sentences_.empty()" in message:
        return CourseError("There is no text to train a tokenizer on; give at least some words.")
    return CourseError(f"sentencepiece could not train on this text: {message}.")
