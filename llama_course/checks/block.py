"""Lesson 09: one layer of the model, a class that holds nine weights."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from llama_course import mine
from llama_course.checks.exercise import (
    LOOSE,
    Case,
    Exercise,
    Hints,
    Mistake,
    Script,
    Tolerance,
    edit,
)
from llama_course.checks.scripts import normal, spread_out
from llama_course.config import ModelConfig
from llama_course.model.plain_cache import Cache

SETUP = """import math
import torch
from torch import Tensor, nn
from llama_course import ModelConfig
from llama_course.mine import Cache, apply_rope, attention, causal_mask, decode_positions
from llama_course.mine import repeat_kv, rms_norm, rope_angles, swiglu"""

STARTER = '''
class Block(nn.Module):
    """One layer of the model: attention and a feed-forward layer on the residual stream.

    All sizes, and epsilon, are those of the config. state_dict() has these nine names and no
    others; a matrix is (out, in), and nothing has a bias:

    attention.wq.weight     (n_heads * head_dim, dim)
    attention.wk.weight     (n_kv_heads * head_dim, dim), and attention.wv.weight likewise
    attention.wo.weight     (dim, n_heads * head_dim)
    feed_forward.w1.weight  (hidden_dim, dim), the gate, and feed_forward.w3.weight likewise
    feed_forward.w2.weight  (dim, hidden_dim)
    attention_norm.weight   (dim,), and ffn_norm.weight likewise
    """

    def __init__(self, config: ModelConfig):
        """A new block: the norms' weights are one, the matrices are drawn.

        They are drawn with mean 0 and deviation 0.02; wo and w2 with 0.02 / sqrt(2 * n_layers).
        """
        raise NotImplementedError

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, cache: Cache | None = None
    ) -> Tensor:
        """The stream (batch, seq, dim) behind this layer: a new tensor of x's shape and dtype.

        Attention reads the stream normed by attention_norm, and its result is added to the stream.
        The feed-forward layer reads that sum normed by ffn_norm, and its result is added to it.
        Queries and keys are turned by cos and sin, (seq, head_dim / 2), float32; values are not.
        Query head h attends to key/value head h // (n_heads / n_kv_heads).
        The mask, (seq, keys) and bool, alone decides who sees whom: True = may look.
        Without a cache the keys are those of x itself.
        With one, turned keys and values are appended, and queries attend to all that it then holds.
        x and the weights have one dtype; it may be bfloat16. No argument but the cache is changed.
        Without a cache, gradients flow to x and to all nine weights.
        """
        raise NotImplementedError

'''

SOLUTION = """
class Block(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        q_width = config.n_heads * config.head_dim
        kv_width = config.n_kv_heads * config.head_dim

        def matrix(rows: int, columns: int, deviation: float = 0.02) -> nn.Linear:
            made = nn.Linear(columns, rows, bias=False)
            nn.init.normal_(made.weight, std=deviation)
            return made

        deeper = 0.02 / math.sqrt(2 * config.n_layers)  # for what writes to the stream
        self.attention = nn.ModuleDict({
            "wq": matrix(q_width, config.dim),
            "wk": matrix(kv_width, config.dim),
            "wv": matrix(kv_width, config.dim),
            "wo": matrix(config.dim, q_width, deeper),
        })
        self.feed_forward = nn.ModuleDict({
            "w1": matrix(config.hidden_dim, config.dim),
            "w2": matrix(config.dim, config.hidden_dim, deeper),
            "w3": matrix(config.hidden_dim, config.dim),
        })
        self.attention_norm = nn.ParameterDict({"weight": torch.ones(config.dim)})
        self.ffn_norm = nn.ParameterDict({"weight": torch.ones(config.dim)})

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, cache: Cache | None = None
    ) -> Tensor:
        eps = self.config.norm_eps
        read = rms_norm(x, self.attention_norm.weight, eps)
        x = x + self.attend(read, cos, sin, mask, cache)
        read = rms_norm(x, self.ffn_norm.weight, eps)
        return x + self.feed(read)

    def attend(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, cache: Cache | None
    ) -> Tensor:
        part, heads = self.attention, (-1, self.config.head_dim)
        q = part.wq(x).unflatten(-1, heads)  # (batch, seq, heads, head_dim)
        k = part.wk(x).unflatten(-1, heads)
        v = part.wv(x).unflatten(-1, heads)
        q = apply_rope(q, cos, sin).transpose(1, 2)  # (batch, heads, seq, head_dim)
        k = apply_rope(k, cos, sin).transpose(1, 2)
        v = v.transpose(1, 2)
        if cache is not None:
            cache.append(k, v)
            k, v = cache.read()
        n = q.shape[1] // k.shape[1]
        out = attention(q, repeat_kv(k, n), repeat_kv(v, n), mask)
        return part.wo(out.transpose(1, 2).flatten(-2))

    def feed(self, x: Tensor) -> Tensor:
        part = self.feed_forward
        return swiglu(x, part.w1.weight, part.w2.weight, part.w3.weight)

