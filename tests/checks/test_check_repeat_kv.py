"""Lesson 07's first exercise: what passes, what fails, and what each failure is called."""

from __future__ import annotations

from typing import ClassVar

from llama_course.checks.exercise import edit
from llama_course.checks.repeat_kv import EXERCISE, GROUPS, RESULT
from llama_course.checks.testing import ExerciseTests, scaled


def returns(expression: str, *before: str) -> str:
    """An answer in a few lines."""
    lines = ["def repeat_kv(x, n):", *(f"    {line}" for line in before)]
    return "\n".join([*lines, f"    return {expression}"])


class TestRepeatKv(ExerciseTests):
    exercise = EXERCISE
    right = (
        # torch's own
        returns("x.repeat_interleave(n, 1)"),
        # x itself where there is nothing to do, as the library has it
        returns("x if n == 1 else x.repeat_interleave(repeats=n, dim=1)"),
        # by an index
        returns("x[:, torch.arange(x.shape[1] * n) // n]"),
        returns("x.index_select(1, torch.tensor([h // n for h in range(x.size(1) * n)]))"),
        # heads one by one
        returns("torch.stack([x[:, h // n] for h in range(n * x.shape[1])], dim=1)"),
        returns(
            "torch.cat(parts, dim=1)",
            "parts = []",
            "for head in x.split(1, dim=1):",
            "    parts += [head] * n",
        ),
        # into a new tensor, loops over everything but the components
        returns(
            "out",
            "b, h, s, d = x.shape",
            "out = torch.empty(b, h * n, s, d, dtype=x.dtype, device=x.device)",
            "for i in range(h):",
            "    for j in range(n):",
            "        out[:, i * n + j] = x[:, i]",
        ),
        # tiled, and then put in order
        returns(
            "x.repeat(1, n, 1, 1).unflatten(1, (n, -1)).transpose(1, 2).flatten(1, 2)",
        ),
        # a product with a matrix of zeros and ones, exact because each row has a single one
        returns(
            "torch.einsum('gh,bhsd->bgsd', choose, x.double()).to(x.dtype)",
            "choose = torch.eye(x.shape[1], dtype=torch.float64).repeat_interleave(n, 0)",
        ),
        # a helper, other names
        "def widen(t, times):\n    return torch.stack([t] * times, dim=2)\n"
        "def repeat_kv(keys, times, /):\n    return widen(keys, times).flatten(1, 2)",
    )
    wrong = (
        edit(RESULT, "x"),
        edit(RESULT, "x.clone()"),
        edit(RESULT, "x.repeat_interleave(n, dim=1).flip(1)"),
        edit(RESULT, "x.flip(1).repeat_interleave(n, dim=1)"),
        edit(RESULT, "x.repeat_interleave(n, dim=1).roll(1, 1)"),
        edit(RESULT, "x.repeat_interleave(n, dim=1)[:, :-1]"),
        edit(RESULT, "x.repeat_interleave(n, dim=1)[:1]"),
        edit(RESULT, "x.repeat_interleave(n, dim=1) * 1.0001"),
        edit(RESULT, "x.repeat_interleave(n, dim=1).half().to(x.dtype)"),
        edit(RESULT, "x.repeat_interleave(n, dim=1).squeeze()"),
        edit(RESULT, "x.repeat_interleave(n, dim=1).bfloat16().to(x.dtype)"),
        edit(RESULT, "x.repeat_interleave(n, dim=1).double()"),
        edit(RESULT, "x.repeat_interleave(n, dim=1).flatten(2)"),
        edit(RESULT, "x.repeat_interleave(n, dim=1).tolist()"),
        edit(RESULT, "x.repeat_interleave(n, dim=1).numpy()"),
        edit(RESULT, "x.repeat_interleave(2, dim=1)"),
        edit(RESULT, "x.mean(1, keepdim=True).expand(batch, kv_heads * n, seq, head_dim)"),
        edit(RESULT, "x[:, -1:].expand(batch, kv_heads * n, seq, head_dim)"),
        edit(RESULT, "torch.cat([x, x[:, :1].expand(-1, kv_heads * (n - 1), -1, -1)], dim=1)"),
        edit(RESULT, "torch.cat([x, torch.zeros_like(x).repeat(1, n - 1, 1, 1)], dim=1)"),
        edit(RESULT, "x.repeat_interleave(n, dim=1).abs()"),
        edit(RESULT, "x.mul_(1).repeat_interleave(n, dim=1) + x.fill_(0).sum()"),
        edit(RESULT, "[x] * n"),
        edit(RESULT, "groups.transpose(1, 3).reshape(batch, kv_heads * n, seq, head_dim)"),
        edit(RESULT, "torch.cat([h.repeat(1, n, 1, 1) for h in x.unbind(1)], dim=1)"),
        edit(RESULT, "x[:, [h // kv_heads for h in range(kv_heads * n)]]"),
        returns("torch.kron(x, torch.ones(1, n, 1, 1))"),
        edit(RESULT, "groups.reshape(kv_heads * n, batch, seq, head_dim)"),
        edit(GROUPS, "x[:, :, None].expand(batch, kv_heads, 2, seq, head_dim)"),
        returns("None"),
        returns("x.repeat_interleave(n, dim=1)", "x = x.round(decimals=3)"),
        returns("x.unsqueeze(2).repeat(1, 1, n, 1, 1).flatten(0, 1)"),
        *scaled("repeat_kv"),
    )
    equivalent: ClassVar[dict[str, str]] = {
        "1 -> 0": "the library's short way for n == 1 saves a copy and gives the same numbers",
        "1 -> -1": "likewise",
    }
    masked: ClassVar[dict[tuple[str, str], str]] = {
        ("expand without a group axis", "cut off from the gradient"): (
            "where expand raises, no gradient is asked for"
        ),
    }
