"""One block computed by the reference, and the usual ways in which a block is put together wrongly.

A block is made of functions that can each be right while their order is not: where the norm
stands, what the sum is taken from, which weights go where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from llama_course.parity.guesses import EPSILONS, Guess, epsilon_words
from llama_course.parity.sides import Side
from llama_course.parity.trace import PARTS


@dataclass(frozen=True)
class Place:
    """Where new tokens stand: their angles, those of all keys, and what may be seen.

    Without a cache the keys' are the tokens' own. `past` is the stream of the earlier tokens.
    """

    cos: Tensor
    sin: Tensor
    mask: Tensor
    past: Tensor | None = None
    past_cos: Tensor | None = None
    past_sin: Tensor | None = None


class Block:
    """Layer `i` of the reference, in one dtype."""

    def __init__(self, a: Side, i: int, dtype: torch.dtype, eps: float | None = None) -> None:
        self.f, self.config = a.functions, a.config
        self.eps = a.config.norm_eps if eps is None else eps
        self.w = {part: a.weight(f"layers.{i}.{part}.weight", dtype) for part in PARTS}

    def norm1(self, x: Tensor) -> Tensor:
        return self.f.rms_norm(x, self.w["attention_norm"], self.eps)

    def norm2(self, x: Tensor) -> Tensor:
        return self.f.rms_norm(x, self.w["ffn_norm"], self.eps)

    def feed(self, x: Tensor) -> Tensor:
        w1, w2, w3 = (self.w[f"feed_forward.w{j}"] for j in (1, 2, 3))
        return self.f.swiglu(x, w1, w2, w3)

    def attend(self, x: Tensor, place: Place, past: Tensor | None = None, how: str = "") -> Tensor:
        """Attention of the normed `x`, to the normed `past` and itself."""
        f, cos, sin = self.f, place.cos, place.sin
        q, k, v = (self._heads(x, letter) for letter in "qkv")
        q = q if how in ("unturned", "queries unturned") else f.apply_rope(q, cos, sin)
        k = k if how in ("unturned", "keys unturned") else f.apply_rope(k, cos, sin)
        v = f.apply_rope(v, cos, sin) if how == "values turned" else v
        if past is not None and place.past_cos is not None and place.past_sin is not None:
            old = self._heads(past, "k")
            if how not in ("keys unturned", "past unturned"):
                old = f.apply_rope(old, place.past_cos, place.past_sin)
            k = torch.cat((old, k), 1)
            v = torch.cat((self._heads(past, "v"), v), 1)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        n = self.config.n_heads // self.config.n_kv_heads
        if how == "tiled":
            k, v = k.repeat(1, n, 1, 1), v.repeat(1, n, 1, 1)
        else:
            k, v = f.repeat_kv(k, n), f.repeat_kv(v, n)
        out = f.attention(q, k, v, _mask(place.mask, how))
        if how == "merged":
            out = out.reshape(*x.shape[:2], -1)
        else:
            out = out.transpose(1, 2).flatten(-2)
        return F.linear(out, self.w["attention.wo"])

    def _heads(self, x: Tensor, letter: str) -> Tensor:
        flat = F.linear(x, self.w[f"attention.w{letter}"])
        return flat.unflatten(-1, (-1, self.config.head_dim))

    def forward(self, x: Tensor, place: Place, how: str = "") -> Tensor:
        """What comes out of the block."""
        past = None if place.past is None or how == "new only" else self.norm1(place.past)
        h = x + self.attend(self.norm1(x), place, past, how)
        return h + self.feed(self.norm2(h))


def _mask(mask: Tensor, how: str) -> Tensor:
    """The mask as it is, or in one of the wrong ways to use it."""
    n, n_keys = mask.shape[-2:]
    match how:
        case "new only":
            return mask[..., -n:]
        case "unmasked":
            return torch.ones_like(mask)
        case "inverted":
            return ~mask
        case "itself hidden":
            return torch.ones_like(mask).tril(n_keys - n - 1)
        case "next seen":
            return torch.ones_like(mask).tril(n_keys - n + 1)
        case "from the beginning":
            return torch.ones_like(mask).tril()
    return mask


def block_guesses(a: Side, i: int, dtype: torch.dtype) -> Iterator[Guess]:
    """Ways to put a block together, each as a function of the stream and the place."""
    block = Block(a, i, dtype)
    one, two, feed = block.norm1, block.norm2, block.feed

    def put(meaning: str, attention: Callable[..., Tensor], rest: Callable[..., Tensor]) -> Guess:
        """`rest(h, x)` is the second half, of what the first half, `attention(x, p)`, gives."""
        return Guess(meaning, lambda x, p: rest(attention(x, p), x))

    def first(x: Tensor, p: Place) -> Tensor:
        past = None if p.past is None else one(p.past)
        return x + block.attend(one(x), p, past)

    def second(h: Tensor, x: Tensor) -> Tensor:
        return h + feed(two(h))

    attend = block.attend
    yield put(
        "the norms stand behind the sums (post-norm); LLaMA's stand before attention and "
        "feed-forward.",
        lambda x, p: one(x + attend(x, p)),
        lambda h, x: two(h + feed(h)),
    )
    yield put(
        "the norms stand behind attention and feed-forward, before the sum.",
        lambda x, p: x + one(attend(x, p)),
        lambda h, x: h + two(feed(h)),
    )
    yield put("attention_norm serves before both.", first, lambda h, x: h + feed(one(h)))
    yield put("ffn_norm serves before both.", lambda x, p: x + attend(two(x), p), second)
    yield put(
        "the two norms are exchanged.",
        lambda x, p: x + attend(two(x), p),
        lambda h, x: h + feed(one(h)),
    )
    yield put("attention reads the stream without its norm.", lambda x, p: x + attend(x, p), second)
    yield put("feed-forward reads the stream without its norm.", first, lambda h, x: h + feed(h))
    for meaning, start, end in (
        ("attention's sum is taken from the normed stream.", True, False),
        ("feed-forward's sum is taken from the normed stream.", False, True),
        ("both sums are taken from the normed stream.", True, True),
    ):
        yield put(
            meaning,
            (lambda x, p: one(x) + attend(one(x), p)) if start else first,
            (lambda h, x: two(h) + feed(two(h))) if end else second,
        )
    yield put("attention's result replaces the stream: the sum is missing.",
              lambda x, p: attend(one(x), p), second)  # fmt: skip
    yield put("feed-forward's result replaces the stream: the sum is missing.", first,
              lambda h, x: feed(two(h)))  # fmt: skip
    yield put("both results replace the stream: the sums are missing.",
              lambda x, p: attend(one(x), p), lambda h, x: feed(two(h)))  # fmt: skip
    yield put(
        "attention and feed-forward read the same stream, in parallel.",
        first,
        lambda h, x: h + feed(two(x)),
    )
    yield put("feed-forward's sum is taken from what came into the block.", first,
              lambda h, x: x + feed(two(h)))  # fmt: skip
    yield Guess("feed-forward comes before attention.", lambda x, p: first(x + feed(two(x)), p))
    yield put("attention is left out.", lambda x, p: x, second)
    yield put("feed-forward is left out.", first, lambda h, x: h)
    for other in EPSILONS:
        if other != a.config.norm_eps:
            yield Guess(
                f"epsilon is {epsilon_words(other)} in both norms.",
                _with_epsilon(a, i, dtype, other),
            )
    for how, meaning in (
        ("unturned", "queries and keys are not turned by RoPE."),
        ("queries unturned", "the queries are not turned by RoPE, and the keys are."),
        ("keys unturned", "the keys are not turned by RoPE, and the queries are."),
        ("values turned", "the values are turned by RoPE too."),
        ("tiled", "key heads are tiled (0, 1, 0, 1) and not repeated (0, 0, 1, 1)."),
        ("merged", "the heads are joined as they lie: tokens must come before heads first."),
        ("unmasked", "the mask is not used."),
        ("inverted", "the mask is inverted."),
        ("itself hidden", "the mask is off by one: a token does not see itself."),
        ("next seen", "the mask is off by one: each token sees the next one too."),
    ):
        yield Guess(meaning, _in_way(block, how))
    yield put("gate and up (w1 and w3) are exchanged.", first,
              lambda h, x: h + block.f.swiglu(two(h), block.w["feed_forward.w3"],
                                              block.w["feed_forward.w2"],
                                              block.w["feed_forward.w1"]))  # fmt: skip


def cached_guesses(a: Side, i: int, dtype: torch.dtype) -> Iterator[Guess]:
    """What can be wrong with a block only where it has a cache."""
    block = Block(a, i, dtype)
    yield Guess(
        "the cache is not read: new tokens see each other only.", _in_way(block, "new only")
    )
    for how, meaning in (
        ("keys unturned", "keys are stored before they are turned."),
        ("past unturned", "keys are stored before they are turned."),
        (
            "unmasked",
            "the mask is made with positions read after the append: new tokens see each other.",
        ),
        (
            "from the beginning",
            "the mask is aligned with the first token in the cache, and not with the new ones.",
        ),
    ):
        yield Guess(meaning, _in_way(block, how))

    def only_past(x: Tensor, p: Place) -> Tensor:
        h = x if p.past is None else x + _to_past(block, x, p)
        return h + block.feed(block.norm2(h))

    yield Guess("the cache is read before the new tokens are in it.", only_past)


def _to_past(block: Block, x: Tensor, p: Place) -> Tensor:
    """Attention to the earlier tokens alone."""
    assert p.past is not None
    blind = p.mask.clone()
    blind[..., p.past.shape[1] :] = False
    return block.attend(block.norm1(x), replace(p, mask=blind), block.norm1(p.past))


def _in_way(block: Block, how: str) -> Callable[[Tensor, Place], Tensor]:
    return lambda x, place: block.forward(x, place, how)


def _with_epsilon(
    a: Side, i: int, dtype: torch.dtype, eps: float
) -> Callable[[Tensor, Place], Tensor]:
    return lambda x, place: Block(a, i, dtype, eps).forward(x, place)
