"""Lesson 06's third exercise: what passes, what fails, and what each failure is called."""

from __future__ import annotations

from typing import ClassVar

import torch

from llama_course.checks.causal_mask import EXERCISE, KEYS, QUERIES, RESULT
from llama_course.checks.exercise import edit
from llama_course.checks.testing import ExerciseTests
from llama_course.config import ModelConfig
from llama_course.model import KVCache


def returns(expression: str, *before: str) -> str:
    """An answer in a few lines."""
    lines = ["def causal_mask(q_positions, k_positions):", *(f"    {line}" for line in before)]
    return "\n".join([*lines, f"    return {expression}"])


class TestCausalMask(ExerciseTests):
    exercise = EXERCISE
    right = (
        # new axes by indexing
        returns("q_positions[..., :, None] >= k_positions[..., None, :]"),
        # not later than
        returns("~(k_positions.unsqueeze(-2) > q_positions.unsqueeze(-1))"),
        # the distance
        returns("q_positions[..., None] - k_positions[..., None, :] >= 0"),
        # one less than the next
        returns("k_positions[..., None, :] < q_positions[..., None] + 1"),
        # loops
        returns(
            "torch.stack(rows, dim=-2)",
            "rows = []",
            "for i in range(q_positions.shape[-1]):",
            "    rows.append(k_positions <= q_positions[..., i : i + 1])",
        ),
        # lists, row by row
        "def table(queries, keys):\n"
        "    return [[bool(k <= q) for k in keys.tolist()] for q in queries.tolist()]\n"
        "def causal_mask(q, k):\n"
        "    if q.dim() == k.dim() == 1:\n"
        "        return torch.tensor(table(q, k), dtype=torch.bool)\n"
        "    n = max(t.shape[0] for t in (q, k) if t.dim() == 2)\n"
        "    q, k = q.expand(n, q.shape[-1]), k.expand(n, k.shape[-1])\n"
        "    return torch.tensor([table(a, b) for a, b in zip(q, k)], dtype=torch.bool)",
        # transposed and back; torch's function for the sign
        returns("torch.le(k_positions[..., :, None], q_positions[..., None, :]).transpose(-1, -2)"),
        # an addition turned into truth values
        returns("torch.where(later, 0, 1).bool()",
                "later = k_positions.unsqueeze(-2).gt(q_positions.unsqueeze(-1))"),
    )  # fmt: skip
    wrong = (
        edit(RESULT, "keys == queries"),
        edit(RESULT, "keys != queries"),
        edit(RESULT, "keys < queries - 1"),
        edit(RESULT, "keys <= queries - 1 + (queries == 0)"),
        edit(RESULT, "(keys <= queries) & (keys > queries - 3)"),
        edit(RESULT, "(keys <= queries) & (queries - keys < 1000)"),
        edit(RESULT, "(keys < queries) | (keys == 0)"),
        edit(RESULT, "(keys <= queries) & (keys > 0)"),
        edit(RESULT, "(keys <= queries) | torch.eye(queries.shape[-2], keys.shape[-1]).bool()"),
        edit(RESULT, "(keys <= queries).flip(-1)"),
        edit(RESULT, "(keys <= queries).flip(-2)"),
        edit(RESULT, "torch.zeros(torch.broadcast_shapes(queries.shape, keys.shape)).bool()"),
        edit(RESULT, "keys <= queries.abs().float().sqrt()"),
        edit(RESULT, "keys.int() <= queries.int()"),
        edit(RESULT, "keys.clamp(max=2**20) <= queries.clamp(max=2**20)"),
        edit(RESULT, "keys.double() <= queries.double() + 1.5 * (queries > 100)"),
        edit(RESULT, "keys.remainder(100) <= queries.remainder(100)"),
        edit(RESULT, "(keys <= queries).tolist()"),
        edit(RESULT, "(keys <= queries).numpy()"),
        edit(RESULT, "((keys <= queries), (keys <= queries))"),
        edit(RESULT, "(keys <= queries).flatten(-2)"),
        edit(RESULT, "(keys <= queries).any(-1)"),
        edit(RESULT, "(keys <= queries).tril()"),
        edit(RESULT, "(keys <= queries) & (keys < 2**39)"),
        edit(QUERIES, "q_positions.sort().values.unsqueeze(-1)"),
        edit(KEYS, "k_positions.sort().values.unsqueeze(-2)"),
        edit(QUERIES, "q_positions.flip(-1).unsqueeze(-1)"),
        edit(KEYS, "k_positions.flip(-1).unsqueeze(-2)"),
        edit(QUERIES, "q_positions.unsqueeze_(-1)"),
        edit(KEYS, "k_positions.unsqueeze_(-2)"),
        edit(QUERIES, "q_positions.cummax(-1).values.unsqueeze(-1)"),
        returns("torch.ones(k_positions.shape[-1], k_positions.shape[-1]).tril().bool()"),
        returns("torch.ones(k_positions.shape[-1], k_positions.shape[-1]).tril().bool()"
                "[-q_positions.shape[-1]:]"),
        returns("torch.ones(q_positions.shape[-1], k_positions.shape[-1]).triu(1).bool()"),
        returns("torch.ones(len(q_positions), len(k_positions)).tril()"),
        returns("q_positions[None, :] >= k_positions[:, None]"),
        returns("torch.outer(q_positions, 1 / (k_positions + 1)) >= 1"),
        returns("(k_positions <= q_positions)[None]"),
        returns("k_positions <= q_positions.max()"),
        returns("None"),
    )  # fmt: skip
    equivalent: ClassVar[dict[str, str]] = {}
    masked: ClassVar[dict[tuple[str, str], str]] = {
        ("queries and keys exchanged", "one limit for all queries"): (
            "the queries run along the columns then, and the limit is the last of one row"
        ),
        ("queries counted from 0", "compared in floating point"): (
            "queries counted from 0 are small, and small numbers are exact in floats"
        ),
    }

    def test_the_solution_serves_a_cache_with_rows_of_unequal_length(self) -> None:
        config = ModelConfig(dim=8, n_layers=1, n_heads=2, vocab_size=8)
        cache = KVCache(config, batch_size=2, max_seq_len=6)
        mask = EXERCISE.load(EXERCISE.solution)["causal_mask"]
        cache.reserve(cache.next_positions(3), [3, 1])
        cache.advance()
        positions = cache.next_positions(2)
        seen = mask(positions, cache.reserve(positions, [2, 2]))
        drawn = ["".join("x" if may else "." for may in row) for row in seen.flatten(0, 1).tolist()]
        assert drawn == ["xxxx.", "xxxxx", "xx...", "xxx.."]
        assert seen.dtype == torch.bool