"""

Steps = Iterator[tuple[str, Any]]
BF16 = torch.bfloat16

# What an answer may call besides torch.
MAY_USE = (
    "llama_course.config",
    "llama_course.errors",
    "llama_course.mine",
    "llama_course.model.plain_cache",
)

# No two of dim, heads * head_dim and key heads * head_dim are equal, nor three heads to a key head
# and two key heads; epsilon and theta are far from every default.
CONFIG = ModelConfig(
    dim=12,
    n_layers=2,
    n_heads=6,
    n_kv_heads=2,
    head_dim=4,
    hidden_dim=20,
    vocab_size=17,
    norm_eps=0.1,
    rope_theta=50.0,
    max_seq_len=64,
)
ONE = dataclasses.replace(CONFIG, n_layers=1)
# As in LLaMA 7B: a key head for each head, and the heads share dim. The vocabulary is as large as
# dim, so that a norm on the wrong side of the head is no crash.
PLAIN = ModelConfig(
    dim=8, n_layers=1, n_heads=2, hidden_dim=12, vocab_size=8, norm_eps=1e-6, rope_theta=3000.0
)
# Wide enough that a deviation is known to a few per cent; sqrt(2 * 3) is far from 3 and sqrt(3).
WIDE = ModelConfig(dim=48, n_layers=3, n_heads=4, hidden_dim=64, vocab_size=80)
BY_HAND = ModelConfig(dim=2, n_layers=1, n_heads=1, hidden_dim=2, vocab_size=3, norm_eps=1e-12)


def block_shapes(c: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The nine names of a block and their shapes."""
    q, kv = c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim
    return {
        "attention.wq.weight": (q, c.dim),
        "attention.wk.weight": (kv, c.dim),
        "attention.wv.weight": (kv, c.dim),
        "attention.wo.weight": (c.dim, q),
        "feed_forward.w1.weight": (c.hidden_dim, c.dim),
        "feed_forward.w2.weight": (c.dim, c.hidden_dim),
        "feed_forward.w3.weight": (c.hidden_dim, c.dim),
        "attention_norm.weight": (c.dim,),
        "ffn_norm.weight": (c.dim,),
    }


def drawn(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """Weights with which every part of the model matters: nothing is small beside the rest."""
    made = {}
    for i, (name, shape) in enumerate(shapes.items()):
        if len(shape) == 1:
            made[name] = 1 + normal(*shape, seed=seed + i, scale=0.4)
        elif name == "tok_embeddings.weight":
            made[name] = normal(*shape, seed=seed + i)
        else:
            made[name] = normal(*shape, seed=seed + i, scale=1.5 / math.sqrt(shape[1]))
    return made


def angles(positions: Tensor, c: ModelConfig = CONFIG) -> tuple[Tensor, Tensor]:
    """Cosines and sines (positions, head_dim / 2), as `rope_angles` makes them."""
    pair = torch.arange(0, c.head_dim, 2)
    turned = positions[:, None].float() * c.rope_theta ** (-pair / c.head_dim)
    return turned.cos(), turned.sin()


def triangle(queries: int, keys: int) -> Tensor:
    """The mask of the last `queries` of `keys` tokens."""
    return torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)


def new_block(answer: Any, c: ModelConfig = CONFIG, seed: int = 0) -> Any:
    """The answer's block, filled."""
    block = answer.Block(c)
    block.load_state_dict(drawn(block_shapes(c), seed))
    return block


# ---- on the answer's side, since a graph or a Cache is no plain value ----------------------------


def gradients_of(module: nn.Module, *inputs: Tensor) -> list[Tensor | None]:
    """Gradients of a weighted sum of the result, for each float input and each parameter."""
    wanted = [x.requires_grad_() for x in inputs[:1] if x.is_floating_point()]
    result = module(*inputs)
    weights = torch.cos(torch.arange(result.numel()) * 0.7).reshape(result.shape)
    names = dict(module.named_parameters())
    wanted += [names[name] for name in sorted(names)]
    return list(torch.autograd.grad((weights * result).sum(), wanted, allow_unused=True))


def read_of(cache: Any) -> Any:
    """What a Cache holds."""
    return cache.read()


# ---- scripts ------------------------------------------------------------------------------------


def names_and_shapes(part: str, shapes: Mapping[str, tuple[int, ...]], c: ModelConfig) -> Script:
    """A script that looks at the state_dict: each name's shape, and names that are too many."""

    def script(answer: Any) -> Steps:
        state = getattr(answer, part)(c).state_dict()
        for name in shapes:
            yield f"the shape of {name}", tuple(state[name].shape) if name in state else "missing"
        yield "names that do not belong there", [name for name in state if name not in shapes]

    return script


def result_shapes(answer: Any) -> Steps:
    block = new_block(answer)
    out = block(normal(2, 3, CONFIG.dim, seed=1), *angles(torch.arange(3)), triangle(3, 3))
    yield f"the result for {(2, 3, CONFIG.dim)}", torch.zeros_like(out)


