"""One step of generation for any model: the library's, or a class of your own that knows less.

What a class can do is read from the arguments of its `forward`: a `cache` (made by its own
`new_cache`), `lengths` for rows of unequal length, `logits="last"` to score the last token only.
"""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llama_course.config import ModelConfig
from llama_course.errors import CourseError

Ids = list[int]


class Stepper:
    """Reads the prompts, then one more token a row each time; gives the next token's logits.

    A class without a cache reads the whole text again in each step.
    """

    def __init__(self, model: nn.Module, prompts: list[Ids], room: int) -> None:
        made: Any = model
        self.model = model
        self.vocab_size = int(made.config.vocab_size)
        self.texts = [list(prompt) for prompt in prompts]
        self.device = next(model.parameters()).device
        self.takes = {name for name in ("lengths", "logits") if _takes(model, name)}
        self.cache: Any = None
        if has_cache(model):
            self.cache = made.new_cache(len(prompts), max(map(len, prompts)) + room)

    def read(self) -> Float[Tensor, "batch vocab"]:
        """Read the prompts."""
        lengths = [len(text) for text in self.texts]
        padded = [text + [0] * (max(lengths) - len(text)) for text in self.texts]
        tokens = torch.tensor(padded, device=self.device)
        return self._run(tokens, None if len(set(lengths)) == 1 else lengths)

    def step(
        self, chosen: Int[Tensor, " batch"], ended: list[bool]
    ) -> Float[Tensor, "batch vocab"]:
        """Read one more token a row; an ended row's are never asked for again."""
        if self.cache is None:
            for text, token in zip(self.texts, chosen.tolist(), strict=True):
                text.append(token)
            return self.read()
        # An ended row is fed nothing more: its slots in the cache stay empty.
        idle = any(ended) and "lengths" in self.takes
        return self._run(chosen[:, None], [0 if e else 1 for e in ended] if idle else None)

    def _run(
        self, tokens: Int[Tensor, "batch seq"], lengths: list[int] | None
    ) -> Float[Tensor, "batch vocab"]:
        given: dict[str, Any] = {} if self.cache is None else {"cache": self.cache}
        if lengths is not None:
            given["lengths"] = lengths
        if "logits" in self.takes:
            given["logits"] = "last"
        with torch.no_grad():
            found = self.model(tokens, **given)
        out = self._checked(found, tokens)
        if "logits" in self.takes or lengths is None:
            return out[:, -1]
        rows = torch.arange(len(lengths), device=out.device)
        last = torch.tensor([max(n - 1, 0) for n in lengths], device=out.device)
        return out[rows, last]

    def _checked(self, found: object, tokens: Tensor) -> Tensor:
        """The model's logits, if they have the shape and the dtype that were promised."""
        name = type(self.model).__name__
        batch, seq = tokens.shape
        wanted = (batch, 1 if "logits" in self.takes else seq, self.vocab_size)
        if not isinstance(found, Tensor):
            got = f"a {type(found).__name__}"
        elif tuple(found.shape) != wanted:
            got = f"shape {tuple(found.shape)}"
        elif found.dtype != torch.float32:
            got = str(found.dtype)
        else:
            return found
        raise CourseError(
            f"{name} was given tokens of shape {(batch, seq)} and must return logits of shape "
            f"{wanted} (batch, seq, vocab) in torch.float32; found {got}."
        )


def has_cache(model: nn.Module) -> bool:
    """Whether a model makes a cache of its own and takes it."""
    return callable(getattr(model, "new_cache", None)) and _takes(model, "cache")


def check_model(model: nn.Module, prompts: list[Ids]) -> ModelConfig:
    """A model's config; refused is one that cannot be stepped, or cannot read these prompts."""
    name = type(model).__name__
    config = getattr(model, "config", None)
    if not isinstance(config, ModelConfig):
        raise CourseError(
            f"{name} has no `config`: its __init__ must keep the ModelConfig that it is given, "
            "as self.config."
        )
    if next(model.parameters(), None) is None:
        raise CourseError(f"{name} has no parameters, so there is nothing to generate with.")
    lengths = [len(prompt) for prompt in prompts]
    if len(set(lengths)) > 1 and not _takes(model, "lengths"):
        raise CourseError(
            f"The prompts have {min(lengths)} to {max(lengths)} tokens, and {name}.forward takes "
            "no `lengths`, so it would read padding as text; give prompts of one length, or one "
            "at a time."
        )
    return config


def warn_without_cache(model: nn.Module) -> None:
    """Say once that a class without a cache is slow."""
    if not has_cache(model):
        warnings.warn(
            f"{type(model).__name__} has no new_cache(batch_size, max_seq_len) together with a "
            "forward that takes `cache`: the whole text is read again for every token.",
            stacklevel=4,
        )


def _takes(model: nn.Module, name: str) -> bool:
    """Whether `forward` takes an argument of this name."""
    parameters = inspect.signature(model.forward).parameters.values()
    return any(
        p.kind is p.VAR_KEYWORD or (p.name == name and p.kind is not p.POSITIONAL_ONLY)
        for p in parameters
    )
