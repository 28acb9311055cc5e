"""RMSNorm: epsilons, LayerNorm's ways, axes, and casts in the wrong place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from llama_course.parity.guesses.guess import Guess

NN_RMS_NORM = torch.finfo(torch.float32).eps  # what nn.RMSNorm takes where it is told none
EPSILONS = (0.0, 1e-8, NN_RMS_NORM, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)


def epsilon_words(eps: float) -> str:
    """How an epsilon is told."""
    return "1.19e-07 (nn.RMSNorm's own)" if eps == NN_RMS_NORM else f"{eps:g}"


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)).to(x.dtype) * weight


def _norm_at(eps: float) -> Callable[..., Tensor]:
    return lambda x, weight, _: _norm(x, weight, eps)


def _divided(root: Callable[[Tensor, float], Tensor]) -> Callable[..., Tensor]:
    """x over something else than the root of the mean square, cast and weighed as it should be."""
    return lambda x, weight, eps: (x.float() / root(x.float(), eps)).to(x.dtype) * weight


def _deviation(unbiased: bool) -> Callable[[Tensor, float], Tensor]:
    return lambda x, e: (x.var(-1, unbiased=unbiased, keepdim=True) + e).sqrt()


def _along(axis: int) -> Callable[[Tensor, float], Tensor]:
    return lambda x, e: (x.square().mean(axis, True) + e).sqrt()


def norm_guesses(args: tuple[Any, ...], found: Any) -> Iterator[Guess]:
    x, weight, eps = args
    for other in EPSILONS:
        if other != eps:
            told = f"epsilon is {epsilon_words(other)} in place of {eps:g}."
            yield Guess(told if other else "epsilon is left out.", _norm_at(other))
    solved = _solved_epsilon(x, weight, found)
    if solved is not None:
        yield Guess(f"epsilon is {solved:.3g} in place of {eps:g}.", _norm_at(solved), rank=1)
    yield Guess(
        "epsilon stands outside the root.",
        _divided(lambda x, e: x.square().mean(-1, True).sqrt() + e),
    )
    for limited in (
        lambda x, e: x.square().mean(-1, True).clamp(min=e).sqrt(),
        lambda x, e: x.square().mean(-1, True).sqrt().clamp(min=e),
    ):
        yield Guess("epsilon is the least value allowed, and is not added.", _divided(limited))
    yield Guess("the mean is subtracted first; the root is right.", _centred)
    for unbiased in (False, True):
        told = " (divided by n - 1)" if unbiased else ""
        yield Guess(
            f"the variance{told} is taken in place of the mean square.",
            _divided(_deviation(unbiased)),
        )
        yield Guess(
            f"it is LayerNorm: the mean is subtracted, and the variance{told} taken.",
            _layer_norm(unbiased),
        )
    yield Guess(
        "the squares are summed and not averaged.",
        _divided(lambda x, e: (x.square().sum(-1, True) + e).sqrt()),
    )
    yield Guess("the root is left out.", _divided(lambda x, e: x.square().mean(-1, True) + e))
    yield Guess(
        "it is multiplied by the root and not divided.",
        _divided(lambda x, e: (x.square().mean(-1, True) + e).rsqrt()),
    )
    for axis in range(x.ndim - 1):
        yield Guess(
            "the mean runs over another axis than the last.",
            _divided(_along(axis)),
        )
    yield Guess(
        "one mean is taken over all tokens.", _divided(lambda x, e: (x.square().mean() + e).sqrt())
    )
    yield Guess("the weight is not applied.", lambda x, w, e: _norm(x, torch.ones_like(w), e))
    yield Guess("the weight is used as 1 + weight.", lambda x, w, e: _norm(x, 1 + w, e))
    yield Guess("nothing is normalised: x comes back.", lambda x, w, e: x)
    yield Guess("nothing is normalised: x is weighed alone.", lambda x, w, e: x * w)
    yield from _casts()


def _casts() -> Iterator[Guess]:
    yield Guess(
        "the weight is multiplied before the cast down; LLaMA casts first.",
        lambda x, w, e: _norm(x.float(), w.float(), e).to(x.dtype),
    )
    for quotient in (lambda x, root: x * root.rsqrt(), lambda x, root: x / root.sqrt()):
        yield Guess(
            "the statistics are taken without the upcast to float32.",
            lambda x, w, e, quotient=quotient: (
                quotient(x, x.square().mean(-1, keepdim=True) + e) * w
            ),
        )
    for quotient in (
        lambda x, root: x * root.rsqrt().to(x.dtype),
        lambda x, root: x / root.sqrt().to(x.dtype),
    ):
        yield Guess(
            "the quotient is taken in low precision: the root is cast down before it.",
            lambda x, w, e, quotient=quotient: (
                quotient(x, x.float().square().mean(-1, keepdim=True) + e) * w
            ),
        )


def _centred(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.float()
    centred = wide - wide.mean(-1, keepdim=True)
    root = torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return (centred * root).to(x.dtype) * weight


def _layer_norm(unbiased: bool) -> Callable[..., Tensor]:
    def compute(x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.float()
        centred = wide - wide.mean(-1, keepdim=True)
        return (centred / _deviation(unbiased)(wide, eps)).to(x.dtype) * weight

    return compute


def _solved_epsilon(x: Tensor, weight: Tensor, found: Any) -> float | None:
    """The epsilon with which RMSNorm gives what was found, where one number does."""
    if not isinstance(found, Tensor) or found.shape != x.shape:
        return None
    wide = x.double()
    root = (wide * weight.double() / found.double()).abs()
    eps = (root.square() - wide.square().mean(-1, keepdim=True)).flatten()
    eps = eps[eps.isfinite()]
    if eps.numel() == 0:
        return None
    value = float(eps.median())
    return value if 0 < value < 1 else None
