"""Lesson 07, fourth part: new tokens attend to all that was read, by way of the cache."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, no_type_check

import torch
from torch import Tensor

from llama_course import mine
from llama_course.checks.exercise import (
    Case,
    Exercise,
    Hints,
    Mistake,
    Tolerance,
    apply,
    edit,
)
from llama_course.checks.scripts import normal, spread_out
from llama_course.model import cached_attention as library
from llama_course.model.attention import causal_mask, repeat_kv
from llama_course.model.plain_cache import Cache, decode_positions
from llama_course.model.rope import rope_angles

SETUP = """import torch
from torch import Tensor
from llama_course.mine import apply_rope, attention, causal_mask
from llama_course.mine import Cache, decode_positions, repeat_kv"""

STARTER = '''
def cached_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cos: Tensor,
    sin: Tensor,
    cache: Cache,
    lengths: Tensor | None = None,
) -> Tensor:
    """Let new tokens attend to all tokens that were read, themselves included.

    q: (batch, seq, heads, head_dim), the new tokens' queries, not turned yet.
    k, v: (batch, seq, kv_heads, head_dim), their keys, not turned yet, and their values.
    cos, sin: (seq, head_dim // 2) or (batch, seq, head_dim // 2), float32: the angles of the new
    tokens' positions.
    cache: a Cache with q's dtype, which holds the tokens that were read before.
    lengths: (batch,), int64, how many of a row's new tokens are real, as in cache.append; or None.

    The result is (batch, seq, heads, head_dim), with q's dtype.
    Queries and keys are turned by cos and sin; values are not.
    Afterwards the cache also holds the new real tokens: their turned keys, and their values.
    The new tokens of a row stand behind those that the cache held of it before this call.
    A query sees the tokens of its row up to its own position, itself included, and nothing else.
    Query head h reads key/value head h // (heads // kv_heads).
    What comes out for padding means nothing.
    q, k, v, cos, sin and lengths are not changed.
    """
    raise NotImplementedError
'''

SOLUTION = """
def cached_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cos: Tensor,
    sin: Tensor,
    cache: Cache,
    lengths: Tensor | None = None,
) -> Tensor:
    q = apply_rope(q, cos, sin).transpose(1, 2)  # (batch, heads, seq, head_dim)
    k = apply_rope(k, cos, sin).transpose(1, 2)  # (batch, kv_heads, seq, head_dim)
    v = v.transpose(1, 2)
    positions = decode_positions(cache.length, q.shape[2])  # before append moves the length
    cache.append(k, v, lengths)
    keys, values = cache.read()  # (batch, kv_heads, longest, head_dim)
    mask = causal_mask(positions, torch.arange(keys.shape[2], device=keys.device))
    n = q.shape[1] // keys.shape[1]
    out = attention(q, repeat_kv(keys, n), repeat_kv(values, n), mask)
    return out.transpose(1, 2)
