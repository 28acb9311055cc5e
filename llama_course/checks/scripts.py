"""Helpers for cases: the usual scripts, and inputs that make a fair test.

A script of one's own is a generator function:

    def grows(answer):
        mean = answer.RunningMean()      # constructs the answer's class
        mean.update(4.0)
        yield "value after one number", mean.value

Every operation goes through `answer`, one at a time, with copies of its arguments, so that the
same script can be played on an answer that lives in another process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from llama_course.checks.exercise import Script


def calls(part: str, *args: Any, **kwargs: Any) -> Script:
    """A script that calls one function once: the commonest."""

    def script(answer: Any) -> Iterator[tuple[str, Any]]:
        yield f"the result of {part}", getattr(answer, part)(*args, **kwargs)

    return script


def gradients(part: str, *args: Any) -> Script:
    """A script that asks for the gradients of a function with respect to its float tensors."""

    def script(answer: Any) -> Iterator[tuple[str, Any]]:
        for name, value in answer.gradients(part, *args).items():
            yield f"the gradient for {name}", value

    return script


def shapes(part: str, *inputs: tuple[Any, ...]) -> Script:
    """A script that calls a function with several lists of arguments, to compare shape and dtype.

    What it yields has the result's shape and dtype and is all zeros: values are other cases' task.
    """

    def script(answer: Any) -> Iterator[tuple[str, Any]]:
        for args in inputs:
            result = getattr(answer, part)(*args)
            of = ", ".join(str(tuple(a.shape)) for a in args if isinstance(a, Tensor))
            is_tensor = isinstance(result, Tensor)
            yield f"the result for {of}", torch.zeros_like(result) if is_tensor else result

    return script


def normal(
    *shape: int, seed: int, scale: float = 1.0, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Normally distributed numbers; the same for the same seed, and no global state is touched."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=generator) * scale).to(dtype)


def spread_out(x: Tensor) -> Tensor:
    """The same values with gaps between them in memory: equal to `x`, and not contiguous."""
    return torch.stack([x, torch.full_like(x, 7.0)], dim=-1)[..., 0]


def settled(exact: Tensor, dtype: torch.dtype, margin: float = 2.0**-20) -> Tensor:
    """Where rounding `exact` (float64) to `dtype` comes out alike for all values within `margin`.

    Float32 styles differ by some 2^-22 of the value; next to a rounding boundary that is enough to
    round to two neighbours. Outside such places all right styles give the same bits.
    """
    below, above = exact * (1 - margin), exact * (1 + margin)
    return below.to(dtype) == above.to(dtype)


def fair(
    make: Callable[[int], Tensor],
    exact: Callable[[Tensor], Tensor],
    dtype: torch.dtype,
    margin: float = 2.0**-20,
) -> Tensor:
    """The first of `make(0), make(1), ...` for which every component of `exact(x)` is settled.

    `exact` gets the input in float64 and returns the value, before it is rounded to `dtype`.
    """
    for seed in range(1000):
        x = make(seed)
        if bool(settled(exact(x.double()), dtype, margin).all()):
            return x
    raise ValueError(
        "no seed gives values that are all clear of rounding boundaries: make it smaller"
    )