def by_hand(answer: Any) -> Steps:
    block = answer.Block(BY_HAND)
    one, swap = torch.eye(2), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    matrices = (one, one, one, 5 * swap, one, torch.diag(torch.tensor([1.0, -1.0])), one)
    values = (*matrices, torch.ones(2), torch.ones(2))
    weights = dict(zip(block_shapes(BY_HAND), values, strict=True))
    block.load_state_dict(weights)
    x = torch.tensor([[[1.0, 7.0]]])
    yield "the result", block(x, *angles(torch.arange(1), BY_HAND), triangle(1, 1))


def rows_alone(answer: Any) -> Steps:
    block = new_block(answer, seed=20)
    x = normal(2, 4, CONFIG.dim, seed=2)
    tables = angles(torch.arange(4))
    yield "the result for two rows", block(x, *tables, triangle(4, 4))
    yield "the result for the second row alone", block(x[1:], *tables, triangle(4, 4))


def other_masks(answer: Any) -> Steps:
    block = new_block(answer, seed=20)
    x = normal(1, 5, CONFIG.dim, seed=3)
    document = torch.tensor([0, 0, 1, 1, 1])
    masks = {
        "tokens of the same document": triangle(5, 5) & (document[:, None] == document),
        "every second token": torch.arange(5).remainder(2).eq(0).expand(5, 5),
    }
    for name, mask in masks.items():
        yield f"the result where the mask shows {name}", block(x, *angles(torch.arange(5)), mask)


def against_the_reference(answer: Any, c: ModelConfig, seed: int, scale: float = 1.0) -> Steps:
    block = new_block(answer, c, seed)
    x = normal(2, 6, c.dim, seed=seed, scale=scale)
    yield "the result", block(x, *angles(torch.arange(6), c), triangle(6, 6))


def with_cache(answer: Any) -> Steps:
    """Four tokens, two, then one."""
    block = new_block(answer, seed=40)
    cache = answer.Cache(2, CONFIG.n_kv_heads, 8, CONFIG.head_dim)
    x = normal(2, 7, CONFIG.dim, seed=4)
    for start, stop in ((0, 4), (4, 6), (6, 7)):
        tables = angles(torch.arange(start, stop))
        out = block(x[:, start:stop], *tables, triangle(stop - start, stop), cache)
        yield f"the result for tokens {start} to {stop - 1}", out
        yield f"the tokens in the cache after token {stop - 1}", cache.length


def two_caches(answer: Any) -> Steps:
    """What a cache holds comes from its own tokens, and a block without a cache keeps nothing."""
    block = new_block(answer, seed=40)
    caches = [answer.Cache(1, CONFIG.n_kv_heads, 4, CONFIG.head_dim) for _ in range(2)]
    x = normal(2, 3, CONFIG.dim, seed=5)
    tables = angles(torch.arange(3))
    for row, cache in enumerate(caches):
        block(x[row : row + 1, :1], *(t[:1] for t in tables), triangle(1, 1), cache)
        yield f"the tokens in cache {row} after the first", cache.length
    yield "the result without a cache", block(x, *tables, triangle(3, 3))
    for row, cache in enumerate(caches):
        out = block(x[row : row + 1, 1:], *(t[1:] for t in tables), triangle(2, 3), cache)
        yield f"the result for the last two tokens, cache {row}", out


def in_bfloat16(answer: Any) -> Steps:
    block = new_block(answer, seed=60).to(BF16)
    x = normal(2, 5, CONFIG.dim, seed=6, dtype=BF16)
    yield "the result", block(x, *angles(torch.arange(5)), triangle(5, 5))


def spread_stream(answer: Any) -> Steps:
    block = new_block(answer, seed=20)
    x = spread_out(normal(3, 2, CONFIG.dim, seed=8)).transpose(0, 1)
    yield "the result", block(x, *angles(torch.arange(3)), triangle(3, 3))


def inputs(answer: Any) -> Steps:
    block = new_block(answer, seed=20)
    out = block(normal(1, 3, CONFIG.dim, seed=9), *angles(torch.arange(3)), triangle(3, 3))
    yield "the result", out


def all_gradients(answer: Any) -> Steps:
    block = new_block(answer, seed=20)
    inputs = (normal(2, 3, CONFIG.dim, seed=10), *angles(torch.arange(3)), triangle(3, 3))
    found = answer.hold(gradients_of)(block, *inputs)
    for name, value in zip(("x", *sorted(block_shapes(CONFIG))), found, strict=True):
        yield f"the gradient for {name}", value


