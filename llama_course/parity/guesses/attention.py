"""The mask, the repeated heads, and attention itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from llama_course.parity.guesses.guess import Guess

# ---- the mask ------------------------------------------------------------------------------------


def _sees(queries: Tensor, keys: Tensor) -> Tensor:
    return keys[..., None, :] <= queries[..., :, None]


def _indices(like: Tensor, start: int = 0) -> Tensor:
    return (torch.arange(like.shape[-1]) + start).expand(like.shape)


def mask_guesses(args: tuple[Any, ...], found: Any) -> Iterator[Guess]:
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
    by_place = "it goes by the place in the tensor and not by position."
    yield Guess(by_place, lambda q, k: _sees(_indices(q), _indices(k)))
    by_end = "it goes by the place, aligned with the end, and not by position."
    yield Guess(by_end, lambda q, k: _sees(_indices(q, k.shape[-1] - q.shape[-1]), _indices(k)))
    if args[0].ndim > 1:
        yield Guess(by_place, lambda q, k: _sees(_indices(q[0]), _indices(k[0])))
        yield Guess(
            "every row gets the positions of the first.",
            lambda q, k: _sees(q[:1], k[:1]).expand_as(_sees(q, k)) if q.ndim > 1 else _sees(q, k),
        )
    yield Guess("queries are counted from 0.", lambda q, k: _sees(_indices(q), k))
    yield Guess("keys are counted from 0.", lambda q, k: _sees(q, _indices(k)))
    yield Guess("everything is shown.", lambda q, k: torch.ones_like(_sees(q, k)))
    yield Guess(
        "it is to be added to the scores (0 and -inf); True and False were expected.",
        lambda q, k: torch.zeros(_sees(q, k).shape).masked_fill(~_sees(q, k), float("-inf")),
    )


# ---- repeated heads ------------------------------------------------------------------------------


def heads_guesses(args: tuple[Any, ...], found: Any) -> Iterator[Guess]:
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
    yield Guess("tokens are repeated.", lambda x, n: x.repeat_interleave(n, dim=2))
    yield Guess(
        "the group has an axis of its own: it must be joined with the heads'.",
        lambda x, n: x[:, :, None].expand(-1, -1, n, -1, -1),
    )
    yield Guess(
        "all heads are the first.",
        lambda x, n: x[:, :1].expand(-1, x.shape[1] * n, -1, -1),
    )
    yield Guess("nothing is repeated.", lambda x, n: x)


# ---- attention -----------------------------------------------------------------------------------
# A query that may look at nothing gets no number in a guess: zeros fit that as well.


def _of_heads(mask: Tensor) -> Tensor:
    return mask[:, None] if mask.ndim == 3 else mask


def _scores(q: Tensor, k: Tensor, scale: float = 0.0) -> Tensor:
    return q.float() @ k.float().transpose(-1, -2) * (scale or q.shape[-1] ** -0.5)


def _weights(q: Tensor, k: Tensor, mask: Tensor, scale: float = 0.0, axis: int = -1) -> Tensor:
    hidden = ~_of_heads(mask)
    return _scores(q, k, scale).masked_fill(hidden, float("-inf")).softmax(axis)


def _attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float = 0.0, axis: int = -1
) -> Tensor:
    return (_weights(q, k, mask, scale, axis) @ v.float()).to(q.dtype)


def _scaled(scale: float) -> Callable[..., Tensor]:
    return lambda q, k, v, mask: _attend(q, k, v, mask, scale)


def _weighed(weigh: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """Attention whose weights `weigh` makes of the scores and the mask."""

    def compute(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        return (weigh(_scores(q, k), _of_heads(mask)) @ v.float()).to(q.dtype)

    return compute


def attention_guesses(args: tuple[Any, ...], found: Any) -> Iterator[Guess]:
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
    yield from _mask_misused()
    yield Guess(
        "the softmax runs over the queries.", lambda q, k, v, m: _attend(q, k, v, m, axis=-2)
    )
    yield Guess("the softmax runs over the heads.", lambda q, k, v, m: _attend(q, k, v, m, axis=1))
    yield Guess("keys serve as values.", lambda q, k, v, m: _attend(q, k, k, m))
    yield Guess("values serve as keys.", lambda q, k, v, m: _attend(q, v, v, m))
    yield Guess("keys and values are exchanged.", lambda q, k, v, m: _attend(q, v, k, m))
    yield Guess(
        "the weights come back, and not the values that they weigh.",
        lambda q, k, v, m: _weights(q, k, m).to(q.dtype),
    )
    joined = "heads and tokens are exchanged"
    yield Guess(f"{joined}.", lambda q, k, v, m: _attend(q, k, v, m).transpose(1, 2))
    yield Guess(
        f"{joined}, and the heads joined.",
        lambda q, k, v, m: _attend(q, k, v, m).transpose(1, 2).flatten(-2),
    )
    yield Guess("scores and softmax are computed in low precision.", _all_low)
    yield Guess("the softmax's exponentials are summed in low precision.", _sum_low)


def _mask_misused() -> Iterator[Guess]:
    yield Guess("the mask is not used.", lambda q, k, v, m: _attend(q, k, v, m | True))
    yield Guess("the mask is inverted.", lambda q, k, v, m: _attend(q, k, v, ~m))
    yield Guess(
        "the mask comes after the softmax, so that rows no longer sum to one.",
        _weighed(lambda scores, mask: scores.softmax(-1) * mask),
    )
    yield Guess(
        "hidden scores become 0 and not -inf.",
        _weighed(lambda scores, mask: (scores * mask).softmax(-1)),
    )
    yield Guess(
        "the mask is added as 0 and 1.",
        _weighed(lambda scores, mask: (scores + mask.float()).softmax(-1)),
    )
    yield Guess(
        "a query that may look at nothing gets NaN, and not zeros.",
        lambda q, k, v, m: _attend(q, k, v, m),
    )
    yield Guess(
        "a query that may look at nothing gets the mean of all values, and not zeros.",
        _weighed(lambda scores, mask: scores.masked_fill(~mask, -1e38).softmax(-1)),
    )
    yield Guess(
        "a query that may look at nothing looks at everything, and does not get zeros.",
        lambda q, k, v, m: _attend(q, k, v, m | ~m.any(-1, keepdim=True)),
    )


def _all_low(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    scores = scores.masked_fill(~_of_heads(mask), float("-inf"))
    return scores.softmax(-1).nan_to_num(0.0) @ v


def _sum_low(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    scores = scores.masked_fill(~_of_heads(mask), float("-inf"))
    raised = (scores - scores.amax(-1, keepdim=True)).exp()
    return (raised / raised.sum(-1, keepdim=True)).nan_to_num(0.0) @ v
