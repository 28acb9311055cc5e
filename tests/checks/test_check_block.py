"""Lesson 09's first exercise: what passes, what fails, and what each failure is called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
import torch
from jaxtyping import config

from llama_course.checks.block import (
    ADD_ATTENTION,
    ADD_FEED,
    CACHE_USE,
    CONFIG,
    EXERCISE,
    MERGED,
    PLAIN_V,
    READ_ATTENTION,
    READ_FEED,
    REPEATED,
    TURN_K,
    TURN_Q,
    block_shapes,
)
from llama_course.checks.engine.judge import BORROWED
from llama_course.checks.exercise import edit
from llama_course.checks.testing import ExerciseTests, judged
from llama_course.config import ModelConfig
from llama_course.model import TransformerBlock
from llama_course.model.components import Components

MODULES = """
class Norm(nn.Module):
    def __init__(self, dim, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(dim)), eps

    def forward(self, x):
        return torch.nn.functional.rms_norm(x, self.weight.shape, self.weight, self.eps)

def matrix(into, out, std=0.02):
    made = nn.Linear(into, out, bias=False)
    made.weight.data = torch.randn(out, into) * std
    return made

class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        q, kv = c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim
        self.wq, self.wk, self.wv = matrix(c.dim, q), matrix(c.dim, kv), matrix(c.dim, kv)
        self.wo = matrix(q, c.dim, 0.02 * (2 * c.n_layers) ** -0.5)

    def forward(self, x, tables, mask, cache):
        b, s, _ = x.shape
        q = self.wq(x).view(b, s, self.c.n_heads, -1)
        k, v = (w(x).view(b, s, self.c.n_kv_heads, -1) for w in (self.wk, self.wv))
        turn = torch.complex(*tables)[:, None]
        q, k = (torch.view_as_real(torch.view_as_complex(t.float().unflatten(-1, (-1, 2))) * turn)
                .flatten(-2).to(x.dtype) for t in (q, k))
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        if cache is not None:
            cache.append(k, v)
            k, v = cache.read()
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask, enable_gqa=True)
        return self.wo(out.transpose(1, 2).reshape(b, s, -1))