"""

SHAPE = "The result is (batch, seq, heads, head_dim), with q's dtype."
TURN = "Queries and keys are turned by cos and sin; values are not."
HOLDS = "Afterwards the cache also holds the new real tokens: their turned keys, and their values."
BEHIND = "The new tokens of a row stand behind those that the cache held of it before this call."
SEES = (
    "A query sees the tokens of its row up to its own position, itself included, and nothing else."
)
GROUP = "Query head h reads key/value head h // (heads // kv_heads)."
PADDING = "What comes out for padding means nothing."
SAME = "q, k, v, cos, sin and lengths are not changed."

BF16 = torch.bfloat16
ANGLES = inspect.unwrap(rope_angles)
Steps = Iterator[tuple[str, Any]]
NEAR = Tolerance(1e-4, 1e-5, "float32: two products, a softmax and turned pairs, in any order")
COARSE = Tolerance(0.03, 0.03, "bfloat16: eight bits, rounded after each of several steps")


@no_type_check  # the shapes are checked where they are used; here it would cost time
class Text:
    """Projections of a whole text, from which new tokens are taken piece by piece."""

    def __init__(
        self,
        seed: int,
        batch: int = 1,
        heads: int = 4,
        kv_heads: int = 2,
        head_dim: int = 4,
        seq: int = 12,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        sizes = (heads, kv_heads, kv_heads)
        self.parts = [
            # Queries and keys of deviation 2: scores large enough that a wrong one shows.
            normal(batch, seq, n, head_dim, seed=100 * seed + i, scale=s, dtype=dtype)
            for i, (n, s) in enumerate(zip(sizes, (2.0, 2.0, 1.0), strict=True))
        ]
        self.head_dim = head_dim
        self.dims = (batch, kv_heads, seq, head_dim)
        self.dtype = dtype
        self.read = torch.zeros(batch, dtype=torch.int64)

    def cache(self, answer: Any) -> Any:
        """An empty cache on the answer's side."""
        batch, kv_heads, seq, head_dim = self.dims
        return answer.Cache(batch, kv_heads, seq, head_dim, dtype=self.dtype)

    def angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        return ANGLES(positions, self.head_dim, 100.0)

    def next(self, n: int) -> tuple[Tensor, ...]:
        """q, k, v, cos and sin of the next n tokens, the same number in each row."""
        start = int(self.read[0])
        self.read += n
        return (
            *(x[:, start : start + n].contiguous() for x in self.parts),
            *self.angles(torch.arange(start, start + n)),
        )

    def next_of_rows(self, *new: int, seq: int | None = None) -> tuple[Tensor, ...]:
        """q, k, v, cos and sin, padded on the right by large numbers, of unequal numbers."""
        seq = max(new) if seq is None else seq
        padded = []
        for part in self.parts:
            rows = torch.full((part.shape[0], seq, *part.shape[2:]), 50.0, dtype=self.dtype)
            for row, n in enumerate(new):
                start = int(self.read[row])
                rows[row, :n] = part[row, start : start + n]
            padded.append(rows)
        positions = self.read[:, None] + torch.arange(seq)
        self.read += torch.tensor(new)
        return (*padded, *self.angles(positions))


def held(cache: Any) -> tuple[Tensor, Tensor]:
    """What the cache holds (a handle has a `read` of its own)."""
    keys, values = cache.__getattr__("read")()
    return keys, values


def shape(answer: Any) -> Steps:
    for sizes in ((2, 4, 2, 6), (1, 3, 1, 4)):
        batch, heads, kv_heads, head_dim = sizes
        text = Text(1, batch, heads, kv_heads, head_dim)
        cache = text.cache(answer)
        for n in (5, 1):
            out = answer.cached_attention(*text.next(n), cache)
            yield f"the result for {n} tokens of {sizes}", torch.zeros_like(out)


def by_hand(answer: Any) -> Steps:
    """Scores of 0, so that every visible token weighs the same; values 1, 2, 3, 4 and so on."""
    cache = answer.Cache(1, 1, 8, 2)
    cos, sin = torch.ones(2, 1), torch.zeros(2, 1)  # no turn
    zero = torch.zeros(1, 2, 1, 2)
    for first in (1.0, 3.0):
        v = torch.tensor([first, first + 1]).view(1, 2, 1, 1).expand(1, 2, 1, 2).contiguous()
        out = answer.cached_attention(zero, zero, v, cos, sin, cache)
        yield f"the means, after the values {first:.0f} and {first + 1:.0f}", out[0, :, 0, 0]


def pieces(*sizes: int, seed: int, **options: Any) -> Any:
    """A script that reads a text in pieces of these sizes."""

    def script(answer: Any) -> Steps:
        text = Text(seed, **options)
        cache = text.cache(answer)
        for n in sizes:
            yield f"the result for {n} more tokens", answer.cached_attention(*text.next(n), cache)

    return script


def kept(answer: Any) -> Steps:
    text = Text(20, batch=2)
    cache = text.cache(answer)
    for n in (3, 2):
        answer.cached_attention(*text.next(n), cache)
        keys, values = held(cache)
        yield "the keys in the cache", keys
        yield "the values in the cache", values
        yield "its length", cache.length


