"""What a function that differs may be computing instead: each guess is tried on the same numbers.

A guess gets the arguments of the call (and what was found, to solve for a number) and computes
what would come out if it were true. It is told only where that is what was found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILONS = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
THETAS = (10_000.0, 1_000.0, 100_000.0, 500_000.0, 1_000_000.0)


@dataclass(frozen=True)
class Guess:
    """What it would mean, and what it would give: one tensor, or cosine and sine."""

    meaning: str
    compute: Callable[..., Any]
    last: bool = False  # a number that was solved for: told only where nothing else fits


# ---- rms_norm ------------------------------------------------------------------------------------


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)).to(x.dtype) * weight


def _norm_at(eps: float) -> Callable[..., Tensor]:
    return lambda x, weight, _: _norm(x, weight, eps)


def _norm_guesses(args: tuple[Any, ...], found: Any) -> Iterator[Guess]:
    x, weight, eps = args
    for other in EPSILONS:
        if other != eps:
            told = f"epsilon is {other:g} in place of {eps:g}" if other else "epsilon is left out"
            yield Guess(f"{told}.", _norm_at(other))
    solved = _solved_epsilon(x, weight, found)
    if solved is not None:
        yield Guess(
            f"epsilon is {solved:.3g} in place of {eps:g}.",
            _norm_at(solved),
            last=True,
        )
    yield Guess(
        "epsilon stands outside the root.",
        lambda x, w, e: (
            (x.float() / (x.float().square().mean(-1, True).sqrt() + e)).to(x.dtype) * w
        ),
    )
    yield Guess("the mean is subtracted, as LayerNorm does.", _centred)
    yield Guess(
        "the variance is taken in place of the mean square.",
        lambda x, w, e: (
            (x.float() * torch.rsqrt(x.float().var(-1, False, keepdim=True) + e)).to(x.dtype) * w
        ),
    )
    yield Guess(
        "the squares are summed and not averaged.",
        lambda x, w, e: (
            (x.float() * torch.rsqrt(x.float().square().sum(-1, True) + e)).to(x.dtype) * w
        ),
    )
    yield Guess(
        "the root is left out.",
        lambda x, w, e: (x.float() / (x.float().square().mean(-1, True) + e)).to(x.dtype) * w,
    )
    yield Guess(
        "the mean runs over another axis than the last.",
        lambda x, w, e: (
            (x.float() * torch.rsqrt(x.float().square().mean(-2, True) + e)).to(x.dtype) * w
        ),
    )
    yield Guess(
        "one mean is taken over all tokens.",
        lambda x, w, e: (x.float() * torch.rsqrt(x.float().square().mean() + e)).to(x.dtype) * w,
    )
    yield Guess(
        "the weight is not applied.", lambda x, w, e: _norm(x, torch.ones_like(w), e).to(x.dtype)
    )
    yield Guess("the weight is used as 1 + weight.", lambda x, w, e: _norm(x, 1 + w, e))
    yield Guess("nothing is normalised: x comes back.", lambda x, w, e: x)
    yield Guess(
        "the weight is multiplied before the cast down; LLaMA casts first.",
        lambda x, w, e: (
            x.float() * torch.rsqrt(x.float().square().mean(-1, True) + e) * w.float()
        ).to(x.dtype),
    )
    yield Guess(
        "the statistics are taken without the upcast to float32.",
        lambda x, w, e: x * torch.rsqrt(x.square().mean(-1, keepdim=True) + e) * w,
    )
    yield Guess(
        "the quotient is taken in low precision: the root is cast down before it.",
        lambda x, w, e: x * torch.rsqrt(x.float().square().mean(-1, True) + e).to(x.dtype) * w,
    )


def _centred(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.float()
    return _norm((wide - wide.mean(-1, keepdim=True)).to(x.dtype), weight, eps)


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


# ---- rope ----------------------------------------------------------------------------------------


def _angles(positions: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    angles = positions[..., None].float() * frequencies
    return angles.cos(), angles.sin()


def _frequencies(head_dim: int, theta: float, step: float = 2.0) -> Tensor:
    return theta ** (-torch.arange(head_dim // 2).double() * step / head_dim)


def _with(make: Callable[[int, float], Tensor], shift: int = 0) -> Callable[..., Any]:
    return lambda p, d, t: _angles(p + shift, make(d, t).float())


def _angle_guesses(args: tuple[Any, ...], found: Any) -> Iterator[Guess]:
    positions, head_dim, theta = args
    for other in THETAS:
        if other != theta:
            told = f"the base theta is {other:g} in place of {theta:g}."
            yield Guess(told, _with(_based(other)))
    solved = _solved_theta(positions, head_dim, found)
    if solved is not None:
        told = f"the base theta is {solved:.6g} in place of {theta:g}."
        yield Guess(told, _with(_based(solved)), last=True)
    for step in (1.0, 4.0):
        yield Guess(
            f"the exponent is {step:g} i / head_dim in place of 2 i / head_dim.",
            _with(_stepped(step)),
        )
    yield Guess("the frequencies are reversed.", _with(lambda d, t: _frequencies(d, t).flip(0)))
    yield Guess("the exponent lacks its minus.", _with(lambda d, t: 1 / _frequencies(d, t)))
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
            lambda p, d, t: _angles(p[:1].expand(p.shape), _frequencies(d, t).float()),
        )
    right = _with(_frequencies)
    yield Guess("cosine and sine are swapped.", lambda *a: right(*a)[::-1])
    yield Guess("the sine has the wrong sign.", lambda *a: (right(*a)[0], -right(*a)[1]))
    for dtype in (torch.bfloat16, torch.float16):
        words = str(dtype).removeprefix("torch.")
        yield Guess(f"the angles are computed in {words}.", _low_angles(dtype))
        yield Guess(f"the frequencies are rounded to {words}.", _with(_rounded(dtype)))
        yield Guess(f"cosine and sine are rounded to {words}.", _low_tables(dtype))


def _based(theta: float) -> Callable[[int, float], Tensor]:
    return lambda head_dim, _: _frequencies(head_dim, theta)


def _stepped(step: float) -> Callable[[int, float], Tensor]:
    return lambda head_dim, theta: _frequencies(head_dim, theta, step)


def _rounded(dtype: torch.dtype) -> Callable[[int, float], Tensor]:
    return lambda head_dim, theta: _frequencies(head_dim, theta).to(dtype)


def _low_angles(dtype: torch.dtype) -> Callable[..., Any]:
    def compute(positions: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
        angles = positions.to(dtype)[..., None] * _frequencies(head_dim, theta).to(dtype)
        return angles.cos().float(), angles.sin().float()

    return compute


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


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    cos, sin = cos.unsqueeze(-2), sin.unsqueeze(-2)
    even, odd = x.to(cos.dtype).unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return turned.flatten(-2).to(x.dtype)


def _half_split(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    cos, sin = cos.unsqueeze(-2), sin.unsqueeze(-2)
    a, b = x.to(cos.dtype).chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1).to(x.dtype)


def _rotation_guesses(args: tuple[Any, ...], found: Any) -> Iterator[Guess]:
    x, cos, _ = args
    yield Guess(
        "the first half of a head is turned against its second half, which is Hugging Face's "
        "layout; Meta's turns neighbours.",
        _half_split,
    )
    yield Guess("it turns backwards: a sign is wrong.", lambda x, c, s: _rotate(x, c, -s))
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
            lambda x, c, s: _rotate(x, c[:1], s[:1]),
        )
    yield Guess(
        "every token is turned by the angles of the first.",
        lambda x, c, s: _rotate(x, c[..., :1, :], s[..., :1, :]),
    )
    yield Guess(
        "it is turned in the dtype of x and not in float32.",
        lambda x, c, s: _rotate(x, c.to(x.dtype), s.to(x.dtype)),
    )


# ---- mask, heads, attention ----------------------------------------------------------------------


def _sees(queries: Tensor, keys: Tensor) -> Tensor:
    return keys[..., None, :] <= queries[..., :, None]


def _indices(like: Tensor, start: int = 0) -> Tensor:
    return (torch.arange(like.shape[-1]) + start).expand(like.shape)


def _mask_guesses(args: tuple[Any, ...], found: Any) -> Iterator[Guess]:
    yield Guess(
        "off by one: a token does not see itself.", lambda q, k: k[..., None, :] < q[..., :, None]
    )
    yield Guess("off by one: each token sees the next one too.", lambda q, k: _sees(q + 1, k))
    yield Guess("it is inverted: True must mean that a query may look.", lambda q, k: ~_sees(q, k))
    yield Guess(
        "the comparison is the wrong way round: tokens see what comes after.",
        lambda q, k: k[..., None, :] >= q[..., :, None],
    )
    yield Guess("queries and keys are exchanged.", lambda q, k: _sees(q, k).transpose(-1, -2))
    yield Guess(
        "it goes by the place in the tensor and not by position.",
        lambda q, k: _sees(_indices(q), _indices(k)),
    )
    yield Guess(
        "it goes by the place, aligned with the end, and not by position.",
        lambda q, k: _sees(_indices(q, k.shape[-1] - q.shape[-1]), _indices(k)),
    )
    yield Guess("queries are counted from 0.", lambda q, k: _sees(_indices(q), k))
    yield Guess("keys are counted from 0.", lambda q, k: _sees(q, _indices(k)))
    yield Guess("everything is shown.", lambda q, k: torch.ones_like(_sees(q, k)))
    if args[0].ndim > 1:
        yield Guess(
            "every row gets the positions of the first.",
            lambda q, k: _sees(q[:1], k[:1]).expand_as(_sees(q, k)),
        )


def _heads_guesses(args: tuple[Any, ...], found: Any) -> Iterator[Guess]:
    yield Guess(
        "the heads are tiled (0, 1, 0, 1) and not repeated (0, 0, 1, 1).",
        lambda x, n: x.repeat(1, n, 1, 1),
    )
    yield Guess(
        "tokens are repeated, and then cut into heads.",
        lambda x, n: x.repeat_interleave(n, dim=2).reshape(
            x.shape[0], x.shape[1] * n, *x.shape[2:]
        ),
    )
    yield Guess(
        "all heads are the first.",
        lambda x, n: x[:, :1].expand(-1, x.shape[1] * n, -1, -1),
    )
    yield Guess("nothing is repeated.", lambda x, n: x)


def _attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float = 0.0, axis: int = -1
) -> Tensor:
    scores = _scores(q, k, scale).masked_fill(~_of_heads(mask), float("-inf"))
    return (scores.softmax(axis).nan_to_num(0.0) @ v.float()).to(q.dtype)


def _scores(q: Tensor, k: Tensor, scale: float = 0.0) -> Tensor:
    return q.float() @ k.float().transpose(-1, -2) * (scale or q.shape[-1] ** -0.5)


def _of_heads(mask: Tensor) -> Tensor:
    return mask[:, None] if mask.ndim == 3 else mask


def _mask_late(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    weights = _scores(q, k).softmax(-1) * _of_heads(mask)
    return (weights @ v.float()).to(q.dtype)


def _all_low(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    scores = scores.masked_fill(~_of_heads(mask), float("-inf"))
    return scores.softmax(-1).nan_to_num(0.0) @ v


def _scaled(scale: float) -> Callable[..., Tensor]:
    return lambda q, k, v, mask: _attend(q, k, v, mask, scale)


def _attention_guesses(args: tuple[Any, ...], found: Any) -> Iterator[Guess]:
    q = args[0]
    d = q.shape[-1]
    scales = {
        "the scores are divided by d and not by sqrt(d).": 1 / d,
        "the scores are not divided by sqrt(d).": 1.0,
        "the scores are multiplied by sqrt(d).": d**0.5,
        "the scores are divided by the root of all heads' width.": (d * q.shape[1]) ** -0.5,
    }
    for words, scale in scales.items():
        yield Guess(words, _scaled(scale))
    yield Guess("the mask is not used.", lambda q, k, v, m: _attend(q, k, v, m | True))
    yield Guess("the mask is inverted.", lambda q, k, v, m: _attend(q, k, v, ~m))
    yield Guess("the mask comes after the softmax, so that rows no longer sum to one.", _mask_late)
    yield Guess(
        "the softmax runs over the queries.", lambda q, k, v, m: _attend(q, k, v, m, axis=-2)
    )
    yield Guess("the softmax runs over the heads.", lambda q, k, v, m: _attend(q, k, v, m, axis=1))
    yield Guess(
        "a query that may look at nothing gets the mean of all values, and not zeros.",
        lambda q, k, v, m: _attend(q, k, v, m | ~m.any(-1, keepdim=True)),
    )
    yield Guess("keys serve as values.", lambda q, k, v, m: _attend(q, k, k, m))
    yield Guess("scores and softmax are computed in low precision.", _all_low)
    if q.shape[1] == q.shape[2]:
        yield Guess(
            "heads and tokens are exchanged.",
            lambda q, k, v, m: _attend(q, k, v, m).transpose(1, 2),
        )


# ---- swiglu --------------------------------------------------------------------------------------


def _gated(gate: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda x, w1, w2, w3: F.linear(gate(F.linear(x, w1)) * F.linear(x, w3), w2)


def _swiglu_guesses(args: tuple[Any, ...], found: Any) -> Iterator[Guess]:
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


_GUESSES: dict[str, Callable[[tuple[Any, ...], Any], Iterator[Guess]]] = {
    "rms_norm": _norm_guesses,
    "rope_angles": _angle_guesses,
    "apply_rope": _rotation_guesses,
    "causal_mask": _mask_guesses,
    "repeat_kv": _heads_guesses,
    "attention": _attention_guesses,
    "swiglu": _swiglu_guesses,
}


def guesses(function: str, args: tuple[Any, ...], found: Any) -> Iterator[Guess]:
    """The usual mistakes in a function, as far as they can be computed from one call."""
    made = _GUESSES.get(function)
    return iter(()) if made is None else made(args, found)


def ratio(right: Tensor, found: Any) -> float | None:
    """The number that `found` is `right` times, where one number does for all."""
    if not isinstance(found, Tensor) or found.shape != right.shape or not right.is_floating_point():
        return None
    a, b = right.double().flatten(), found.double().flatten()
    norm = float(a @ a)
    if norm == 0 or not bool(b.isfinite().all()):
        return None
    factor = float(a @ b) / norm
    off = float((b - factor * a).abs().max())
    known = factor != 0 and abs(factor - 1) > 1e-4
    room = max(1e-4, 2 * torch.finfo(right.dtype).eps)
    return factor if known and off <= room * float(b.abs().max()) else None
