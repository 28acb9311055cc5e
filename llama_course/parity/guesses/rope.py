"""RoPE: the angles, and the rotation by them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from llama_course.parity.guesses.guess import Guess

THETAS = (10_000.0, 1_000.0, 100_000.0, 500_000.0, 1_000_000.0)

# ---- angles --------------------------------------------------------------------------------------


def _angles(positions: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    angles = positions[..., None].float() * frequencies
    return angles.cos(), angles.sin()


def _frequencies(head_dim: int, theta: float, step: float = 2.0) -> Tensor:
    return theta ** (-torch.arange(head_dim // 2).double() * step / head_dim)


def _with(make: Callable[[int, float], Tensor], shift: int = 0) -> Callable[..., Any]:
    return lambda p, d, t: _angles(p + shift, make(d, t).float())


def angle_guesses(args: tuple[Any, ...], found: Any) -> Iterator[Guess]:
    positions, head_dim, theta = args
    for other in THETAS:
        if other != theta:
            told = f"the base theta is {other:g} in place of {theta:g}."
            yield Guess(told, _with(_based(other)))
    solved = _solved_theta(positions, head_dim, found)
    if solved is not None:
        told = f"the base theta is {solved:.6g} in place of {theta:g}."
        yield Guess(told, _with(_based(solved)), rank=1)
    for step in (1.0, 4.0):
        yield Guess(
            f"the exponent is {step:g} i / head_dim in place of 2 i / head_dim.",
            _with(_stepped(step)),
        )
    yield Guess("the frequencies are reversed.", _with(lambda d, t: _frequencies(d, t).flip(0)))
    yield Guess(
        "the exponent lacks its minus.",
        _with(lambda d, t: 1 / _frequencies(d, t)),
        fastest=float(1 / _frequencies(head_dim, theta).min()),
    )
    yield Guess(
        "the pairs are counted from 1.",
        _with(lambda d, t: t ** (-(torch.arange(d // 2).double() + 1) * 2 / d)),
    )
    for shift in (1, -1):
        yield Guess(f"the positions are shifted by {shift:+d}.", _with(_frequencies, shift))
    yield Guess(
        "the positions are counted anew, whatever `positions` says.",
        lambda p, d, t: _angles(
            torch.arange(p.shape[-1]).expand(p.shape), _frequencies(d, t).float()
        ),
    )
    if positions.ndim > 1:
        yield Guess(
            "every row gets the positions of the first.",
            lambda p, d, t: _angles(
                p[:1].expand(p.shape) if p.ndim > 1 else p, _frequencies(d, t).float()
            ),
        )
    right = _with(_frequencies)
    yield Guess("cosine and sine are swapped.", lambda *a: right(*a)[::-1])
    yield Guess("the sine has the wrong sign.", lambda *a: (right(*a)[0], -right(*a)[1]))
    for dtype in (torch.bfloat16, torch.float16):
        words = str(dtype).removeprefix("torch.")
        for last in (torch.float32, dtype):  # in which the cosine is taken
            yield Guess(f"the angles are computed in {words}.", _low_angles(dtype, last))
        yield Guess(f"the angles are rounded to {words}.", _rounded_angles(dtype))
        yield Guess(f"the positions are rounded to {words}.", _rounded_positions(dtype))
        yield Guess(f"the frequencies are rounded to {words}.", _with(_rounded(dtype)))
        yield Guess(f"cosine and sine are rounded to {words}.", _low_tables(dtype))


def _based(theta: float) -> Callable[[int, float], Tensor]:
    return lambda head_dim, _: _frequencies(head_dim, theta)


def _stepped(step: float) -> Callable[[int, float], Tensor]:
    return lambda head_dim, theta: _frequencies(head_dim, theta, step)


def _rounded(dtype: torch.dtype) -> Callable[[int, float], Tensor]:
    return lambda head_dim, theta: _frequencies(head_dim, theta).to(dtype)


def _low_angles(dtype: torch.dtype, last: torch.dtype) -> Callable[..., Any]:
    def compute(positions: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
        angles = positions.to(dtype)[..., None] * _frequencies(head_dim, theta).to(dtype)
        return angles.to(last).cos().float(), angles.to(last).sin().float()

    return compute


def _rounded_angles(dtype: torch.dtype) -> Callable[..., Any]:
    def compute(positions: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
        angles = positions[..., None].float() * _frequencies(head_dim, theta).float()
        return angles.to(dtype).float().cos(), angles.to(dtype).float().sin()

    return compute


def _rounded_positions(dtype: torch.dtype) -> Callable[..., Any]:
    return lambda p, d, t: _angles(p.to(dtype), _frequencies(d, t).float())


def _low_tables(dtype: torch.dtype) -> Callable[..., Any]:
    def compute(*args: Any) -> tuple[Tensor, ...]:
        return tuple(table.to(dtype).float() for table in _with(_frequencies)(*args))

    return compute


def _solved_theta(positions: Tensor, head_dim: int, found: Any) -> float | None:
    """The base, from the angle between two neighbouring positions in the second pair."""
    if not isinstance(found, tuple):
        return None
    try:
        cos, sin = (table.double().reshape(-1, head_dim // 2) for table in found)
        flat = positions.flatten()
        at = int((flat.diff() == 1).nonzero()[0])
        turn = torch.atan2(sin, cos)
        step = float((turn[at + 1, 1] - turn[at, 1]) % (2 * math.pi))
        return step ** (-head_dim / 2)
    except (TypeError, ValueError, RuntimeError, IndexError, ZeroDivisionError, OverflowError):
        return None


# ---- the rotation --------------------------------------------------------------------------------


def _turned(
    pair: Callable[..., tuple[Tensor, Tensor]],
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """A rotation of neighbours, in which `pair` says what becomes of (even, odd)."""

    def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        cos, sin = cos.unsqueeze(-2), sin.unsqueeze(-2)
        even, odd = x.to(cos.dtype).unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack(pair(even, odd, cos, sin), dim=-1).flatten(-2).to(x.dtype)

    return rotate


_rotate = _turned(lambda a, b, c, s: (a * c - b * s, a * s + b * c))


def _half_split(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    cos, sin = cos.unsqueeze(-2), sin.unsqueeze(-2)
    a, b = x.to(cos.dtype).chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1).to(x.dtype)


def rotation_guesses(args: tuple[Any, ...], found: Any) -> Iterator[Guess]:
    x, cos, _ = args
    yield Guess(
        "the first half of a head is turned against its second half, which is Hugging Face's "
        "layout; Meta's turns neighbours.",
        _half_split,
    )
    yield Guess("it turns backwards: a sign is wrong.", lambda x, c, s: _rotate(x, c, -s))
    for pair in (
        lambda a, b, c, s: (a * c + b * s, a * s + b * c),
        lambda a, b, c, s: (a * c - b * s, b * c - a * s),
    ):
        yield Guess("one of the two signs is wrong, so that it is no rotation.", _turned(pair))
    yield Guess(
        "the first of a pair is overwritten before the second is computed from it.",
        _turned(lambda a, b, c, s: (a * c - b * s, (a * c - b * s) * s + b * c)),
    )
    yield Guess("nothing is turned.", lambda x, c, s: x)
    yield Guess("it is turned twice.", lambda x, c, s: _rotate(_rotate(x, c, s), c, s))
    yield Guess("cosine and sine are swapped.", lambda x, c, s: _rotate(x, s, c))
    if x.shape[1] == x.shape[2]:
        yield Guess(
            "the angles run along the heads and not along the tokens.",
            lambda x, c, s: _rotate(x.transpose(1, 2), c, s).transpose(1, 2),
        )
    if cos.ndim == 3:
        yield Guess(
            "every row is turned by the angles of the first.",
            lambda x, c, s: _rotate(x, c[:1], s[:1]) if c.ndim == 3 else _rotate(x, c, s),
        )
    yield Guess(
        "every token is turned by the angles of the first.",
        lambda x, c, s: _rotate(x, c[..., :1, :], s[..., :1, :]),
    )
    yield Guess(
        "it is turned in the dtype of x and not in float32.",
        lambda x, c, s: _rotate(x, c.to(x.dtype), s.to(x.dtype)),
    )
    yield Guess(
        "cosine and sine are rounded to the dtype of x.",
        lambda x, c, s: _rotate(x, c.to(x.dtype).float(), s.to(x.dtype).float()),
    )