def unequal(answer: Any) -> Steps:
    text = Text(21, batch=3)
    cache = text.cache(answer)
    for new in ((4, 1, 3), (2, 3, 1), (1, 0, 1)):
        out = answer.cached_attention(*text.next_of_rows(*new), cache, torch.tensor(new))
        for row, n in enumerate(new):
            yield f"row {row}, {n} more tokens", out[row, :n]
        keys, values = held(cache)
        yield "the keys in the cache", keys
        yield "the values in the cache", values
        yield "its length", cache.length


def unequal_steps(answer: Any) -> Steps:
    """Prompts of unequal length, and then one token for each row, without lengths."""
    text = Text(22, batch=2, heads=6, kv_heads=2, head_dim=6)
    cache = text.cache(answer)
    answer.cached_attention(*text.next_of_rows(5, 2), cache, lengths=torch.tensor([5, 2]))
    for step in range(2):
        out = answer.cached_attention(*text.next_of_rows(1, 1), cache)
        yield f"step {step + 1}", out


def unequal_chunk(answer: Any) -> Steps:
    """Whole chunks behind rows of unequal length: nothing is padded any more."""
    text = Text(23, batch=2)
    cache = text.cache(answer)
    answer.cached_attention(*text.next_of_rows(2, 5), cache, torch.tensor([2, 5]))
    yield "a chunk of three in both rows", answer.cached_attention(*text.next_of_rows(3, 3), cache)


def far_out(answer: Any) -> Steps:
    """Angles that do not begin at 0, as after a window was moved: they are the caller's."""
    text = Text(25)
    cache = text.cache(answer)
    for start, n in ((1000, 3), (1003, 2)):
        q, k, v, *_ = text.next(n)
        angles = text.angles(torch.arange(start, start + n))
        yield f"{n} tokens from {start:,} on", answer.cached_attention(q, k, v, *angles, cache)


def transposed(answer: Any) -> Steps:
    text = Text(26)
    cache = text.cache(answer)
    for n in (3, 2):
        q, k, v, cos, sin = text.next(n)
        q, k, v = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v))
        args = (spread_out(q), k, spread_out(v), cos, sin)
        yield f"the result for {n} more tokens", answer.cached_attention(*args, cache)


def inputs(answer: Any) -> Steps:
    text = Text(27, batch=2)
    cache = text.cache(answer)
    answer.cached_attention(*text.next(2), cache)
    out = answer.cached_attention(*text.next_of_rows(2, 1), cache, torch.tensor([2, 1]))
    yield "the first row", out[0]


