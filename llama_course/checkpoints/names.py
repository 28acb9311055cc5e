"""The tensors of a LLaMA checkpoint: nine for each layer and three more, by Meta's names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from llama_course.config import ModelConfig
from llama_course.errors import CourseError

EMBEDDING = "tok_embeddings.weight"
HEAD = "output.weight"
LAYER_WEIGHTS = (
    "attention.wq",
    "attention.wk",
    "attention.wv",
    "attention.wo",
    "feed_forward.w1",  # gate
    "feed_forward.w2",  # down
    "feed_forward.w3",  # up
    "attention_norm",
    "ffn_norm",
)

_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


def weight_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor's name and shape, in the model's order; `output` only where it is not tied."""
    dim, hidden = config.dim, config.hidden_dim
    q_width, kv_width = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    layer: dict[str, tuple[int, ...]] = {
        "attention.wq": (q_width, dim),
        "attention.wk": (kv_width, dim),
        "attention.wv": (kv_width, dim),
        "attention.wo": (dim, q_width),
        "feed_forward.w1": (hidden, dim),
        "feed_forward.w2": (dim, hidden),
        "feed_forward.w3": (hidden, dim),
        "attention_norm": (dim,),
        "ffn_norm": (dim,),
    }
    shapes: dict[str, tuple[int, ...]] = {EMBEDDING: (config.vocab_size, dim)}
    for i in range(config.n_layers):
        shapes |= {f"layers.{i}.{name}.weight": shape for name, shape in layer.items()}
    shapes["norm.weight"] = (dim,)
    if not config.tie_embeddings:
        shapes[HEAD] = (config.vocab_size, dim)
    return shapes


def n_parameters(config: ModelConfig) -> int:
    """The number of parameters, by arithmetic alone; tied embeddings count once."""
    return sum(math.prod(shape) for shape in weight_shapes(config).values())


def some(names: Iterable[str], count: int = 3) -> str:
    """A few names for a sentence, and how many more there are: `a, b, c and 4 more`."""
    names = list(names)
    shown = ", ".join(names[:count])
    return shown if len(names) <= count else f"{shown} and {len(names) - count} more"


def check_layers(n_layers: int, names: Iterable[str], where: object) -> None:
    """Refuse a number of layers that the tensors deny, before anything is made for each layer."""
    found = {int(match[1]) for name in names if (match := _LAYER.search(name))}
    if len(found) != n_layers or (found and max(found) >= n_layers):
        numbers = f"{len(found)} (numbers {min(found)} to {max(found)})" if found else "none"
        raise CourseError(
            f"{where}: the config says {n_layers} layers, and the weights have {numbers}; "
            "the config and the weights are not of one model."
        )


def check_tensors(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], where: object
) -> None:
    """Refuse tensors that are missing, unknown or of another shape than the config says."""
    missing = [name for name in expected if name not in found]
    unknown = [name for name in found if name not in expected]
    if missing or unknown:
        parts = []
        if missing:
            parts.append(f"{len(missing)} missing ({some(missing)})")
        if unknown:
            parts.append(f"{len(unknown)} unknown ({some(unknown)})")
        advice = "is it a LLaMA model, and did the download finish?"
        if missing == [HEAD]:
            advice = "if the embedding serves as the output too, load it with tie_embeddings=True."
        raise CourseError(
            f"{where}: expected the {len(expected)} tensors of a LLaMA model, and found "
            f"{' and '.join(parts)}; {advice}"
        )
    for name, shape in expected.items():
        if tuple(found[name]) != tuple(shape):
            raise CourseError(
                f"{where}: the tensor {name} has shape {tuple(found[name])}, and the config asks "
                f"for {tuple(shape)}; the config and the weights are not of one model."
            )
