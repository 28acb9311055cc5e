"""Byte-level byte-pair encoding, the tokenizer of GPT-2 and Llama 3.

Text is cut into pre-tokens by a pattern (`pre_tokens.py`), and each is spelled in bytes, which are
tokens, so that every text can be encoded. Neighbouring tokens are then merged, over and over, in a
fixed order (`bpe_merging.py`), which was learned from a text (`bpe_training.py`): what occurs
together most was merged first.

Merging is slow, and the same words come again and again; so what a pre-token gave is remembered.
`bpe_steps.py` has the same in five plain functions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from llama_course.errors import CourseError, nearest
from llama_course.tokenizers import bpe_files, bpe_huggingface
from llama_course.tokenizers.bpe_merging import Rank, merge
from llama_course.tokenizers.bpe_model import BOS_NAMES, EOS_NAMES, BPEModel, usual
from llama_course.tokenizers.bpe_training import learn_merges
from llama_course.tokenizers.pre_tokens import GPT2_PATTERN, PreTokenizer, SpecialTokens
from llama_course.tokenizers.utf8 import begins_a_character, check_surrogates

Ids = tuple[int, ...]


class BPETokenizer:
    """Text to ids and back, by byte-level BPE.

    Made by `train`, `load`, `from_gpt2` or `from_tokenizer_json`, or from a `BPEModel`.
    `decode(encode(text)) == text` for every text. `vocab_size` is one more than the greatest id;
    `bos_id` and `eos_id` are -1 where there is no such special token.

    Special tokens in a text are characters like any others, so that what a user types can never
    end a text or open a system prompt. `parse_special` asks for them: True for all, or the names
    of some.

    >>> tokenizer = BPETokenizer.train(["low lower lowest"], 260, ["<|endoftext|>"])
    >>> [tokenizer.token_bytes(i) for i in tokenizer.encode("low lowest")]
    [b'low', b' ', b'lowe', b's', b't']
    """

    def __init__(self, model: BPEModel, name: str = "The tokenizer") -> None:
        model.check(name)
        self.model = model
        self.special_tokens = dict(model.special_tokens)
        self.bos_id = self.special_tokens.get(model.bos_token, -1)
        self.eos_id = self.special_tokens.get(model.eos_token, -1)
        self._bytes = {i: token for token, i in model.tokens.items()}
        self._special_names = {i: text for text, i in self.special_tokens.items()}
        self.vocab_size = 1 + max(chain(self._bytes, self._special_names))
        self._pre_tokens = PreTokenizer(model.pattern)
        self._rank = _rank(model)
        self._ids_of = _Remembered(self._encode_word)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        special_tokens: str | Sequence[str] = (),
        *,
        pattern: str = GPT2_PATTERN,
        bos_token: str | None = None,
        eos_token: str | None = None,
    ) -> BPETokenizer:
        """Learn a vocabulary of `vocab_size` ids: 256 bytes, then merges, then special tokens.

        The most frequent pair of neighbouring tokens is merged first; of equally frequent ones
        the pair whose byte strings are greater. `pattern` cuts text into pre-tokens and stays with
        the tokenizer. Where a special token stands in the texts, they are divided, and it counts
        for nothing. `bos_token` and `eos_token` name two of the special tokens; by default those
        with a usual name, such as `<|begin_of_text|>` and `<|endoftext|>`.

        Raises `CourseError` for a vocabulary that is too small, or more than the texts give.
        """
        special_tokens = _names(special_tokens)
        count = vocab_size - 256 - len(special_tokens)
        if count < 0:
            raise CourseError(
                f"A vocabulary of {vocab_size} is too small for 256 bytes and "
                f"{len(special_tokens)} special tokens; ask for at least "
                f"{256 + len(special_tokens)} ids."
            )
        if len(set(special_tokens) - {""}) < len(special_tokens):
            raise CourseError(
                f"The special tokens are {special_tokens}; each must have a name of its own, and "
                "none an empty one."
            )
        words = _count_words(texts, PreTokenizer(pattern), special_tokens)
        merges = learn_merges(words, count)
        if len(merges) < count:
            raise CourseError(
                f"A vocabulary of {vocab_size} is too large for this text: after {len(merges)} "
                f"merges no pair is left; ask for at most {vocab_size - count + len(merges)}, or "
                "train on more text."
            )
        tokens = [*(bytes([byte]) for byte in range(256)), *map(b"".join, merges)]
        special = {text: len(tokens) + i for i, text in enumerate(special_tokens)}
        model = BPEModel(
            tokens={token: i for i, token in enumerate(tokens)},
            merges=merges,
            pattern=pattern,
            special_tokens=special,
            bos_token=usual(BOS_NAMES, special) if bos_token is None else bos_token,
            eos_token=usual(EOS_NAMES, special) if eos_token is None else eos_token,
        )
        return BPETokenizer(model)

    @classmethod
    def load(cls, path: str | Path) -> BPETokenizer:
        """A tokenizer that `save` wrote."""
        return BPETokenizer(bpe_files.read(Path(path)), str(path))

    @classmethod
    def from_gpt2(
        cls,
        vocab: str | Path,
        merges: str | Path,
        special_tokens: str | Sequence[str] = ("<|endoftext|>",),
    ) -> BPETokenizer:
        """GPT-2's two files: `vocab.json` (`encoder.json`) and `merges.txt` (`vocab.bpe`).

        The files do not say which tokens are special; `special_tokens` does, as far as they are
        in the vocabulary.
        """
        model = bpe_files.read_gpt2(Path(vocab), Path(merges), _names(special_tokens))
        return BPETokenizer(model, f"{vocab} with {Path(merges).name}")

    @classmethod
    def from_tokenizer_json(cls, path: str | Path) -> BPETokenizer:
        """A `tokenizer.json` of Hugging Face that describes a byte-level BPE, as Llama 3's does.

        Raises `CourseError`; of its kind `NotByteLevelBPE` where the file is in order but asks for
        something that is not done here.
        """
        return BPETokenizer(bpe_huggingface.read(Path(path)), str(path))

    def save(self, path: str | Path) -> None:
        """Write a file that `load` reads: JSON, with the bytes in GPT-2's alphabet."""
        bpe_files.write(self.model, Path(path))

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self.model}  # what is remembered stays behind

    def __setstate__(self, state: dict[str, Any]) -> None:
        BPETokenizer.__init__(self, state["model"])

    # ---- text to ids ----------------------------------------------------------------------------

    def encode(
        self,
        text: str,
        bos: bool = False,
        eos: bool = False,
        *,
        parse_special: bool | Collection[str] = False,
    ) -> list[int]:
        """The ids of `text`; `bos` and `eos` put the begin and end tokens around them.

        Raises `CourseError` for a lone surrogate, half of a character, which is no text.
        """
        return list(self.encode_iterable([text], bos, eos, parse_special=parse_special))

    def encode_iterable(
        self,
        chunks: Iterable[str],
        bos: bool = False,
        eos: bool = False,
        *,
        parse_special: bool | Collection[str] = False,
    ) -> Iterator[int]:
        """The ids of the joined chunks, wherever these were cut, one after the other.

        Holds some 65,536 characters at a time, more only where a stretch of text has no place for
        a safe cut: one endless word, or run of spaces. With a pattern other than GPT-2's and
        Llama 3's the whole text is held, since it is not known where that may be cut.
        """
        first = [self._present(self.bos_id, "begin (BOS)")] if bos else []
        last = [self._present(self.eos_id, "end (EOS)")] if eos else []
        special = self._special_finder(parse_special)
        blocks = _checked(self._pre_tokens.blocks(chunks, special))
        ids = chain.from_iterable(self._encode_block(block, special) for block in blocks)
        return chain(first, ids, last)

    def _encode_block(self, text: str, special: SpecialTokens | None) -> Iterator[int]:
        if special is None:
            return chain.from_iterable(map(self._ids_of.__getitem__, self._pre_tokens.split(text)))
        ids: list[Iterable[int]] = []
        for place, part in enumerate(special.split(text)):
            if place % 2:
                ids.append([self.special_tokens[part]])
            else:
                ids += map(self._ids_of.__getitem__, self._pre_tokens.split(part))
        return chain.from_iterable(ids)

    def _encode_word(self, word: str) -> Ids:
        tokens = self.model.tokens
        spelled = word.encode("utf-8")
        if self.model.whole_words and spelled in tokens:
            return (tokens[spelled],)
        return tuple(tokens[token] for token in merge(spelled, self._rank))

    def _special_finder(self, wanted: bool | Collection[str]) -> SpecialTokens | None:
        if isinstance(wanted, bool):
            names: Collection[str] = self.special_tokens if wanted else ()
        else:
            names = _names(wanted)
        for name in names:
            if name not in self.special_tokens:
                known = self.special_tokens
                raise CourseError(
                    f"There is no special token {name!r} to parse; "
                    f"{nearest(name, known) if known else 'this tokenizer has none.'}"
                )
        return SpecialTokens(names) if names else None

    def _present(self, token: int, name: str) -> int:
        if token < 0:
            raise CourseError(f"This tokenizer has no {name} token; encode without it.")
        return token

    # ---- ids to text ----------------------------------------------------------------------------

    def decode(self, ids: Iterable[int], keep_special: bool = False) -> str:
        """The text of `ids`; bytes that are no UTF-8 give U+FFFD.

        Special tokens give nothing, or with `keep_special` their names. Bytes before and after
        one are not joined to a character.
        """
        text: list[str] = []
        spelled: list[bytes] = []
        for token in map(int, ids):
            if token in self._bytes:
                spelled.append(self._bytes[token])
                continue
            name = self._special_names.get(token)
            if name is None:
                raise CourseError(
                    f"There is no token {token}; the tokenizer's ids are 0 to "
                    f"{self.vocab_size - 1}."
                )
            text += [b"".join(spelled).decode("utf-8", "replace"), name if keep_special else ""]
            spelled.clear()
        return "".join([*text, b"".join(spelled).decode("utf-8", "replace")])

    def unfinished(self, ids: Sequence[int]) -> int:
        """How many characters at the end of `decode(ids)` later ids can still change: 0 or 1.

        The bytes of a character that is not complete are shown as one U+FFFD.
        """
        tail = b""
        for token in reversed(ids):
            if token in self._special_names or len(tail) >= 3:
                break  # three bytes are the most that wait for a fourth
            tail = self._bytes.get(token, b"") + tail
        sizes = range(1, min(3, len(tail)) + 1)
        return int(any(begins_a_character(tail[-size:]) for size in sizes))

    def token_bytes(self, token: int) -> bytes:
        """The bytes that a token stands for; none for a special token."""
        if token in self._special_names:
            return b""
        if token not in self._bytes:
            raise CourseError(
                f"There is no token {token}; the tokenizer's ids are 0 to {self.vocab_size - 1}."
            )
        return self._bytes[token]