CASES = (
    Case("The shape of a prompt's result and of one token's, for several numbers of heads",
         "shape", SHAPE, "a result that is not transposed back", shape),
    Case("By hand: equal scores, so each token gets the mean of the values that it sees",
         "example", SEES, "a mask that is missing, misaligned or one off", by_hand, tolerance=NEAR,
         expect={"the means, after the values 1 and 2": torch.tensor([1.0, 1.5]),
                 "the means, after the values 3 and 4": torch.tensor([2.0, 2.5])}),
    Case("Prefill: a prompt in one piece", "property", SEES, "the future seen",
         pieces(6, seed=3), tolerance=NEAR),
    Case("Decode: token by token from the first", "property", BEHIND,
         "the past forgotten, keys that were not turned", pieces(1, 1, 1, 1, seed=4),
         tolerance=NEAR),
    Case("Chunked prefill: three, four and two tokens", "property", SEES,
         "a mask that begins again with each chunk", pieces(3, 4, 2, seed=5), tolerance=NEAR),
    Case("The cache holds turned keys and plain values, each once", "property", HOLDS,
         "keys cached before rotation, keys and values exchanged, tokens fed twice", kept,
         tolerance=NEAR),
    Case("Six query heads read two key/value heads, in order", "property", GROUP,
         "tile for repeat", pieces(4, 2, seed=6, heads=6, kv_heads=2), tolerance=NEAR),
    Case("As many key/value heads as query heads", "property", GROUP,
         "a number of copies that is fixed", pieces(3, 2, seed=7, heads=3, kv_heads=3),
         tolerance=NEAR),
    Case("Rows of unequal length: each row as if it were alone", "property", PADDING,
         "padding cached, one position for all rows", unequal, tolerance=NEAR),
    Case("Prompts of unequal length, then one token each", "property", BEHIND,
         "the longest row's positions for all, empty slots seen", unequal_steps, tolerance=NEAR),
    Case("The reference's numbers for eight heads of 16 and 40 tokens", "float32", SEES,
         "anything else", pieces(17, 1, 22, seed=8, batch=2, heads=8, kv_heads=4, head_dim=16,
                                 seq=40), tolerance=NEAR),
    Case("bfloat16 tokens in a bfloat16 cache, and a bfloat16 result", "low precision", SHAPE,
         "a step that fails for two dtypes, a result left in float32",
         pieces(5, 2, seed=9, dtype=BF16), dtype=BF16, tolerance=COARSE),
    Case("A chunk behind rows of unequal length, without padding", "edge", BEHIND,
         "one position for all rows", unequal_chunk, tolerance=NEAR),
    Case("One head, one row, heads of two numbers", "edge", SEES, "an axis squeezed away",
         pieces(1, 2, seed=10, heads=1, kv_heads=1, head_dim=2), tolerance=NEAR),
    Case("As many heads as tokens", "edge", TURN, "angles that run along the heads",
         pieces(4, seed=11, heads=4, kv_heads=4), tolerance=NEAR),
    Case("Angles from position 1,000 on", "edge", TURN,
         "angles made again instead of taken as they come", far_out, tolerance=NEAR),
    Case("q, k and v transposed in memory, and with gaps", "edge", SHAPE,
         "view() where the layout does not allow it", transposed, tolerance=NEAR),
    Case("q, k, v, cos, sin and lengths are afterwards what they were", "inputs", SAME,
         "work in place", inputs, tolerance=NEAR),
)  # fmt: skip

Q_TURN = "q = apply_rope(q, cos, sin).transpose(1, 2)"
K_TURN = "k = apply_rope(k, cos, sin).transpose(1, 2)"
V_TURN = "v = v.transpose(1, 2)\n"
POSITIONS = (
    "positions = decode_positions(cache.length, q.shape[2])  # before append moves the length\n"
)
APPEND = "cache.append(k, v, lengths)\n"
READ = "keys, values = cache.read()"
SLOTS = "torch.arange(keys.shape[2], device=keys.device)"
MASK = f"mask = causal_mask(positions, {SLOTS})"
REPEATED = "repeat_kv(keys, n), repeat_kv(values, n)"
RESULT = "return out.transpose(1, 2)"
TURNED_WHEN_READ = (
    "keys, values = cache.read()\n"
    "    keys = apply_rope(keys.transpose(1, 2), cos, sin).transpose(1, 2)"
)


def whole(*replacements: str) -> str:
    """The solution with an edit, as a text of its own.

    What raises or throws away most of the rest is not tried together with other mistakes.
    """
    return apply(edit(*replacements), SOLUTION)