def first_weights(part: str, shapes: Mapping[str, tuple[int, ...]]) -> Script:
    """A script on a new part's weights: mean and deviation by name."""

    def script(answer: Any) -> Steps:
        state = getattr(answer, part)(WIDE).state_dict()
        for name, shape in shapes.items():
            if len(shape) == 1:
                yield f"{name} is all ones", bool((state[name] == 1).all())
            else:
                yield f"the deviation of {name}, over 0.02", (state[name].std() / 0.02).item()
                yield f"{name} has a mean near 0", bool(state[name].mean().abs() < 0.002)

    return script


# ---- cases ---------------------------------------------------------------------------------------

ROUNDED = Tolerance(
    2e-4, 5e-5, "float32 through several layers: other orders of summation differ in last digits"
)
COARSE = Tolerance(
    0.1, 0.12, "bfloat16 through several layers: right ways round at different places"
)
ABOUT = Tolerance(
    0.15, 0.0, "a deviation over 2,000 drawn numbers is known to 2 per cent; 7 of these are allowed"
)

NAMES = "state_dict() has these nine names and no others"
READS = (
    "Attention reads the stream normed by attention_norm, and its result is added to the stream."
)
SUM = "The feed-forward layer reads that sum normed by ffn_norm, and its result is added to it."
GROUPS = "Query head h attends to key/value head h // (n_heads / n_kv_heads)."
MASK = "The mask, (seq, keys) and bool, alone decides who sees whom: True = may look."
CACHED = (
    "With one, turned keys and values are appended, and queries attend to all that it then holds."
)
DTYPE = "x and the weights have one dtype; it may be bfloat16."
DRAWN = "They are drawn with mean 0 and deviation 0.02; wo and w2 with 0.02 / sqrt(2 * n_layers)."


CASES = (
    Case(
        "The nine weights have their names and shapes",
        "shape",
        NAMES,
        "n_heads for n_kv_heads, dim for heads * head_dim, biases, other names",
        names_and_shapes("Block", block_shapes(CONFIG), CONFIG),
        dtype=None,
    ),
    Case(
        "The result has the shape and dtype of x",
        "shape",
        "The stream (batch, seq, dim) behind this layer: a new tensor of x's shape and dtype.",
        "a lost axis",
        result_shapes,
    ),
    Case(
        "By hand: (1, 7) is read as (0.2, 1.4), becomes (8, 8), and then (8.731, 7.269)",
        "example",
        READS,
        "another order of norm, layer and sum",
        by_hand,
        expect={"the result": torch.tensor([[[8.731059, 7.268941]]])},
    ),
    Case(
        "A row's result does not depend on the other rows",
        "property",
        READS,
        "rows that are mixed",
        rows_alone,
        tolerance=ROUNDED,
    ),
    Case(
        "The mask that is given is the one that counts",
        "property",
        MASK,
        "a mask of one's own, or none",
        other_masks,
        tolerance=ROUNDED,
    ),
    Case(
        "A new block's weights are drawn as the contract says",
        "property",
        DRAWN,
        "torch's own way of drawing, wo and w2 like the rest, norms of zero",
        first_weights("Block", block_shapes(WIDE)),
        dtype=None,
        tolerance=ABOUT,
    ),
    Case(
        "The reference's numbers, with three heads to a key head",
        "float32",
        GROUPS,
        "anything else",
        partial(against_the_reference, c=CONFIG, seed=30),
        tolerance=ROUNDED,
    ),
    Case(
        "The reference's numbers, with a key head for each head and a small epsilon",
        "float32",
        SUM,
        "an epsilon of one's own",
        partial(against_the_reference, c=PLAIN, seed=50, scale=1e-3),
        tolerance=ROUNDED,
    ),
    Case(
        "With a cache: four tokens, then two, then one",
        "float32",
        CACHED,
        "a cache that is not read, not filled, or filled with keys that are not turned",
        with_cache,
        tolerance=ROUNDED,
    ),
    Case(
        "In bfloat16 the result is bfloat16",
        "low precision",
        DTYPE,
        "a result in float32, a crash between two dtypes",
        in_bfloat16,
        dtype=BF16,
        tolerance=COARSE,
    ),
    Case(
        "Two caches in turn, and no cache between them",
        "edge",
        "Without a cache the keys are those of x itself.",
        "keys that the block itself remembers",
        two_caches,
        tolerance=ROUNDED,
    ),
    Case(
        "A stream whose numbers do not lie side by side in memory",
        "edge",
        READS,
        "view() where the layout does not allow it",
        spread_stream,
        tolerance=ROUNDED,
    ),
    Case(
        "x, cos, sin and mask are afterwards what they were",
        "inputs",
        "No argument but the cache is changed.",
        "x += ..., which writes to the caller's stream",
        inputs,
        tolerance=ROUNDED,
    ),
    Case(
        "Gradients flow to x and to all nine weights",
        "gradient",
        "Without a cache, gradients flow to x and to all nine weights.",
        "detach(), .data, no_grad()",
        all_gradients,
        tolerance=LOOSE,
    ),
)

# ---- mistakes ------------------------------------------------------------------------------------