def _names(given: str | Collection[str]) -> list[str]:
    """Names of special tokens; one alone may be given as it is."""
    return [given] if isinstance(given, str) else list(given)


def _rank(model: BPEModel) -> Rank:
    """Which of two merges comes first, from the list of merges or from the ids."""
    if model.merges is None:
        get = model.tokens.get
        return lambda left, right: get(left + right)
    ranks = {pair: number for number, pair in enumerate(model.merges)}
    return lambda left, right: ranks.get((left, right))


class _Remembered(dict[str, Ids]):
    """The ids of pre-tokens that came before; what is not there is worked out when asked for.

    When it is full it starts afresh: the common words are back at once, and no text, however
    varied, makes it grow beyond some ten megabytes. Long pre-tokens are not kept.
    """

    FULL = 1 << 15
    LONG = 64

    def __init__(self, encode: Callable[[str], Ids]) -> None:
        super().__init__()
        self._encode = encode

    def __missing__(self, word: str) -> Ids:
        ids = self._encode(word)
        if len(word) <= self.LONG:
            if len(self) >= self.FULL:
                self.clear()
            self[word] = ids
        return ids


def _checked(blocks: Iterable[str]) -> Iterator[str]:
    """The blocks of a text, each after a look for lone surrogates."""
    before = 0
    for block in blocks:
        check_surrogates(block, before)
        before += len(block)
        yield block


def _count_words(
    texts: Iterable[str], pre_tokens: PreTokenizer, special_tokens: Collection[str]
) -> Mapping[bytes, int]:
    """How often each pre-token occurs, in bytes; special tokens are cut out."""
    special = SpecialTokens(special_tokens) if special_tokens else None
    words: Counter[str] = Counter()
    for text in [texts] if isinstance(texts, str) else texts:
        for block in _checked(pre_tokens.blocks([text], special)):
            for part in special.split(block)[::2] if special else [block]:
                words.update(pre_tokens.split(part))
    return {word.encode("utf-8"): times for word, times in words.items()}
