"""SwiGLU: other gates, and w1, w2, w3 in other places."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from llama_course.parity.guesses.guess import Guess


def _gated(gate: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda x, w1, w2, w3: F.linear(gate(F.linear(x, w1)) * F.linear(x, w3), w2)


def swiglu_guesses(args: tuple[Any, ...], found: Any) -> Iterator[Guess]:
    yield Guess(
        "gate and up (w1 and w3) are swapped.", lambda x, w1, w2, w3: _gated(F.silu)(x, w3, w2, w1)
    )
    yield Guess(
        "SiLU is taken of the product.",
        lambda x, w1, w2, w3: F.linear(F.silu(F.linear(x, w1) * F.linear(x, w3)), w2),
    )
    yield Guess("the gate is GELU and not SiLU.", _gated(F.gelu))
    yield Guess(
        "the gate is GELU (by tanh) and not SiLU.", _gated(lambda g: F.gelu(g, approximate="tanh"))
    )
    yield Guess(
        "the gate is x sigmoid(1.702 x), the quick GELU, and not SiLU.",
        _gated(lambda g: g * torch.sigmoid(1.702 * g)),
    )
    yield Guess("the gate is the sigmoid alone.", _gated(torch.sigmoid))
    yield Guess("the gate is ReLU and not SiLU.", _gated(F.relu))
    yield Guess("the gate has no nonlinearity.", _gated(lambda g: g))
    yield Guess(
        "both projections go through SiLU.",
        lambda x, w1, w2, w3: F.linear(F.silu(F.linear(x, w1)) * F.silu(F.linear(x, w3)), w2),
    )
    yield Guess(
        "there is no gate: w2(silu(w1 x)).",
        lambda x, w1, w2, w3: F.linear(F.silu(F.linear(x, w1)), w2),
    )
    yield Guess(
        "the two are added and not multiplied.",
        lambda x, w1, w2, w3: F.linear(F.silu(F.linear(x, w1)) + F.linear(x, w3), w2),
    )
    yield Guess(
        "the stream is added: the sum belongs to the block.",
        lambda x, w1, w2, w3: x + _gated(F.silu)(x, w1, w2, w3),
    )