READ_ATTENTION = "read = rms_norm(x, self.attention_norm.weight, eps)"
ADD_ATTENTION = "x = x + self.attend(read, cos, sin, mask, cache)"
READ_FEED = "read = rms_norm(x, self.ffn_norm.weight, eps)"
ADD_FEED = "return x + self.feed(read)"
STREAM = (READ_ATTENTION, ADD_ATTENTION, READ_FEED, ADD_FEED)

TURN_Q = "q = apply_rope(q, cos, sin).transpose(1, 2)  # (batch, heads, seq, head_dim)"
TURN_K = "k = apply_rope(k, cos, sin).transpose(1, 2)"
PLAIN_V = "v = v.transpose(1, 2)"
CACHE_USE = "cache.append(k, v)\n            k, v = cache.read()"
REPEATED = "attention(q, repeat_kv(k, n), repeat_kv(v, n), mask)"
MERGED = "out.transpose(1, 2).flatten(-2)"


def stream(*lines: str) -> tuple[str, ...]:
    """An edit of the four lines that make a block's stream."""
    between = "\n        "
    return edit(between.join(STREAM), between.join(lines))


MISTAKES = (
    Mistake(
        "post-norm",
        "The norm stands behind the sum, on the stream itself, as in the first transformer; in "
        "LLaMA it stands before the layer, and nothing but additions happens on the stream.",
        (
            stream("read = x",
                   f"x = rms_norm({ADD_ATTENTION[4:]}, self.attention_norm.weight, eps)",
                   "read = x", "return rms_norm(x + self.feed(read), self.ffn_norm.weight, eps)"),
        ),
        "Follow the stream with a finger from x to the result. Which functions does it go through?",
    ),
    Mistake(
        "norm behind the layer, before the sum",
        "The layer reads the raw stream, and its result is normed before it is added; the norm "
        "belongs in front of the layer.",
        (
            stream("read = x", "x = x + rms_norm(self.attend(read, cos, sin, mask, cache), "
                   "self.attention_norm.weight, eps)",
                   "read = x", "return x + rms_norm(self.feed(read), self.ffn_norm.weight, eps)"),
        ),
        "What goes into wq: the stream, or the normed stream?",
    ),
    Mistake(
        "one norm shared",
        "Both layers read through one and the same norm; each has its own weight.",
        (
            edit("self.ffn_norm.weight", "self.attention_norm.weight"),
            edit("self.attention_norm.weight", "self.ffn_norm.weight"),
        ),
        "A block has two norm weights. Which of them does your forward never read?",
    ),
    Mistake(
        "the two norms exchanged",
        "Attention reads through ffn_norm and the feed-forward layer through attention_norm.",
        (
            edit("self.attention_norm.weight", "self.THE.weight", "self.ffn_norm.weight",
                 "self.attention_norm.weight", "self.THE.weight", "self.ffn_norm.weight"),
        ),
        "Each norm is named for the layer that reads through it.",
    ),
    Mistake(
        "a norm left out",
        "A layer reads the stream as it is, without its norm.",
        (
            edit(READ_ATTENTION, "read = x"),
            edit(READ_FEED, "read = x"),
            edit(READ_ATTENTION, "read = x", READ_FEED, "read = x"),
        ),
        "Both layers read a normed copy of the stream.",
    ),
    Mistake(
        "residual from the normed input",
        "The layer's result is added to the normed copy that the layer has read, so the stream "
        "itself is lost; it is added to the stream as it was before the norm.",
        (
            edit(ADD_ATTENTION, "x = read + self.attend(read, cos, sin, mask, cache)"),
            edit(ADD_FEED, "return read + self.feed(read)"),
            edit(ADD_ATTENTION, "x = read + self.attend(read, cos, sin, mask, cache)",
                 ADD_FEED, "return read + self.feed(read)"),
        ),
        "Give the normed copy a name of its own, so that x is still there for the sum.",
    ),
    Mistake(
        "residual missing",
        "A layer's result takes the place of the stream; it should be added to it.",
        (
            edit(ADD_ATTENTION, "x = self.attend(read, cos, sin, mask, cache)"),
            edit(ADD_FEED, "return self.feed(read)"),
            edit(ADD_ATTENTION, "x = self.attend(read, cos, sin, mask, cache)",
                 ADD_FEED, "return self.feed(read)"),
        ),
        "If wo and w2 were zero, what should come out of the block?",
    ),
    Mistake(
        "attention and feed-forward in parallel",
        "Both layers read the stream as it came in, and both results are added at the end, as in "
        "GPT-J and PaLM; in LLaMA the feed-forward layer reads the sum behind attention.",
        (
            stream("first = rms_norm(x, self.attention_norm.weight, eps)",
                   "first = self.attend(first, cos, sin, mask, cache)", READ_FEED,
                   "return x + first + self.feed(read)"),
            edit(READ_FEED, ""),
            stream(READ_ATTENTION, "other = rms_norm(x, self.ffn_norm.weight, eps)",
                   ADD_ATTENTION, "return x + self.feed(other)"),
        ),
        "When you compute what the feed-forward layer reads, is attention's result already in x?",
    ),
    Mistake(
        "attention's result is lost",
        "The feed-forward layer reads the sum behind attention, but its own result is added to "
        "the stream as it was before attention; so attention's result is read once and kept "
        "nowhere.",
        (
            edit(ADD_ATTENTION, f"h = {ADD_ATTENTION[4:]}",
                 READ_FEED, "read = rms_norm(h, self.ffn_norm.weight, eps)"),
        ),
        "If w2 were zero, would the block's result still hold what attention has found?",
    ),
    Mistake(
        "the stream is added twice",
        "The stream that came in is in the result twice: the second sum adds it again to a sum "
        "that already holds it.",
        (
            edit(ADD_ATTENTION, f"h = {ADD_ATTENTION[4:]}",
                 READ_FEED, "read = rms_norm(h, self.ffn_norm.weight, eps)",
                 ADD_FEED, "return x + h + self.feed(read)"),
            edit(ADD_FEED, "return x + x + self.feed(read)"),
        ),
        "If wo and w2 were zero, should the block's result be x, or 2 x?",
    ),
    Mistake(
        "layers exchanged",
        "The feed-forward layer comes first and attention second.",
        (
            stream(READ_FEED, "x = x + self.feed(read)", READ_ATTENTION,
                   "return x + self.attend(read, cos, sin, mask, cache)"),
        ),
        "Attention first, then the feed-forward layer.",
    ),
    Mistake(
        "residual scaled",
        "The sum, or the stream in it, is multiplied by a number, to keep its size; LLaMA adds "
        "without any scaling.",
        (
            edit(ADD_ATTENTION, f"x = ({ADD_ATTENTION[4:]}) / math.sqrt(2)",
                 ADD_FEED, "return (x + self.feed(read)) / math.sqrt(2)"),
            edit(ADD_ATTENTION, f"x = ({ADD_ATTENTION[4:]}) / 2",
                 ADD_FEED, "return (x + self.feed(read)) / 2"),
            edit(ADD_ATTENTION,
                 "scale = (2 * self.config.n_layers) ** -0.5\n"
                 "        x = x + scale * self.attend(read, cos, sin, mask, cache)",
                 ADD_FEED, "return x + scale * self.feed(read)"),
        ),
        "There is nothing but a + between the stream and what a layer gives.",
    ),
    Mistake(
        "adds to the caller's stream in place",
        "x += ... writes into the tensor that the caller has handed in; x = x + ... makes a new "
        "one.",
        (edit(ADD_ATTENTION, f"x += {ADD_ATTENTION[8:]}"),),
        "What does x += do to a tensor that somebody else still holds?",
    ),
    Mistake(
        "epsilon fixed",
        "In one norm or in both, epsilon is written into the class, or left out, or left to "
        "PyTorch; it is config.norm_eps.",
        (
            edit("eps = self.config.norm_eps", "eps = 1e-5"),
            edit("eps = self.config.norm_eps", "eps = 1e-6"),
            edit("eps = self.config.norm_eps", "eps = 1e-8"),
            edit("eps = self.config.norm_eps", "eps = 0.0"),
            edit("eps = self.config.norm_eps", "eps = torch.finfo(x.dtype).eps"),
            *(edit(f"self.{norm}.weight, eps", f"self.{norm}.weight, {number}")
              for norm in ("attention_norm", "ffn_norm") for number in ("1e-5", "1e-6")),
        ),
        "LLaMA 1 has 1e-6 and Llama 2 has 1e-5. Where does your epsilon come from?",
    ),
    Mistake(
        "n_heads for n_kv_heads",
        "wk and wv are made for as many heads as wq; a model with grouped-query attention has "
        "fewer, config.n_kv_heads.",
        (edit("kv_width = config.n_kv_heads * config", "kv_width = config.n_heads * config"),),
        "Print the shapes of wk for a config with n_heads=6 and n_kv_heads=2.",
    ),
    Mistake(
        "head_dim from dim / n_heads",
        "The width of a head is computed as dim / n_heads. So it is in LLaMA 7B, but it is a field "
        "of its own, config.head_dim.",
        (
            edit("q_width = config.n_heads * config.head_dim", "q_width = config.dim",
                 "kv_width = config.n_kv_heads * config.head_dim",
                 "kv_width = config.n_kv_heads * (config.dim // config.n_heads)",
                 "(-1, self.config.head_dim)", "(-1, self.config.dim // self.config.n_heads)"),
            edit("q_width = config.n_heads * config.head_dim", "q_width = config.dim",
                 "kv_width = config.n_kv_heads * config.head_dim",
                 "kv_width = config.n_kv_heads * (config.dim // config.n_heads)"),
        ),
        "The queries of all heads together need not be as wide as the stream.",
    ),
    Mistake(
        "biases",
        "The matrices come with biases, which nn.Linear adds unless bias=False; LLaMA has none.",
        (edit("nn.Linear(columns, rows, bias=False)\n            nn", "nn.Linear(columns, rows)\n"
              "            nn"),),
        "What does nn.Linear make besides its weight?",
    ),
    Mistake(
        "gate and up exchanged",
        "w1 and w3 are exchanged: w1 is the gate, which goes through SiLU.",
        (edit("part.w1.weight, part.w2.weight, part.w3.weight",
              "part.w3.weight, part.w2.weight, part.w1.weight"),),
        "swiglu takes w1, w2, w3 in this order, and w1 is the gate.",
    ),
    Mistake(
        "heads tiled",
        "The key heads are repeated as a whole, 0, 1, 0, 1, where neighbours should share one, "
        "0, 0, 1, 1.",
        (
            edit(REPEATED, "attention(q, k.repeat(1, n, 1, 1), v.repeat(1, n, 1, 1), mask)"),
            edit(REPEATED, "attention(q, k.tile(1, n, 1, 1), v.tile(1, n, 1, 1), mask)"),
        ),
        "Which key head should query head 1 use, if there are three query heads to each?",
    ),
    Mistake(
        "repeat_kv forgotten",
        "Keys and values go into attention with fewer heads than the queries have.",
        (edit(REPEATED, "attention(q, k, v, mask)"),),
        "Compare k.shape[1] and q.shape[1] before you call attention.",
    ),
    Mistake(
        "wk used twice",
        "Keys and values both come from wk, as in a line that was copied and not changed; values "
        "come from wv.",
        (edit("v = part.wv(x)", "v = part.wk(x)"),),
        "Which of your seven matrices does the forward never read?",
    ),
    Mistake(
        "RoPE forgotten",
        "Queries and keys are not turned, or only one of the two is; then a score knows nothing "
        "of the distance.",
        (
            edit(TURN_Q, "q = q.transpose(1, 2)", TURN_K, "k = k.transpose(1, 2)"),
            edit(TURN_Q, "q = q.transpose(1, 2)"),
            edit(TURN_K, "k = k.transpose(1, 2)"),
        ),
        "Are cos and sin used twice in your block?",
    ),
    Mistake(
        "values turned too",
        "RoPE is applied to the values; only queries and keys are turned.",
        (edit(PLAIN_V, "v = apply_rope(v, cos, sin).transpose(1, 2)"),),
        "Positions belong into the score, and the values are not part of it.",
    ),
    Mistake(
        "heads split by view alone",
        "The projections are cut into heads without the transpose, so that parts of different "
        "tokens land in one head.",
        (
            edit(TURN_Q, "q = apply_rope(q, cos, sin); q = q.reshape(q.shape[0], -1, "
                 "q.shape[1], q.shape[3])",
                 TURN_K, "k = apply_rope(k, cos, sin); k = k.reshape(k.shape[0], -1, "
                 "k.shape[1], k.shape[3])",
                 PLAIN_V, "v = v.reshape(v.shape[0], -1, v.shape[1], v.shape[3])"),
        ),
        "view(batch, heads, seq, head_dim) gives the right shape and the wrong numbers.",
    ),
    Mistake(
        "heads merged without the transpose",
        "The heads' results are laid side by side without moving the head axis back first, so "
        "that a token gets parts of its neighbours.",
        (edit(MERGED, "out.reshape(*x.shape[:2], -1)"),),
        "attention gives (batch, heads, seq, head_dim). Which two axes should be neighbours?",
    ),
    Mistake(
        "a mask of one's own",
        "The mask that is given is not used: another one, or none, decides who sees whom.",
        (
            edit(REPEATED, "attention(q, repeat_kv(k, n), repeat_kv(v, n), "
                 "torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).tril("
                 "k.shape[2] - q.shape[2]))"),
            edit(REPEATED, "attention(q, repeat_kv(k, n), repeat_kv(v, n), "
                 "torch.ones_like(mask))"),
            *(edit(REPEATED, "nn.functional.scaled_dot_product_attention("
                   f"q, repeat_kv(k, n), repeat_kv(v, n), is_causal={when})")
              for when in ("True", "q.shape[2] > 1")),
        ),
        "Pass mask on to attention, and do nothing else about it.",
    ),
    Mistake(
        "mask inverted",
        "The mask is turned round: True means may look here, where PyTorch's own layers have True "
        "for hidden.",
        (edit(REPEATED, "attention(q, repeat_kv(k, n), repeat_kv(v, n), ~mask)"),),
        "The first token may look at itself. Is its mask True or False there?",
    ),
    Mistake(
        "the cache is filled and not read",
        "New keys and values are appended, but the queries only see the new ones; they should "
        "see all that the cache holds.",
        (edit(CACHE_USE, "cache.append(k, v)"),),
        "What is cache.read() for?",
    ),
    Mistake(
        "the cache is ignored",
        "The block never touches the cache that it is given.",
        (edit("if cache is not None:", "if False:"),),
        "Append to the cache, then read it.",
    ),
    Mistake(
        "the cache is used for single tokens only",
        "A text of several tokens is read without the cache, which holds nothing of it afterwards; "
        "each token belongs in the cache, however many come at once.",
        (edit("if cache is not None:", "if cache is not None and x.shape[1] == 1:"),),
        "How many tokens should the cache hold after a prompt of four?",
    ),
    Mistake(
        "keys cached before they are turned",
        "The keys go into the cache without their rotation, and what comes out of it is not "
        "turned any more.",
        (
            edit(TURN_K, "plain = k.transpose(1, 2)\n        " + TURN_K,
                 CACHE_USE, "cache.append(plain, v)\n            k, v = cache.read()"),
        ),
        "cos and sin are those of the new tokens: use them before you append.",
    ),
    Mistake(
        "weights drawn as PyTorch does",
        "The matrices keep what nn.Linear draws by itself, which is several times as large; draw "
        "them with deviation 0.02.",
        (edit("nn.init.normal_(made.weight, std=deviation)", "pass"),),
        "nn.init.normal_(weight, std=...) draws anew.",
    ),
    Mistake(
        "wo or w2 drawn like the rest",
        "One of the two matrices that write to the stream, or both, has the same deviation as the "
        "others; with every layer the stream then grows.",
        (
            edit("deeper = 0.02 / math.sqrt(2 * config.n_layers)", "deeper = 0.02"),
            edit("q_width, deeper)", "q_width)"),
            edit("config.hidden_dim, deeper)", "config.hidden_dim)"),
        ),
        "Which two of the seven matrices write to the stream?",
    ),
    Mistake(
        "wo and w2 drawn too small or too large",
        "wo and w2 are drawn smaller than the rest, but not by the root of 2 * n_layers: there are "
        "two sums in each block, and random numbers add up like the root of their count.",
        tuple(
            edit("math.sqrt(2 * config.n_layers)", divisor)
            for divisor in ("math.sqrt(config.n_layers)", "config.n_layers",
                            "(2 * config.n_layers)", "math.sqrt(2)")
        ),
        "How many results are added to the stream on its way through all blocks?",
    ),
    Mistake(
        "norms that start at zero",
        "A norm's weight is zero at the start, so that its layer reads zeros; it is one.",
        (
            *(edit(f'self.{norm} = nn.ParameterDict({{"weight": torch.ones',
                   f'self.{norm} = nn.ParameterDict({{"weight": torch.zeros')
              for norm in ("attention_norm", "ffn_norm")),
            edit('self.attention_norm = nn.ParameterDict({"weight": torch.ones(config.dim)})',
                 'self.attention_norm = nn.ParameterDict({"weight": torch.zeros(config.dim)})',
                 'self.ffn_norm = nn.ParameterDict({"weight": torch.ones(config.dim)})',
                 'self.ffn_norm = nn.ParameterDict({"weight": torch.zeros(config.dim)})'),
        ),
        "A weight of one leaves a normed vector as it is.",
    ),
)  # fmt: skip