MISTAKES = (
    Mistake(
        "no mask",
        "Every query sees all that the cache holds. For a single new token that is right; in a "
        "prompt or a chunk it sees its own future, and in unequal rows also empty slots.",
        (edit(MASK, f"mask = causal_mask(positions + keys.shape[2], {SLOTS})"),
         edit(MASK, "mask = torch.ones(q.shape[2], keys.shape[2], dtype=torch.bool)"),
         edit(MASK, f"mask = causal_mask(positions, {SLOTS}) | True")),
        "What may the first token of a prompt see?",
    ),
    Mistake(
        "mask for the first call only",
        "A prompt is masked and later calls are not, as if only single tokens came then. In a "
        "chunk the new tokens see their own future, and shorter rows see empty slots.",
        (edit(POSITIONS, f"first = int(cache.length.max()) == 0\n    {POSITIONS}",
              MASK, f"mask = causal_mask(positions, {SLOTS})\n"
              "    if not first:\n        mask = torch.ones_like(mask)"),),
        "Three tokens were read and a chunk of four comes. What may the first of these see?",
    ),
    Mistake(
        "mask skipped for a single token",
        "For one new token the mask is left out. With rows of equal length that saves work; a "
        "shorter row then sees slots that are empty.",
        (edit(MASK, f"mask = causal_mask(positions, {SLOTS})\n"
              "    if q.shape[2] == 1:\n        mask = torch.ones_like(mask)"),),
        "The rows hold 5 and 2 tokens, and read() gives 5 slots for both.",
    ),
    Mistake(
        "mask misaligned in a chunk",
        "The mask begins at the first slot with each call: new query 0 sees only slot 0, query 1 "
        "two slots. torch's is_causal=True aligns in the same way. New tokens stand behind the "
        "old ones.",
        (edit(MASK, f"mask = causal_mask(torch.arange(q.shape[2]), {SLOTS})"),
         edit(MASK, "mask = torch.ones(q.shape[2], keys.shape[2], dtype=torch.bool).tril()"),
         edit("attention(q, repeat_kv(keys, n), repeat_kv(values, n), mask)",
              f"torch.nn.functional.scaled_dot_product_attention(q, {REPEATED}, is_causal=True)")),
        "Draw the mask for two old tokens and two new ones: two rows, four columns.",
    ),
    Mistake(
        "is_causal for several tokens",
        "Several new tokens get a fresh triangle, as from is_causal=True, and a single one gets no "
        "mask. A prompt is right, and so is one token behind rows of one length. A chunk behind a "
        "filled cache is not, nor a single token behind shorter rows.",
        (whole("attention(q, repeat_kv(keys, n), repeat_kv(values, n), mask)",
               f"torch.nn.functional.scaled_dot_product_attention(q, {REPEATED}, "
               "is_causal=q.shape[2] > 1)"),
         whole(MASK, "mask = torch.ones(q.shape[2], keys.shape[2], dtype=torch.bool)\n"
               "    mask = mask.tril() if q.shape[2] > 1 else mask")),
        "Two tokens were read and two come: what does is_causal=True show the first of these?",
    ),
    Mistake(
        "mask the wrong way round",
        "The mask shows what it should hide: it is inverted, or compares the other way round.",
        (whole(MASK, f"mask = ~causal_mask(positions, {SLOTS})"),
         whole(MASK, f"mask = positions[..., None] <= {SLOTS}"),
         whole(MASK, f"mask = causal_mask({SLOTS}, positions).mT")),
        "True means: may look. Which slots may the first token of a prompt look at?",
    ),
    Mistake(
        "heads counted for tokens",
        "Behind the transpose q.shape[1] is the number of heads, so there are as many positions as "
        "heads. Where both numbers are equal nothing complains.",
        (whole("decode_positions(cache.length, q.shape[2])",
               "decode_positions(cache.length, q.shape[1])"),),
        "What is the shape of q at the line of decode_positions?",
    ),
    Mistake(
        "mask of the new tokens alone",
        "The mask is (seq, seq) and the keys are those of old and new tokens: it fits the first "
        "call, and from the second on the shapes do not agree.",
        (whole(MASK, "mask = causal_mask(torch.arange(q.shape[2]), torch.arange(q.shape[2]))"),
         whole(MASK, "mask = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).tril()")),
        "How many columns has the mask when two tokens are old and two are new?",
    ),
    Mistake(
        "positions after append",
        "The length is read after the append, so every query is thought to stand further on than "
        "it does and sees the tokens behind it.",
        (edit(POSITIONS, "pass\n", APPEND, f"{APPEND}    {POSITIONS}"),),
        "What does cache.length mean before append, and what after it?",
    ),
    Mistake(
        "own token hidden",
        "A query sees the earlier tokens and not itself: <= has become <, or the positions are one "
        "too low.",
        (edit(MASK, f"mask = causal_mask(positions - 1, {SLOTS})"),),
        "A token may look at its own key.",
    ),
    Mistake(
        "next token seen",
        "Each query sees one token too many, the one behind it.",
        (edit(MASK, f"mask = causal_mask(positions + 1, {SLOTS})"),),
        "The first token of a prompt sees one token: itself.",
    ),
    Mistake(
        "rows of unequal length mixed",
        "One position is taken for all rows, that of the longest or of the first. Shorter rows "
        "then look at empty slots, or longer ones do not see their own tokens.",
        (edit("decode_positions(cache.length, q.shape[2])",
              "decode_positions(cache.length.max()[None], q.shape[2])"),
         edit("decode_positions(cache.length, q.shape[2])",
              "decode_positions(cache.length[:1], q.shape[2])"),
         edit(MASK, "mask = torch.ones(q.shape[2], keys.shape[2], dtype=torch.bool)"
              ".tril(keys.shape[2] - q.shape[2])")),
        "Each row has its own positions, and so its own mask.",
    ),
    Mistake(
        "padding counted in the positions",
        "The positions are counted back from the length after append, by seq for every row. A row "
        "with padding has grown by less, so its queries are thought to stand too early.",
        (whole(POSITIONS, "pass\n", APPEND, f"{APPEND}    start = cache.length - q.shape[2]\n"
               "    positions = decode_positions(start, q.shape[2])\n"),),
        "Take the length before append: then there is nothing to subtract.",
    ),
    Mistake(
        "joined behind the longest row",
        "New tokens are joined by torch.cat to what read() gave before. In a shorter row they then "
        "stand behind empty slots, and its positions do not reach them. read() after append gives "
        "each row in its own order.",
        (whole(APPEND, "pass\n", READ, "keys, values = cache.read()\n"
               "    keys, values = torch.cat((keys, k), dim=2), torch.cat((values, v), dim=2)\n"
               "    cache.append(k, v, lengths)"),),
        "The rows hold 4 and 1 tokens. At which slot is the second row's next token?",
    ),
    Mistake(
        "padding cached",
        "lengths is not handed on, so the cache takes padding for tokens: it lies between the "
        "row's real ones, and all later queries look at it.",
        (edit(APPEND, "cache.append(k, v)\n"), edit(APPEND, "cache.append(k, v, None)\n")),
        "append takes lengths as its third argument.",
    ),
    Mistake(
        "keys cached before rotation",
        "The keys go into the cache as the projection gives them. Later queries then meet keys "
        "that were never turned, and their scores know nothing of the distance.",
        (edit(K_TURN, "turned = apply_rope(k, cos, sin).transpose(1, 2)\n    k = k.transpose(1, 2)",
              READ, "keys, values = cache.read()\n"
              "    keys = keys.clone()\n"
              "    for row, start in enumerate(positions[:, 0].tolist()):\n"
              "        count = k.shape[2] if lengths is None else int(lengths[row])\n"
              "        keys[row, :, start : start + count] = turned[row, :, :count]"),
         edit(K_TURN, "k = k.transpose(1, 2)",
              READ, "keys, values = cache.read()\n"
              "    keys = keys.clone()\n"
              "    turned = apply_rope(k.transpose(1, 2), cos, sin).transpose(1, 2)\n"
              "    keys[:, :, -k.shape[2] :] = turned[:, :, -keys.shape[2] :]"),
         edit(K_TURN, "k = k.transpose(1, 2)"),
         whole(K_TURN, "k = k.transpose(1, 2)", READ, TURNED_WHEN_READ)),
        "Turn the new keys by the new tokens' angles first, and store what comes out.",
    ),
    Mistake(
        "keys turned once more when read",
        "The keys in the cache are turned already, each by its own position; what read() gives "
        "is used as it is.",
        (edit(READ, "keys, values = cache.read()\n"
              "    keys = torch.cat((keys[:, :, : -q.shape[2]], apply_rope(keys[:, :, "
              "-q.shape[2] :].transpose(1, 2), cos, sin).transpose(1, 2)), dim=2)"),
         whole(READ, TURNED_WHEN_READ),
         edit(K_TURN, "k = apply_rope(apply_rope(k, cos, sin), cos, sin).transpose(1, 2)")),
        "How often is each key turned, from the projection to the score?",
    ),
    Mistake(
        "queries not turned",
        "The keys are turned and the queries are not, so that scores depend on the key's position "
        "and not on the distance.",
        (edit(Q_TURN, "q = q.transpose(1, 2)"),),
        "Which two of q, k and v are turned?",
    ),
    Mistake(
        "queries turned twice",
        "Each query is turned by twice its angle: it looks from the wrong place.",
        (edit(Q_TURN, "q = apply_rope(apply_rope(q, cos, sin), cos, sin).transpose(1, 2)"),),
        "Is apply_rope called on q in two places?",
    ),
    Mistake(
        "values turned",
        "The values are turned as well; only the score needs the positions.",
        (edit(V_TURN, "v = apply_rope(v, cos, sin).transpose(1, 2)\n"),),
        "Which two of q, k and v are turned?",
    ),
    Mistake(
        "no rotation",
        "Neither queries nor keys are turned: cos and sin are not used.",
        (edit(Q_TURN, "q = q.transpose(1, 2)", K_TURN, "k = k.transpose(1, 2)"),),
        "Where do you use cos and sin?",
    ),
    Mistake(
        "turned after the transpose",
        "apply_rope wants (batch, seq, heads, head_dim). With heads and tokens exchanged the "
        "angles run along the heads, or do not fit.",
        (whole(Q_TURN, "q = apply_rope(q.transpose(1, 2), cos, sin)",
              K_TURN, "k = apply_rope(k.transpose(1, 2), cos, sin)"),),
        "Turn first, transpose then.",
    ),
    Mistake(
        "tile for repeat",
        "The key/value heads come as 0, 1, 0, 1: query head 1 reads head 1, and should read head "
        "0 with its neighbour.",
        (edit(REPEATED, "keys.repeat(1, n, 1, 1), values.repeat(1, n, 1, 1)"),),
        "repeat_kv has the right order.",
    ),
    Mistake(
        "repeat_kv missing or misplaced",
        "Attention wants as many key/value heads as query heads, and the cache is made for "
        "kv_heads: few heads are stored, and repeated after they were read.",
        (whole(REPEATED, "keys, values"),
         whole(APPEND, "n = q.shape[1] // k.shape[1]\n"
              "    cache.append(repeat_kv(k, n), repeat_kv(v, n), lengths)\n",
              "n = q.shape[1] // keys.shape[1]", "n = 1")),
        "How many heads does the cache hold, and how many does attention want?",
    ),
    Mistake(
        "tokens left before the heads",
        "Keys or values go into the cache as (batch, seq, kv_heads, head_dim), and append takes "
        "the heads first. Where both numbers are equal nothing complains.",
        (whole(V_TURN, "pass\n"),
         whole(K_TURN, "k = apply_rope(k, cos, sin)"),
         whole(V_TURN, "pass\n", K_TURN, "k = apply_rope(k, cos, sin)"),
         whole(V_TURN, "pass\n", K_TURN, "k = apply_rope(k, cos, sin)",
               Q_TURN, "q = apply_rope(q, cos, sin)", RESULT, "return out",
               "decode_positions(cache.length, q.shape[2])",
               "decode_positions(cache.length, q.shape[1])")),
        "Write down the shape of k and of v just before append.",
    ),
    Mistake(
        "past forgotten",
        "The new tokens attend to themselves alone: the cache is filled and what it held before is "
        "not used.",
        (whole(READ, "cache.read()\n    keys, values = k, v", MASK,
              "steps = torch.arange(q.shape[2])\n    mask = causal_mask(steps, steps)"),
         whole(READ, "cache.read()\n    keys, values = k, v")),
        "Which keys do you hand to attention, the new ones or those that read() gives?",
    ),
    Mistake(
        "new tokens not seen",
        "What is read are the old tokens, since append comes after read: the new tokens do not see "
        "each other, nor themselves.",
        (edit(APPEND, "pass\n", READ, "keys, values = (x.clone() for x in cache.read())\n"
              "    cache.append(k, v, lengths)"),),
        "Append first, then read.",
    ),
    Mistake(
        "new tokens not stored",
        "The new keys are used and not stored: the next call knows nothing of them.",
        (whole(APPEND, "pass\n", READ, "keys, values = cache.read()\n"
              "    keys, values = torch.cat((keys, k), dim=2), torch.cat((values, v), dim=2)"),),
        "What should cache.length be after the call?",
    ),
    Mistake(
        "appended twice",
        "The new tokens are appended twice, so each is in the cache two times, and the length runs "
        "ahead.",
        (edit(APPEND, f"{APPEND}    {APPEND}"),),
        "What should cache.length be after a prompt of three tokens?",
    ),
    Mistake(
        "keys and values exchanged",
        "Values are stored as keys and keys as values, or read() is unpacked the wrong way round.",
        (edit(APPEND, "cache.append(v, k, lengths)\n"), edit(READ, "values, keys = cache.read()")),
        "Keys come first, in append as in read.",
    ),
    Mistake(
        "heads left before the tokens",
        "The result is (batch, heads, seq, head_dim), as attention gives it; the tokens come "
        "first here, as they do in q.",
        (edit(RESULT, "return out"),),
        "Compare the shape of your result with that of q.",
    ),
    Mistake(
        "view for transpose",
        "The result has the right shape and the wrong order: reshape cuts the numbers as they lie "
        "and exchanges no axes.",
        (edit(RESULT, "return out.reshape(v.shape[0], v.shape[2], -1, v.shape[3])"),),
        "Two axes change places by transpose(1, 2).",
    ),
    Mistake(
        "heads joined",
        "The heads are already joined to one vector. The result keeps them apart: (batch, seq, "
        "heads, head_dim).",
        (whole(RESULT, "return out.transpose(1, 2).flatten(2)"),),
        "wo comes after this function, and joins them.",
    ),
)  # fmt: skip

