"""What a byte-level BPE tokenizer consists of, and what must hold of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from llama_course.errors import CourseError, nearest
from llama_course.tokenizers.pre_tokens import GPT2_PATTERN

# What the begin and the end token are usually called, where nothing else says which they are.
BOS_NAMES = ("<|begin_of_text|>", "<s>", "<bos>", "<|bos|>", "<|startoftext|>")
EOS_NAMES = ("<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "<|endoftext|>")


@dataclass(frozen=True)
class BPEModel:
    """The tokens and the rules by which they are merged.

    tokens: the id of each token, a byte string; all 256 bytes are tokens.
    merges: pairs of tokens, the first to be merged first. None: a pair merges if the two joined
        are a token, and those of lower id come first; so it is in files that list only tokens.
    pattern: cuts text into pre-tokens (see `pre_tokens.py`).
    special_tokens: the id of each token that text never gives by itself, such as `<|end_of_text|>`.
    bos_token, eos_token: which special tokens stand for begin and end; "" for none.
    whole_words: a pre-token that is a token is taken at once, without looking at the merges.
    """

    tokens: Mapping[bytes, int]
    merges: Sequence[tuple[bytes, bytes]] | None
    pattern: str = GPT2_PATTERN
    special_tokens: Mapping[str, int] = field(default_factory=dict)
    bos_token: str = ""
    eos_token: str = ""
    whole_words: bool = False

    def check(self, name: str) -> None:
        """Raise `CourseError`, which says `name` of where it came from, if this cannot work."""
        missing = [byte for byte in range(256) if bytes([byte]) not in self.tokens]
        if missing:
            raise CourseError(
                f"{name} lacks {len(missing)} of the 256 bytes (such as 0x{missing[0]:02X}), so "
                "some text would have no tokens; a byte-level vocabulary has all, so this one may "
                "be cut short or of another kind."
            )
        _check_ids(self.tokens, self.special_tokens, name)
        if b"" in self.tokens or "" in self.special_tokens:
            raise CourseError(f"{name} has a token without text, which no text can give.")
        for role, token in (("begin", self.bos_token), ("end", self.eos_token)):
            if token and token not in self.special_tokens:
                known = self.special_tokens
                raise CourseError(
                    f"{name} has no special token {token!r} to be the {role} token; "
                    f"{nearest(token, known) if known else 'it has no special tokens at all.'}"
                )
        for number, (left, right) in enumerate(self.merges or ()):
            if not {left, right, left + right} <= self.tokens.keys():
                raise CourseError(
                    f"Merge {number} of {name} is of {left!r} and {right!r}, and not all of these "
                    "and the two joined are tokens; take merges and vocabulary from one model."
                )


def usual(names: Sequence[str], special_tokens: Mapping[str, int]) -> str:
    """The first of `names` that is a special token, or ""."""
    return next((name for name in names if name in special_tokens), "")


def _check_ids(tokens: Mapping[bytes, int], special: Mapping[str, int], name: str) -> None:
    owner: dict[int, object] = {}
    for token, i in [*tokens.items(), *special.items()]:
        if i < 0:
            raise CourseError(f"{name} gives the token {token!r} the id {i}; ids begin at 0.")
        if i in owner:
            raise CourseError(
                f"{name} gives the id {i} to both {owner[i]!r} and {token!r}; "
                "each token needs an id of its own."
            )
        owner[i] = token
