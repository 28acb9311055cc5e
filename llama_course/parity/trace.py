"""A forward of the reference, call by call: what every function got, and what it gave.

Each call is made with the reference's own numbers, so that whoever computes the same call again
is not blamed for what came before. One layer's weights are held at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from llama_course.checkpoints.names import EMBEDDING, HEAD
from llama_course.model import rope_angles
from llama_course.model.kv_cache import EMPTY
from llama_course.parity.rules import ANGLES, BITS, CLOSE, EXACT, LOW, TRUTH, Rule
from llama_course.parity.sides import Side

MANY = 8  # layers: beyond that a function is compared at both ends of the model alone
ENDS = 2
FAR = 1000  # where the second row begins: mistakes in the angles grow with the position


@dataclass(frozen=True)
class Call:
    """One function, called once by the reference."""

    component: str  # "layers.0.attention_norm: rms_norm"
    function: str  # its name among the components, or "linear"
    args: tuple[Any, ...]
    order: tuple[int, ...]
    rule: Rule = EXACT
    note: str = ""  # what is particular to this call


def told_layers(n_layers: int) -> list[int]:
    """The layers whose calls are told: all of a small model, both ends of a large one."""
    if n_layers <= MANY:
        return list(range(n_layers))
    return [*range(ENDS), *range(n_layers - ENDS, n_layers)]


def rule_of(function: str, dtype: torch.dtype) -> Rule:
    """When two results of a function count as equal."""
    if function in ("causal_mask", "repeat_kv"):
        return EXACT
    if function == "rope_angles":
        return ANGLES
    if dtype not in LOW:
        return CLOSE
    return BITS if function in ("rms_norm", "apply_rope") else TRUTH


def order_of(name: str) -> tuple[int, ...]:
    """Where a weight, or the function that follows on it, stands in a forward."""
    if name.startswith("tok_embeddings"):
        return (0,)
    if name.startswith("layers."):
        _, layer, part = name.split(".", 2)
        return (2, int(layer), PARTS[part.removesuffix(".weight").split(":")[0]])
    return (3,) if name.startswith("norm") else (4,)


PARTS = {
    "attention_norm": 0,
    "attention.wq": 2,
    "attention.wk": 3,
    "attention.wv": 4,
    "attention.wo": 8,
    "ffn_norm": 10,
    "feed_forward.w1": 12,
    "feed_forward.w3": 13,
    "feed_forward.w2": 14,
}


class Trace:
    """The reference's forward over `tokens` (batch, seq), in one dtype.

    `positions` is (batch, seq), or (seq,) where all rows stand alike. `probes` adds calls that a
    forward does not make, but generation does. With `begin` only the first layers are run.
    """

    def __init__(
        self,
        a: Side,
        tokens: Tensor,
        positions: Tensor,
        dtype: torch.dtype,
        probes: bool = True,
        begin: bool = False,
    ) -> None:
        self.a, self.tokens, self.positions = a, tokens, positions
        self.dtype, self.probes, self.begin = dtype, probes, begin
        self.streams: list[Tensor] = []  # the residual stream before each layer, and after all
        self.logits: Tensor | None = None
        self.angles: tuple[Tensor, Tensor] | None = None
        self.mask: Tensor | None = None

    def calls(self) -> Iterator[Call]:
        """All calls in their order. What is not asked for any more is not computed."""
        config, f = self.a.config, self.a.functions
        yield from self._tables()
        assert self.angles is not None and self.mask is not None
        mask = self.mask[:, None] if self.mask.ndim == 3 else self.mask
        x = F.embedding(self.tokens, self.a.weight(EMBEDDING)).to(self.dtype)
        self.streams.append(x)
        for i in range(config.n_layers):
            told = i in told_layers(config.n_layers)
            if self.begin and i == ENDS:
                return
            for call in self._layer(i, x, mask):
                if not isinstance(call, Call):
                    x = call
                elif told or call.function == "linear":
                    yield call
            self.streams.append(x)
        weight = self.a.weight("norm.weight", self.dtype)
        args = (x, weight, config.norm_eps)
        yield self._call("norm", "rms_norm", args, (3, 1))
        read = f.rms_norm(*args)
        head = self.a.weight(HEAD, self.dtype)
        yield self._call("output", "linear", (read, head), (4, 1))
        self.logits = F.linear(read, head).float()

    def run(self) -> None:
        """All of it, at once."""
        for _ in self.calls():
            pass

    def _call(
        self,
        component: str,
        function: str,
        args: tuple[Any, ...],
        order: tuple[int, ...],
        note: str = "",
    ) -> Call:
        return Call(component, function, args, order, rule_of(function, self.dtype), note)

    def _tables(self) -> Iterator[Call]:
        config, f = self.a.config, self.a.functions
        scaling = config.rope_scaling
        steps = torch.arange(self.tokens.shape[1])
        tables = [self.positions]
        if self.probes:
            tables += [steps, steps + FAR]
        for positions in tables if scaling is None else []:
            args = (positions, config.head_dim, config.rope_theta)
            note = f"with positions of shape {tuple(positions.shape)}"
            yield self._call("rope_angles", "rope_angles", args, (1, 0), note)
        if scaling is None:
            self.angles = f.rope_angles(self.positions, config.head_dim, config.rope_theta)
        else:
            self.angles = rope_angles(self.positions, config.head_dim, config.rope_theta, scaling)
        masks = [("for a whole text", self.positions, self.positions)]
        if self.probes:
            rows = torch.stack([steps, (steps + 1) % len(steps)])
            empty = torch.where(steps >= len(steps) - 2, EMPTY, rows)
            masks += [
                ("for a whole text", steps, steps),
                ("for a later piece of a text", steps[-3:], steps),
                ("for one token with a cache", steps[-1:], steps),
                ("for rows of unequal length, with empty slots", rows[:, -2:], empty),
            ]
        for note, *both in masks:
            yield self._call("causal_mask", "causal_mask", tuple(both), (1, 1), note)
        self.mask = f.causal_mask(self.positions, self.positions)

    def _layer(self, i: int, x: Tensor, mask: Tensor) -> Iterator[Call | Tensor]:
        """The calls of one layer; the stream behind it comes last."""
        config, f, name = self.a.config, self.a.functions, f"layers.{i}"
        assert self.angles is not None
        weights = {part: self.a.weight(f"{name}.{part}.weight", self.dtype) for part in PARTS}

        def call(
            part: str, function: str, args: tuple[Any, ...], place: int, note: str = ""
        ) -> Call:
            return self._call(f"{name}.{part}", function, args, (2, i, place), note)

        args = (x, weights["attention_norm"], config.norm_eps)
        yield call("attention_norm", "rms_norm", args, 1)
        if i == 0 and self.probes:  # where epsilon counts, and where squares leave float16
            small = x * 100.0 ** -(torch.arange(x.shape[1]) % 5).to(x.dtype)[:, None]
            note = "where the input is made small"
            yield call("attention_norm", "rms_norm", (small, *args[1:]), 1, note)
        read = f.rms_norm(*args)
        heads = {}
        for letter in "qkv":
            part = f"attention.w{letter}"
            yield call(part, "linear", (read, weights[part]), PARTS[part])
            heads[letter] = F.linear(read, weights[part]).unflatten(-1, (-1, config.head_dim))
        for letter in "qk":
            turned = (heads[letter], *self.angles)
            yield call(f"attention.{letter}", "apply_rope", turned, 5)
            if i == 0 and self.probes and self.positions.ndim == 2:
                shared = (heads[letter], self.angles[0][1], self.angles[1][1])
                note = "with one row of angles for all"
                yield call(f"attention.{letter}", "apply_rope", shared, 5, note)
            heads[letter] = f.apply_rope(*turned)
        q, k, v = (heads[letter].transpose(1, 2) for letter in "qkv")
        n = config.n_heads // config.n_kv_heads
        for letter, given in (("k", k), ("v", v)):
            yield call(f"attention.{letter}", "repeat_kv", (given, n), 6)
        k, v = f.repeat_kv(k, n), f.repeat_kv(v, n)
        for note, *given in self._attentions(i, q, k, v, mask):
            yield call("attention", "attention", tuple(given), 7, note)
        if i == 0 and self.probes and self.dtype in LOW:
            note = "for equal scores, whose sum needs float32"
            given = _equal_scores(self.dtype)
            yield Call(f"{name}.attention", "attention", given, (2, i, 7), EXACT, note)
        out = f.attention(q, k, v, mask).transpose(1, 2).flatten(-2)
        yield call("attention.wo", "linear", (out, weights["attention.wo"]), 8)
        x = x + F.linear(out, weights["attention.wo"])
        args = (x, weights["ffn_norm"], config.norm_eps)
        yield call("ffn_norm", "rms_norm", args, 11)
        read = f.rms_norm(*args)
        three = [weights[f"feed_forward.w{j}"] for j in (1, 2, 3)]
        yield call("feed_forward", "swiglu", (read, *three), 15)
        for j in (1, 3):
            part = f"feed_forward.w{j}"
            yield call(part, "linear", (read, weights[part]), PARTS[part])
        yield x + f.swiglu(read, *three)

    def _attentions(
        self, i: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor
    ) -> list[tuple[Any, ...]]:
        """What attention is called with: as the model does; and at first in its other shapes."""
        given: list[tuple[Any, ...]] = [("", q, k, v, mask)]
        if i == 0 and self.probes:
            flat = mask if mask.ndim == 2 else mask[0, 0]
            blind = flat.clone()
            blind[1] = False  # padding: a query that may look at nothing gets zeros
            given += [
                ("with one mask for all rows", q, k, v, flat),
                ("for one token with a cache", q[:, :, -1:], k, v, flat[-1:]),
                ("for a later piece of a text", q[:, :, -3:], k, v, flat[-3:]),
                ("where a query may look at nothing", q, k, v, blind),
            ]
        return given


def _equal_scores(dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Attention over so many equal scores that their number is none of the dtype's.

    Every weight is so nearly one of the dtype's numbers that rounding it changes no result, and
    each result is the value itself; a sum of exponentials in this dtype gives its neighbour.
    """
    n = round(2 / torch.finfo(dtype).eps) + 1
    q, k = torch.zeros(1, 1, 1, 16, dtype=dtype), torch.zeros(1, 1, n, 16, dtype=dtype)
    return q, k, torch.full_like(k, 0.75), torch.ones(1, n, dtype=torch.bool)
