"""Lesson 07's fourth exercise: what passes, what fails, and what each failure is called."""

from __future__ import annotations

import inspect
import textwrap
from typing import ClassVar

from llama_course.checks.cached_attention import (
    APPEND,
    EXERCISE,
    K_TURN,
    MASK,
    POSITIONS,
    Q_TURN,
    READ,
    REPEATED,
    RESULT,
    SLOTS,
    V_TURN,
)
from llama_course.checks.engine.judge import BORROWED, PASS, judge
from llama_course.checks.exercise import edit
from llama_course.checks.testing import ExerciseTests, judged
from llama_course.model import cached_attention as library

HEAD = "def cached_attention(q, k, v, cos, sin, cache, lengths=None):"

# Why only one of two mistakes shows.
UNREAD = "the one mask does not read what the other mistake changes"
ALL = "every slot is shown, whatever the positions"
EQUAL = "with padding stored all rows are equally long"


def body(*lines: str) -> str:
    """An answer of these lines."""
    return "\n".join([HEAD, *(f"    {line}" for line in lines)])


class TestCachedAttention(ExerciseTests):
    exercise = EXERCISE
    right = (
        # nothing but torch: complex numbers, a softmax of one's own, grouped heads
        body(
            "def turn(x):",
            "    z = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous())",
            "    return torch.view_as_real(z * torch.complex(cos, sin)[..., None, :]).flatten(-2)",
            "old = cache.length",
            "cache.append(turn(k).to(k.dtype).transpose(1, 2), v.transpose(1, 2), lengths)",
            "keys, values = (x.float() for x in cache.read())",
            "b, s, h, d = q.shape",
            "g = keys.shape[1]",
            "scores = torch.einsum('bsgnd,bgkd->bgnsk', turn(q).view(b, s, g, h // g, d), keys)",
            "where = old[:, None, None, None, None] + torch.arange(s)[:, None]",
            "scores = (scores / d**0.5).masked_fill(torch.arange(keys.shape[2]) > where, -1e30)",
            "out = torch.einsum('bgnsk,bgkd->bsgnd', scores.softmax(-1), values)",
            "return out.reshape(b, s, h, d).to(q.dtype)",
        ),
        # token by token: every chunk is decoded
        body(
            "outs = []",
            "for i in range(q.shape[1]):",
            "    c, s = cos[..., i : i + 1, :], sin[..., i : i + 1, :]",
            "    here = torch.ones(len(q), dtype=torch.long)",
            "    here = here if lengths is None else (lengths > i).long()",
            "    at = decode_positions(cache.length, 1)",
            "    new = apply_rope(k[:, i : i + 1], c, s).transpose(1, 2)",
            "    cache.append(new, v[:, i : i + 1].transpose(1, 2), here)",
            "    keys, values = cache.read()",
            "    n = q.shape[2] // k.shape[2]",
            "    mask = causal_mask(at, torch.arange(keys.shape[2]))",
            "    one = apply_rope(q[:, i : i + 1], c, s).transpose(1, 2)",
            "    outs.append(attention(one, repeat_kv(keys, n), repeat_kv(values, n), mask))",
            "return torch.cat(outs, dim=2).transpose(1, 2)",
        ),
        # row by row and query by query: each sees a slice, and no mask is needed
        body(
            "before = cache.length.tolist()",
            "cache.append(apply_rope(k, cos, sin).transpose(1, 2), v.transpose(1, 2), lengths)",
            "keys, values = cache.read()",
            "q = apply_rope(q, cos, sin)",
            "out, n = torch.zeros_like(q), q.shape[2] // keys.shape[1]",
            "for b in range(q.shape[0]):",
            "    for s in range(q.shape[1]):",
            "        for h in range(q.shape[2]):",
            "            live = slice(0, before[b] + s + 1)",
            "            score = keys[b, h // n, live] @ q[b, s, h] / q.shape[3] ** 0.5",
            "            weight = score.float().softmax(0).to(q.dtype)",
            "            out[b, s, h] = weight @ values[b, h // n, live]",
            "return out",
        ),
        # the positions from the length afterwards; torch's own attention with grouped heads
        body(
            "from torch.nn.functional import scaled_dot_product_attention as sdpa",
            "q, k = (apply_rope(x, cos, sin).transpose(1, 2) for x in (q, k))",
            "cache.append(k, v.transpose(1, 2), lengths)",
            "keys, values = cache.read()",
            "new = q.shape[2] if lengths is None else lengths",
            "start = cache.length - new",
            "mask = torch.arange(keys.shape[2]) <= decode_positions(start, q.shape[2])[..., None]",
            "out = sdpa(q, keys, values, attn_mask=mask[:, None], enable_gqa=True)",
            "return out.transpose(1, 2)",
        ),
        # float64 inside, a helper, other names
        "def shown(at, slots):\n    return at.unsqueeze(-1) >= torch.arange(slots)\n"
        "def cached_attention(query, key, value, c, s, store, lengths=None, wide=torch.float64):\n"
        "    at = decode_positions(store.length, query.size(1))\n"
        "    store.append(apply_rope(key, c, s).permute(0, 2, 1, 3), value.permute(0, 2, 1, 3), "
        "lengths=lengths)\n"
        "    keys, values = (repeat_kv(x, query.size(2) // x.size(1)).to(wide) for x in "
        "store.read())\n"
        "    turned = apply_rope(query, c, s).to(wide).transpose(1, 2)\n"
        "    scores = turned @ keys.mT / query.size(3) ** 0.5\n"
        "    scores[~shown(at, keys.size(2))[:, None].expand_as(scores)] = -float('inf')\n"
        "    return (scores.softmax(-1) @ values).transpose(1, 2).to(query.dtype)",
    )
    wrong = (
        edit(MASK, f"mask = causal_mask(positions, {SLOTS}) & (positions[..., None] > 0)"),
        edit(APPEND, "cache.append(k, v, cache.length if lengths is None else lengths)\n"),
        edit(READ, f"cache.length = cache.length + q.shape[2]\n    {READ}"),
        edit("decode_positions(cache.length, q.shape[2])", "decode_positions("
             "cache.length if lengths is None else lengths, q.shape[2])"),
        edit(Q_TURN, Q_TURN.replace("cos, sin", "sin, cos"),
             K_TURN, K_TURN.replace("cos, sin", "sin, cos")),
        edit(MASK, f"mask = causal_mask(positions, {SLOTS} + 2)"),
        edit(MASK, f"mask = causal_mask(positions, {SLOTS}).flip(-1)"),
        edit(MASK, f"mask = causal_mask(positions, {SLOTS}).flip(-2)"),
        edit(MASK, f"mask = causal_mask(positions, {SLOTS}) & ({SLOTS} > 0)"),
        edit(MASK, f"near = {SLOTS} > positions[..., None] - 4\n"
             f"    mask = causal_mask(positions, {SLOTS}) & near"),
        edit(MASK, f"mask = causal_mask(positions, {SLOTS}).float()"),
        edit(MASK, f"mask = positions[..., None] == {SLOTS}"),
        edit(MASK, f"mask = causal_mask(positions[:, -1:], {SLOTS})"),
        edit(MASK, f"mask = causal_mask(positions[:, :1], {SLOTS})"),
        edit(POSITIONS, "positions = torch.arange(q.shape[2]).expand(len(q), -1)\n    "
             "positions = positions + cache.length.flip(0)[:, None]\n"),
        edit(POSITIONS, "positions = decode_positions(cache.length.max().expand(len(q)) * 0 + "
             "cache.length.min(), q.shape[2])\n"),
        edit(APPEND, "cache.append(k, v, lengths)\n    cache.append(k[:, :, :0], v[:, :, :0])\n"
             "    cache.length = cache.length + 1\n"),
        edit(APPEND, "cache.append(k, v, None if lengths is None else lengths.clamp(min=1))\n"),
        edit(APPEND, "cache.append(k, v, None if lengths is None else lengths.flip(0))\n"),
        edit(APPEND, "cache.append(k * 1.001, v, lengths)\n"),
        edit(APPEND, "cache.append(k, k, lengths)\n"),
        edit(APPEND, "cache.append(k.flip(2), v.flip(2), lengths)\n"),
        edit(READ, "keys, values = (x[:, :, -16:] for x in cache.read())"),
        edit(READ, "keys, values = (x[:1].expand_as(x) for x in cache.read())"),
        edit(REPEATED, "repeat_kv(keys, n), repeat_kv(values, n).flip(1)"),
        edit(REPEATED, "keys[:, :1].expand_as(repeat_kv(keys, n)), repeat_kv(values, n)"),
        edit(REPEATED, "repeat_kv(keys, n) * q.shape[3] ** 0.5, repeat_kv(values, n)"),
        edit(REPEATED, "repeat_kv(keys, n) / q.shape[3] ** 0.5, repeat_kv(values, n)"),
        edit(Q_TURN, Q_TURN.replace("sin)", "-sin)")),
        edit(K_TURN, K_TURN.replace("sin)", "-sin)")),
        edit(Q_TURN, Q_TURN.replace("sin)", "-sin)"), K_TURN, K_TURN.replace("sin)", "-sin)")),
        edit(V_TURN, "v = v.transpose(1, 2).flip(2)\n"),
        edit(RESULT, "return out.transpose(1, 2).float().double()"),
        edit(RESULT, "return out.transpose(1, 2), cache"),
        edit(RESULT, "return out.permute(2, 0, 1, 3)"),
        edit(RESULT, "return out.transpose(1, 2).detach().numpy()"),
        edit(RESULT, "return out.transpose(1, 2) + v.transpose(1, 2).mean()"),
        edit(RESULT, "return out.transpose(1, 2).clamp(-1, 1)"),
        edit("n = q.shape[1] // keys.shape[1]", "n = 2"),
        edit("n = q.shape[1] // keys.shape[1]", "n = keys.shape[1]"),
        body("return v.repeat_interleave(q.shape[2] // v.shape[2], dim=2)"),
        body("cache.append(k.transpose(1, 2), v.transpose(1, 2), lengths)", "return q"),
        body("q.zero_()", "return q"),
        body("return None"),
    )  # fmt: skip
    equivalent: ClassVar[dict[str, str]] = {
        **{
            f"{x}.transpose(1, 2) -> {x}.transpose(2, 1)": "two axes change places in either order"
            for x in ("apply_rope(q, cos, sin)", "apply_rope(k, cos, sin)", "v", "out")
        },
        **dict.fromkeys(
            ("2 -> -2", "2 -> -2 #2", "2 -> -2 #3", "2 -> -2 #4", "2 -> -2 #5", "2 -> -2 #6"),
            "of four axes, both are the same",
        ),
        f"{SLOTS} -> torch.arange(keys.shape[2])": "everything is on the processor here",
    }
    masked: ClassVar[dict[tuple[str, str], str]] = {
        ("no mask", "mask misaligned in a chunk"): UNREAD,
        ("no mask", "positions after append"): ALL,
        ("no mask", "rows of unequal length mixed"): ALL,
        ("mask for the first call only", "mask misaligned in a chunk"): UNREAD,
        ("mask skipped for a single token", "mask misaligned in a chunk"): UNREAD,
        ("mask misaligned in a chunk", "positions after append"): UNREAD,
        ("mask misaligned in a chunk", "own token hidden"): UNREAD,
        ("mask misaligned in a chunk", "next token seen"): UNREAD,
        ("mask misaligned in a chunk", "rows of unequal length mixed"): UNREAD,
        ("mask skipped for a single token", "rows of unequal length mixed"): (
            "the longest row's position shows a single token every slot, as no mask does"
        ),
        ("mask skipped for a single token", "padding cached"): EQUAL,
        ("positions after append", "rows of unequal length mixed"): (
            "the form that is combined makes its mask without positions"
        ),
        ("rows of unequal length mixed", "padding cached"): EQUAL,
    }

    def references(self) -> list[str]:
        """The solution and the library's function; the tools are other exercises' parts."""
        source = inspect.getsource(inspect.unwrap(library.cached_attention))
        return [self.exercise.solution, textwrap.dedent(source)]

    def test_the_library_s_function_passes_and_may_not_be_borrowed(self) -> None:
        answer = EXERCISE.reference["cached_attention"]
        (verdict,) = judge(EXERCISE, {"cached_attention": answer}, {}).values()
        assert verdict.state in (PASS, BORROWED)
        text = (
            "from llama_course.model.cached_attention import cached_attention as theirs\n"
            + body("return theirs(q, k, v, cos, sin, cache, lengths)")
        )
        (verdict,) = judged(EXERCISE, text).values()
        assert verdict.state == BORROWED

    def test_a_wrong_tool_of_the_learner_s_costs_its_own_exercise_only(self) -> None:
        broken = "def decode_positions(length, n_new):\n    raise NotImplementedError\n\n"
        (verdict,) = judged(EXERCISE, broken + EXERCISE.solution).values()
        assert verdict.state == PASS, verdict.message