class OnTheLibrary(Exercise):
    """An exercise whose reference and mistakes compute with the library's parts.

    Its setup asks `llama_course.mine`, which gives the learner's own where they are kept. What is
    right must not depend on those: a file there may have been changed by hand.
    """

    def load(self, text: str, module: str = "llama_course.checks.text") -> dict[str, Any]:
        """The parts that a source text defines, run after the setup with the library's parts."""
        namespace: dict[str, Any] = {"__name__": module}
        exec(compile(self.setup, f"<setup of {self.name}>", "exec", dont_inherit=True), namespace)
        plain = {n: mine.library(n) for n in (*mine.FUNCTIONS, *mine.CACHE) if n in namespace}
        namespace.update({**plain, **self.beside()})
        exec(compile(text, f"<exercise {self.name}>", "exec", dont_inherit=True), namespace)
        return {part: namespace[part] for part in self.parts if part in namespace}

    def beside(self) -> dict[str, Any]:
        """What a text finds besides."""
        return {}


EXERCISE = OnTheLibrary(
    name="block",
    lesson="09",
    title="One block",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="Begin with the weights: pass the names and shapes first, the formulas later. Then "
        "say in one sentence each what attention reads, what its result is added to, and what "
        "the feed-forward layer reads.",
        outline="nn.Linear without bias for the seven matrices, in two nn.ModuleDicts named "
        "attention and feed_forward; an nn.ParameterDict with the key weight for each norm. In "
        "forward keep the stream and its normed copy under two names. Attention: project, cut "
        "into heads, turn q and k, transpose, append to the cache and read it, repeat, attend, "
        "transpose back, wo.",
    ),
    difficulty="hard",
    importance="32 of these are the 7B model.",
    minutes=25,
    setup=SETUP,
    may_use=MAY_USE,
    forbidden=("transformers.*",),
    reference={"Cache": Cache},  # no part to write, but scripts need one on the answer's side
)
