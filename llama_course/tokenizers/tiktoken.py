"""Llama 3's tokenizer: a byte-level BPE whose file lists the tokens in the order of their merges.

Each line of the file is a token in base64, a space, and its rank, which is also its id; a pair of
tokens merges if the two joined are a token, those of lowest rank first. Pattern and special tokens
are not in the file: they are those that Meta published with it (`models/llama3/tokenizer.py` of
github.com/meta-llama/llama-models). The file format is that of OpenAI's tiktoken.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path

from llama_course.errors import CourseError
from llama_course.files import written_beside
from llama_course.tokenizers.bpe import BPETokenizer
from llama_course.tokenizers.bpe_model import BPEModel
from llama_course.tokenizers.foreign import is_tiktoken, kind_of, read_file
from llama_course.tokenizers.pre_tokens import LLAMA3_PATTERN

LLAMA3_RANKS = 128_000
_NAMED = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>",
    "<|step_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",  # end of message: a tool is to answer
    "<|eot_id|>",  # end of turn
    "<|python_tag|>",
    "<|image|>",
)
_N_SPECIAL = 256
LLAMA3_SPECIAL_TOKENS = (
    *_NAMED,
    *(f"<|reserved_special_token_{2 + i}|>" for i in range(_N_SPECIAL - len(_NAMED))),
)
_LINE = re.compile(rb"([A-Za-z0-9+/]+={0,2}) (\d{1,9})")


class TiktokenTokenizer(BPETokenizer):
    """Llama 3's `tokenizer.model`: 128,000 tokens, and 256 special tokens after them.

    `ranks` is the number of tokens that the file must hold, so that one that was cut short is
    noticed, since all special ids count from it; None takes any number, for a file of this kind
    with another vocabulary. The `pattern` and the special tokens are Llama 3's.

    A text of any length is encoded as a whole. Meta's own code cuts at 400,000 characters, and at
    25,000 that are all spaces or all not, and may give other ids around such a cut.

    Raises `CourseError` for a file that cannot be read.
    """

    def __init__(
        self, path: str | Path, ranks: int | None = LLAMA3_RANKS, pattern: str = LLAMA3_PATTERN
    ) -> None:
        path = Path(path)
        tokens = parse_ranks(read_file(path, "tokenizer.model of Llama 3"), str(path))
        if ranks is not None and len(tokens) != ranks:
            raise CourseError(
                f"{path} holds {len(tokens):,} tokens, expected {ranks:,}; Llama 3's file may be "
                "cut short, so fetch it again (or give `ranks` for another vocabulary)."
            )
        model = BPEModel(
            tokens=tokens,
            merges=None,
            pattern=pattern,
            special_tokens={text: len(tokens) + i for i, text in enumerate(LLAMA3_SPECIAL_TOKENS)},
            bos_token="<|begin_of_text|>",
            eos_token="<|end_of_text|>",
            whole_words=True,
        )
        super().__init__(model, str(path))

    def save(self, path: str | Path) -> None:
        """Write the file of tokens and ranks, as it was read."""
        ranked = sorted(self.model.tokens.items(), key=lambda item: item[1])
        lines = (base64.b64encode(token) + b" %d\n" % rank for token, rank in ranked)
        with written_beside(Path(path)) as new:
            new.write_bytes(b"".join(lines))


def parse_ranks(data: bytes, name: str) -> dict[bytes, int]:
    """The rank of each token in a file of this kind; `name` is used in errors."""
    if not is_tiktoken(data):
        kind = kind_of(data) or _sentencepiece(data)
        found = f"but {kind}" if kind else f"since it begins with {data[:12]!r}"
        raise CourseError(
            f"{name} is no tokenizer.model of Llama 3, {found}; expected lines of a token in "
            "base64, a space and its rank."
        )
    if not data.endswith(b"\n"):
        raise CourseError(f"{name} is cut short: its last line has no end; fetch it again.")
    tokens: dict[bytes, int] = {}
    line_of: dict[int, int] = {}
    for number, line in enumerate(data.splitlines(), 1):
        match = _LINE.fullmatch(line)
        try:
            if match is None:
                raise ValueError
            token, rank = base64.b64decode(match[1], validate=True), int(match[2])
        except ValueError:
            raise CourseError(
                f"Line {number} of {name} is {line[:40]!r}; expected a token in base64, a space "
                "and its rank, so fetch the file again."
            ) from None
        if rank in line_of:
            raise CourseError(
                f"{name} gives the rank {rank} twice, in lines {line_of[rank]} and {number}; it is "
                "damaged, so fetch it again."
            )
        if token in tokens:
            raise CourseError(
                f"{name} has the token {token!r} twice, in lines {line_of[tokens[token]]} and "
                f"{number}; it is damaged, so fetch it again."
            )
        tokens[token] = rank
        line_of[rank] = number
    if max(line_of) != len(line_of) - 1:
        missing = next(rank for rank in range(len(line_of)) if rank not in line_of)
        raise CourseError(
            f"{name} has no token of rank {missing}, though of higher ones; lines are missing, so "
            "fetch it again."
        )
    return tokens


def _sentencepiece(data: bytes) -> str | None:
    return "a SentencePiece model (LLaMA 1 or 2)" if data[:1] == b"\n" else None
