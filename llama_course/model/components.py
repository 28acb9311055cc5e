"""The seam: the functions that a model computes with, each of which can be the learner's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

from torch import Tensor, nn

from llama_course.model.attention import attention, causal_mask, repeat_kv
from llama_course.model.rmsnorm import rms_norm
from llama_course.model.rope import apply_rope, rope_angles
from llama_course.model.swiglu import Projection, swiglu

Function = Callable[..., Tensor]


@dataclass(frozen=True)
class Components:
    """The mathematics of the model; `Llama(config, components=Components(rms_norm=mine))`.

    A function of yours gets plain arguments: heads already repeated, an explicit mask, weight
    tensors. The library's own take shorter ways to the same numbers, and are the default.
    """

    rms_norm: Function = rms_norm
    rope_angles: Callable[..., tuple[Tensor, Tensor]] = rope_angles
    apply_rope: Function = apply_rope
    causal_mask: Function = causal_mask
    attention: Function = attention
    repeat_kv: Function = repeat_kv
    swiglu: Function = swiglu

    def foreign(self) -> tuple[str, ...]:
        """The names of the functions that are not the library's own."""
        return tuple(
            field.name
            for field in dataclasses.fields(self)
            if getattr(self, field.name) is not field.default
        )

    @property
    def plain_attention(self) -> bool:
        """Whether attention must be handed repeated heads and an explicit mask."""
        return self.attention is not attention or self.repeat_kv is not repeat_kv

    @property
    def plain_mask(self) -> bool:
        """Whether the mask must always be made, since one that sees it is not the library's."""
        return self.plain_attention or self.causal_mask is not causal_mask


def attention_of(components: Components) -> Function:
    """The attention function a module calls: the library's, or a foreign one behind an adapter."""
    if not components.plain_attention:
        return components.attention

    @wraps(components.attention)
    def adapted(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        n = q.shape[1] // k.shape[1]
        k, v = components.repeat_kv(k, n), components.repeat_kv(v, n)
        return components.attention(q, k, v, mask)

    return adapted


def swiglu_of(components: Components) -> Function:
    """The feed-forward function a module calls: the library's, or a foreign one with weights."""
    if components.swiglu is swiglu:
        return components.swiglu

    @wraps(components.swiglu)
    def adapted(x: Tensor, w1: Projection, w2: Projection, w3: Projection) -> Tensor:
        # Under autocast and after casts the weights follow x, as a linear layer's would.
        return components.swiglu(x, *(dense_weight(w).to(x.dtype) for w in (w1, w2, w3)))

    return adapted


def dense_weight(projection: Projection) -> Tensor:
    """The (out, in) weight that a module stands for: its `dense_weight()`, else its `weight`."""
    if isinstance(projection, Tensor):
        return projection
    replaced = getattr(projection, "dense_weight", None)
    if callable(replaced):
        return replaced()
    weight = getattr(projection, "weight", None)
    if isinstance(projection, nn.Linear) and projection.bias is None and weight is not None:
        return weight
    raise TypeError(
        f"{type(projection).__name__} stands for a weight, so it must have a method dense_weight() "
        "that returns that weight as one tensor (out, in)"
    )
