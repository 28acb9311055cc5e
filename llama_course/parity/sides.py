"""The two sides of a comparison: a config, weights by Meta's names, and what computes with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from llama_course.checkpoints.names import EMBEDDING, HEAD, weight_shapes
from llama_course.checkpoints.opening import open_checkpoint
from llama_course.config import ModelConfig
from llama_course.errors import CourseError
from llama_course.model import Components, Llama, dense_weight


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two that are compared.

    `read(name)` gives a weight in the dtype in which it is stored; from a file it is read then and
    held by nobody, so that a comparison holds one tensor of each side at a time. `source` tells
    that two sides have the same weights. `functions` compute with them; `module` is set where a
    class of one's own is run as it is.
    """

    name: str
    config: ModelConfig
    read: Callable[[str], Tensor]
    source: object
    functions: Components = field(default_factory=Components)
    module: nn.Module | None = None
    parts: Mapping[str, Any] | None = None  # what a class of one's own is made of, by name
    notes: tuple[str, ...] = ()

    def weight(self, name: str, dtype: torch.dtype | None = None) -> Tensor:
        """A weight; a tied head is the embedding."""
        if name == HEAD and self.config.tie_embeddings and self.module is None:
            name = EMBEDDING
        stored = self.read(name)
        return stored if dtype is None else stored.to(dtype)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the matrices."""
        return self.read("layers.0.attention.wq.weight").dtype


def side(what: Any, fields: Mapping[str, Any] | None = None, name: str | None = None) -> Side:
    """A side from a path, a `Llama`, a module of one's own with Meta's names, or a side."""
    if isinstance(what, Side):
        return what
    if isinstance(what, str | Path):
        checkpoint, _ = open_checkpoint(what, fields)
        checkpoint.confirm()
        found = Side(name or str(what), checkpoint.config, checkpoint.read, checkpoint)
        assumed = [
            f"{what} does not say {k}; assumed {v!r}." for k, v in checkpoint.assumed.items()
        ]
        return replace(found, notes=(*checkpoint.notes, *assumed))
    config = getattr(what, "config", None)
    if not isinstance(what, nn.Module) or not isinstance(config, ModelConfig):
        raise CourseError(
            "compare wants two of: the path of a checkpoint, a Llama, a model with a `config` and "
            f"parameters with Meta's names; found {type(what).__name__}."
        )
    name = name or type(what).__name__
    if isinstance(what, Llama):
        return Side(name, config, lambda n: _weight_of(what, n), what, what.components)
    weights = dict(what.named_parameters(remove_duplicate=False))
    wanted = {**weight_shapes(config), HEAD: (config.vocab_size, config.dim)}
    missing = [n for n in wanted if n not in weights]
    if missing:
        raise CourseError(f"{name} has no parameter {missing[0]}: name them as Meta does.")
    return Side(name, config, lambda n: weights[n].detach(), what, module=what)


def _weight_of(model: nn.Module, name: str) -> Tensor:
    """The weight that a module stands for, also where it was replaced (an adapter, a quantized)."""
    module = model.get_submodule(name.removesuffix(".weight"))
    plain = getattr(module, "weight", None)
    if isinstance(plain, Tensor) and not hasattr(module, "dense_weight"):
        return plain.detach()
    return dense_weight(module).detach()


def with_functions(a: Side, functions: Components, name: str) -> Side:
    """The same weights, computed with by other functions."""
    return replace(a, functions=functions, name=name)