# What the answer may call. They stand in for the learner's functions of these names, so that a
# mistake in one of those costs its own exercise only; scripts make caches of this class.
TOOLS = {
    "apply_rope": mine.library("apply_rope"),
    "attention": mine.library("attention"),
    "causal_mask": causal_mask,
    "decode_positions": decode_positions,
    "repeat_kv": repeat_kv,
    "Cache": Cache,
}

EXERCISE = Exercise(
    name="cached_attention",
    lesson="07",
    title="Attention with a cache",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="Two tokens were read, and a chunk of two comes. Draw the mask, two rows and four "
        "columns. Which positions have the rows, and where do you get them from?",
        outline="Turn q and k, then transpose q, k and v to (batch, heads, seq, head_dim). Take "
        "the positions of the new tokens from cache.length, before it moves. Append k and v with "
        "lengths, and read. The mask compares these positions with 0, 1, 2, ... for the slots. "
        "Repeat keys and values, attend, transpose back.",
    ),
    difficulty="medium",
    importance="One path for prompts, chunks, single tokens and batches of unequal rows: lesson "
    "09's model generates with it.",
    minutes=16,
    setup=SETUP,
    may_use=(
        *("llama_course.config", "llama_course.errors", "llama_course.mine"),
        *("llama_course.model.attention", "llama_course.model.rope"),
        "llama_course.model.plain_cache",
    ),
    reference={
        "cached_attention": library.cached_attention,
        **{name: inspect.unwrap(tool) for name, tool in TOOLS.items()},
    },
)