class FeedForward(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.w1, self.w3 = matrix(c.dim, c.hidden_dim), matrix(c.dim, c.hidden_dim)
        self.w2 = matrix(c.hidden_dim, c.dim, 0.02 * (2 * c.n_layers) ** -0.5)

    def forward(self, x):
        return self.w2(torch.nn.functional.silu(self.w1(x)) * self.w3(x))

class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention, self.feed_forward = Attention(config), FeedForward(config)
        self.attention_norm = Norm(config.dim, config.norm_eps)
        self.ffn_norm = Norm(config.dim, config.norm_eps)

    def forward(self, x, cos, sin, mask, cache=None):
        h = x + self.attention(self.attention_norm(x), (cos, sin), mask, cache)
        return h + self.feed_forward(self.ffn_norm(h))
"""
LOOPS = """
class Block(nn.Module):
    def __init__(self, params):
        super().__init__()
        self.c = params
        q, kv, d, h = (params.n_heads * params.head_dim, params.n_kv_heads * params.head_dim,
                       params.dim, params.hidden_dim)
        sizes = {"attention": dict(wq=(q, d), wk=(kv, d), wv=(kv, d), wo=(d, q)),
                 "feed_forward": dict(w1=(h, d), w2=(d, h), w3=(h, d))}
        for name, group in sizes.items():
            self.add_module(name, nn.Module())
            for w, shape in group.items():
                holder = nn.Module()
                std = 0.02 / (2 * params.n_layers) ** 0.5 if w in ("wo", "w2") else 0.02
                holder.weight = nn.Parameter(torch.empty(shape).normal_(0.0, std))
                getattr(self, name).add_module(w, holder)
        for name in ("attention_norm", "ffn_norm"):
            holder = nn.Module()
            holder.weight = nn.Parameter(torch.ones(d))
            self.add_module(name, holder)

    def normed(self, x, weight):
        x = x.double()
        return x / (x.square().mean(-1, keepdim=True) + self.c.norm_eps).sqrt() * weight.double()

    def turned(self, x, cos, sin):
        out = torch.empty_like(x)
        for i in range(x.shape[-1] // 2):
            a, b, c, s = x[..., 2 * i], x[..., 2 * i + 1], cos[:, i], sin[:, i]
            out[..., 2 * i], out[..., 2 * i + 1] = a * c - b * s, a * s + b * c
        return out

    def forward(self, stream, c, s, see, memory=None):
        w = {name: value.double() for name, value in self.named_parameters()}
        d, dtype, stream = self.c.head_dim, stream.dtype, stream.double()
        read = self.normed(stream, self.attention_norm.weight)
        kv = {}
        for name in ("wk", "wv"):
            rows = (read @ w[f"attention.{name}.weight"].T).split(d, dim=-1)
            kv[name] = torch.stack(rows, dim=1)
        k, v = self.turned(kv["wk"], c, s), kv["wv"]
        if memory is not None:
            memory.append(k.to(dtype), v.to(dtype))
            k, v = (t.double() for t in memory.read())
        heads = []
        for i, q in enumerate((read @ w["attention.wq.weight"].T).split(d, dim=-1)):
            g = i * self.c.n_kv_heads // self.c.n_heads
            scores = torch.einsum("bqd,bkd->bqk", self.turned(q, c, s), k[:, g]) * d ** -0.5
            weights = torch.where(see, scores, -torch.inf).softmax(dim=-1)
            heads.append(weights @ v[:, g])
        stream = stream + torch.cat(heads, dim=-1) @ w["attention.wo.weight"].T
        read = self.normed(stream, self.ffn_norm.weight)
        gate = read @ w["feed_forward.w1.weight"].T
        up = read @ w["feed_forward.w3.weight"].T
        out = stream + (gate * gate.sigmoid() * up) @ w["feed_forward.w2.weight"].T
        return out.to(dtype)
"""
WROTE = "nn.init.normal_(made.weight, std=deviation)"
DEEPER = "deeper = 0.02 / math.sqrt(2 * config.n_layers)"
CUT = ".unflatten(-1, heads)"


UNUSED = "what is never stored cannot be wrong"
BEHIND = (
    "a mask of one's own",
    "heads tiled",
    "keys cached before they are turned",
    "the cache is filled and not read",
    "the cache is ignored",
    "repeat_kv forgotten",
    "the cache is used for single tokens only",
)
ALL = (
    *BEHIND,
    "a norm left out",
    "attention and feed-forward in parallel",
    "attention's result is lost",
    "the stream is added twice",
    "wk used twice",
    "RoPE forgotten",
    "gate and up exchanged",
    "heads merged without the transpose",
    "heads split by view alone",
    "mask inverted",
    "values turned too",
    "adds to the caller's stream in place",
    "epsilon fixed",
    "layers exchanged",
    "norm behind the layer, before the sum",
    "one norm shared",
    "post-norm",
    "residual from the normed input",
    "residual missing",
    "residual scaled",
)


def hidden(by: str, why: str, *others: str) -> dict[tuple[str, str], str]:
    """Pairs, in the order of the catalogue, of which only `by` shows."""
    order = [mistake.name for mistake in EXERCISE.mistakes]
    pairs = [sorted((by, other), key=order.index) for other in others]
    return {(first, second): why for first, second in pairs}


SAME = "two axes change places, whichever is named first"
OF_FOUR = "of four axes, number 2 is number -2"


@pytest.fixture(autouse=True)
def unhooked(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hundreds of answers are played: without the shape checks, except for the right ones."""
    config.update("jaxtyping_disable", "right" not in request.node.name)
    yield
    config.update("jaxtyping_disable", False)


class TestBlock(ExerciseTests):
    exercise = EXERCISE
    right = (
        MODULES,
        LOOPS,
        # what the cache held, and the new tokens behind it
        edit(
            CACHE_USE,
            "old = cache.read()\n            cache.append(k, v)\n            "
            "k, v = torch.cat([old[0], k], 2), torch.cat([old[1], v], 2)",
        ),
        # the sum in a copy, in place
        edit(ADD_ATTENTION, f"x = x.clone()\n        x += {ADD_ATTENTION[8:]}"),
        # groups in place of repeated heads
        edit(
            REPEATED,
            "torch.einsum('bgnqk,bgkd->bgnqd', (torch.einsum('bgnqd,bgkd->bgnqk', "
            "q.unflatten(1, (k.shape[1], n)), k) / math.sqrt(q.shape[-1])).masked_fill("
            "~mask, -torch.inf).softmax(dim=-1), v).flatten(1, 2)",
        ),
    )
    wrong = (
        edit(ADD_ATTENTION, "x = x - self.attend(read, cos, sin, mask, cache)"),
        edit(ADD_FEED, "return x - self.feed(read)"),
        edit(ADD_FEED, "return x"),
        edit(ADD_FEED, "return (x + self.feed(read)).float()"),
        edit(READ_FEED, "read = x / (x.square().mean(1, keepdim=True) + eps).sqrt() "
             "* self.ffn_norm.weight"),
        edit(ADD_ATTENTION, "x = x + rms_norm(self.attend(read, cos, sin, mask, cache), "
             "self.attention_norm.weight, eps)"),
        edit(ADD_ATTENTION, "with torch.no_grad():\n            one = self.attend(read, cos, sin, "
             "mask, cache)\n        x = x + one"),
        edit(ADD_FEED, "return x + self.feed(x + read)"),
        edit(ADD_ATTENTION, f"{ADD_ATTENTION}\n        {READ_ATTENTION}\n        {ADD_ATTENTION}"),
        edit(READ_ATTENTION, f"{READ_ATTENTION}.tanh()"),
        edit(READ_ATTENTION, "read = x * self.attention_norm.weight"),
        edit(READ_FEED, "read = torch.nn.functional.layer_norm(x, x.shape[-1:], "
             "self.ffn_norm.weight, None, eps)"),
        edit(READ_FEED, "read = rms_norm(read, self.ffn_norm.weight, eps)"),
        edit(READ_FEED, "read = rms_norm(x, self.ffn_norm.weight + 1, eps)"),
        edit(READ_FEED, "read = rms_norm(x.detach(), self.ffn_norm.weight, eps)"),
        edit(READ_FEED, "read = rms_norm(x, self.ffn_norm.weight.detach(), eps)"),
        edit(READ_FEED, "read = rms_norm(x, self.ffn_norm.weight, eps ** 2)"),
        edit("eps = self.config.norm_eps", "eps = max(self.config.norm_eps, 1e-5)"),
        edit(TURN_Q, "q = apply_rope(q, cos, -sin).transpose(1, 2)",
             TURN_K, "k = apply_rope(k, cos, -sin).transpose(1, 2)"),
        edit(TURN_Q, "q = apply_rope(q, sin, cos).transpose(1, 2)",
             TURN_K, "k = apply_rope(k, sin, cos).transpose(1, 2)"),
        edit(TURN_K, "k = apply_rope(q, cos, sin).transpose(1, 2)[:, :k.shape[2]]"),
        edit(TURN_Q, "q = apply_rope(apply_rope(q, cos, sin), cos, sin).transpose(1, 2)"),
        edit(TURN_Q, "cos, sin = cos.bfloat16().float(), sin.bfloat16().float()\n        "
             + TURN_Q),
        edit(TURN_Q, "half = lambda t: torch.cat([t[..., ::2], t[..., 1::2]], -1)\n        "
             "q = apply_rope(half(q), cos, sin).transpose(1, 2)"),
        edit(PLAIN_V, "v = k"),
        edit(REPEATED, "attention(q, repeat_kv(v, n), repeat_kv(k, n), mask)"),
        edit(REPEATED, "attention(q / math.sqrt(q.shape[-1]), repeat_kv(k, n), repeat_kv(v, n), "
             "mask)"),
        edit(REPEATED, "attention(q, repeat_kv(k, n), repeat_kv(v, n), mask).flip(1)"),
        edit(REPEATED, "attention(q, repeat_kv(k, n), repeat_kv(v, n), mask[:1].expand_as(mask))"),
        *(edit(REPEATED, f"((q @ repeat_kv(k, n).mT{scale}){mask}).softmax(-1) @ repeat_kv(v, n)")
          for scale, mask in ((" / math.sqrt(self.config.dim)", ".masked_fill(~mask, -torch.inf)"),
                              ("", ".masked_fill(~mask, -torch.inf)"),
                              (" / math.sqrt(q.shape[-1])", " + mask"))),
        edit(MERGED, "out.transpose(1, 2).transpose(2, 3).flatten(-2)"),
        edit(CACHE_USE, "cache.append(k, v)\n            cache.append(k, v)\n            "
             "k, v = cache.read()"),
        edit(CACHE_USE, "k_old, v_old = cache.read()\n            cache.append(k, v)\n            "
             "k, v = k_old, v_old"),
        edit(TURN_K, "cos, sin = (cos, sin) if cache is None else (cos[:1], sin[:1])\n        "
             + TURN_K),
        *(edit("return swiglu(x, part.w1.weight, part.w2.weight, part.w3.weight)",
               f"return part.w2({inner})")
          for inner in ("nn.functional.gelu(part.w1(x)) * part.w3(x)",
                        "nn.functional.silu(part.w1(x) * part.w3(x))",
                        "nn.functional.silu(part.w1(x))",
                        "nn.functional.relu(part.w1(x)) * part.w3(x)")),
        edit(CACHE_USE, "cache.append(v, k)\n            k, v = cache.read()"),
        edit(CACHE_USE, "cache.append(k, v)\n            v, k = cache.read()"),
        edit(CACHE_USE, "cache.append(k, v)\n            k, v = cache.read()\n"
             "            self.last = k, v",
             "n = q", "k, v = getattr(self, 'last', (k, v)) if cache is None else (k, v)\n"
             "        n = q"),
        edit("part.w1.weight, part.w2.weight, part.w3.weight",
             "part.w1.weight, part.w2.weight, part.w1.weight"),
        edit("return swiglu(x, ", "return swiglu(2 * x, "),
        edit("return part.wo(", "return nn.functional.dropout(part.wo(", MERGED,
             f"{MERGED}), 0.1"),
        edit(WROTE, "nn.init.normal_(made.weight, mean=0.01, std=deviation)"),
        edit(WROTE, "nn.init.xavier_uniform_(made.weight)"),
        edit(WROTE, "nn.init.zeros_(made.weight)"),
        edit(DEEPER, "deeper = 0.0"),
        edit("std=deviation", "std=0.02 / math.sqrt(2 * config.n_layers)"),
        edit("config.n_heads * config.head_dim", "config.n_heads * config.head_dim + 1"),
        edit('"w1": matrix', '"gate": matrix', "part.w1", "part.gate"),
        edit("self.ffn_norm = nn.ParameterDict",
             "self.register_buffer('seen', torch.zeros(1))\n        "
             "self.ffn_norm = nn.ParameterDict"),
        edit("(made.weight, std=deviation)", "(made.weight, std=deviation)\n"
             "            made.weight.requires_grad_(rows != columns * 5 // 3)"),
        "class Block(nn.Module):\n    def __init__(self, config):\n        super().__init__()\n"
        "    def forward(self, x, cos, sin, mask, cache=None):\n        return x",
    )  # fmt: skip
    equivalent: ClassVar = {
        "apply_rope(q, cos, sin).transpose(1, 2) -> apply_rope(q, cos, sin).transpose(2, 1)": SAME,
        "apply_rope(k, cos, sin).transpose(1, 2) -> apply_rope(k, cos, sin).transpose(2, 1)": SAME,
        "v.transpose(1, 2) -> v.transpose(2, 1)": SAME,
        "out.transpose(1, 2) -> out.transpose(2, 1)": SAME,
        **dict.fromkeys(["-2 -> 2", *(f"2 -> -2 #{i}" for i in range(2, 7))], OF_FOUR),
    }
    masked: ClassVar = {
        ("a norm left out", "residual from the normed input"): (
            "without the norm, the input and the normed input are one"
        ),
        **hidden(
            "weights drawn as PyTorch does",
            "where nothing is drawn, no deviation counts",
            "wo or w2 drawn like the rest",
            "wo and w2 drawn too small or too large",
        ),
        **hidden(
            "attention's result is lost",
            "what was lost is read no more",
            "residual from the normed input",
            "residual missing",
        ),
        **hidden(
            "the cache is used for single tokens only",
            "that one token is the first: it sees itself alone, and is not turned",
            "the cache is filled and not read",
            "keys cached before they are turned",
        ),
        ("the cache is filled and not read", "the cache is ignored"): UNUSED,
        ("the cache is ignored", "keys cached before they are turned"): UNUSED,
        **hidden("biases", "the weights cannot be filled in, so nothing is computed", *ALL),
        **hidden("n_heads for n_kv_heads", "the weights cannot be filled in", *BEHIND),
        **hidden("head_dim from dim / n_heads", "the weights cannot be filled in", *BEHIND),
        **hidden("repeat_kv forgotten", "attention is not reached", *BEHIND[2:5], BEHIND[6]),
    }

    def references(self) -> list[str]:
        """The Cache among the references is lesson 07's, and has its own tests."""
        return [self.exercise.solution]

    def test_the_library_s_block_gives_the_same_numbers(self) -> None:
        for c in (CONFIG, ModelConfig(dim=16, n_layers=2, n_heads=4, vocab_size=9)):
            mine, theirs = EXERCISE.truth["Block"](c), TransformerBlock(c, Components())
            assert set(mine.state_dict()) == set(theirs.state_dict()) == set(block_shapes(c))
            theirs.load_state_dict(mine.state_dict())
            x = torch.randn(2, 5, c.dim)
            cos, sin = Components().rope_angles(torch.arange(5), c.head_dim, c.rope_theta)
            mask = torch.ones(5, 5, dtype=torch.bool).tril()
            with torch.no_grad():
                # Other orders of the same sums: some roundings of float32.
                torch.testing.assert_close(mine(x, cos, sin, mask), theirs(x, cos, sin, mask))

    def test_the_library_s_own_modules_are_borrowed(self) -> None:
        text = (
            "from llama_course.model import TransformerBlock\n"
            "from llama_course.model.components import Components\n"
            "class Block(TransformerBlock):\n"
            "    def __init__(self, config):\n        super().__init__(config, Components())\n"
        )
        assert judged(EXERCISE, text)["Block"].state == BORROWED
