"""Lesson 06's first exercise: what passes, what fails, and what each failure is called."""

from __future__ import annotations

from typing import ClassVar

from llama_course.checks.exercise import edit
from llama_course.checks.split_heads import CUT, EXERCISE, RESULT
from llama_course.checks.testing import ExerciseTests, scaled


def returns(expression: str, *before: str) -> str:
    """An answer in a few lines."""
    lines = ["def split_heads(x, n_heads):", *(f"    {line}" for line in before)]
    return "\n".join([*lines, f"    return {expression}"])


class TestSplitHeads(ExerciseTests):
    exercise = EXERCISE
    right = (
        # view with all four sizes
        returns("x.view(b, s, n_heads, d // n_heads).permute(0, 2, 1, 3)", "b, s, d = x.shape"),
        # pieces, stacked along a new axis
        returns("torch.stack(x.chunk(n_heads, dim=-1), dim=1)"),
        # slices of the last axis, a new tensor filled head by head
        returns(
            "out",
            "b, s, d = x.shape",
            "w = d // n_heads",
            "out = x.new_empty(b, n_heads, s, w)",
            "for h in range(n_heads):",
            "    out[:, h] = x[:, :, h * w : (h + 1) * w]",
        ),
        # numbers gathered by index
        returns(
            "x[:, :, index].permute(0, 2, 1, 3)",
            "index = torch.arange(x.shape[-1]).reshape(n_heads, -1)",
        ),
        # einsum moves the axes; contiguous at the end; other names
        "def cut(t, n):\n    return t.reshape(*t.shape[:2], n, t.shape[2] // n)\n"
        "def split_heads(vectors, heads):\n"
        "    return torch.einsum('bshd->bhsd', cut(vectors, heads)).contiguous()",
        # through the components: (batch, dim, seq) cut, then turned
        returns("x.mT.unflatten(1, (n_heads, -1)).mT"),
        returns("torch.stack(torch.tensor_split(x, n_heads, dim=2), dim=1).clone()"),
    )
    wrong = (
        edit(CUT, "x.unflatten(-1, (n_heads, -1)).flip(2)"),
        edit(CUT, "x.unflatten(-1, (n_heads, -1)).flip(3)"),
        edit(CUT, "x.unflatten(-1, (n_heads, -1)).roll(1, 2)"),
        edit(CUT, "x.unflatten(-1, (n_heads, -1)).roll(1, 1)"),
        edit(CUT, "x.unflatten(-1, (n_heads, -1)).flip(1)"),
        edit(CUT, "x.unflatten(-1, (n_heads, -1))[..., :2]"),
        edit(CUT, "x.unflatten(-1, (n_heads, -1))[:, :, :1]"),
        edit(CUT, "x.unflatten(-1, (n_heads, -1))[:, :1]"),
        edit(RESULT, "heads.transpose(1, 2).detach()"),
        edit(RESULT, "torch.tensor(heads.transpose(1, 2).tolist(), dtype=x.dtype)"),
        edit(RESULT, "heads.transpose(1, 2).half().to(x.dtype)"),
        edit(RESULT, "heads.transpose(1, 2).bfloat16().to(x.dtype)"),
        edit(RESULT, "heads.transpose(1, 2).abs()"),
        edit(RESULT, "heads.transpose(1, 2).softmax(-1)"),
        edit(RESULT, "heads.transpose(1, 2).squeeze(0)"),
        edit(RESULT, "heads.transpose(1, 2).squeeze(1)"),
        edit(RESULT, "heads.transpose(1, 2).double()"),
        edit(RESULT, "heads.permute(3, 2, 1, 0)"),
        edit(RESULT, "list(heads.transpose(1, 2).unbind(1))"),
        edit(RESULT, "x.chunk(n_heads, dim=-1)"),
        edit(RESULT, "heads.transpose(1, 2)[:, 0]"),
        edit(RESULT, "heads.transpose(1, 2).sum(1)"),
        edit(RESULT, "x.unflatten(-1, (-1, x.shape[1])).mT.reshape(x.shape[0], n_heads, -1, 1)"),
        edit(RESULT, "x.reshape(x.shape[0], n_heads, -1, x.shape[1]).mT"),
        edit(RESULT, "torch.cat(x.chunk(n_heads, -1)).view(len(x), n_heads, x.shape[1], -1)"),
        edit(RESULT, "torch.cat(x.chunk(n_heads, dim=-1), dim=1)"),
        edit(RESULT, "x.transpose_(1, 2).unflatten(1, (n_heads, -1)).mT"),
        edit(RESULT, "heads.transpose(1, 2) / n_heads ** 0.5"),
        returns("torch.zeros(x.shape[0], n_heads, x.shape[1], x.shape[2] // n_heads)"),
        returns("x"),
        returns("None"),
        returns("x.numpy()"),
        *scaled("split_heads"),
    )
    equivalent: ClassVar[dict[str, str]] = {
        "heads.transpose(1, 2) -> heads.transpose(2, 1)": "an exchange is the same either way",
        "2 -> -2": "of four axes the third is the last but one",
    }
    masked: ClassVar[dict[tuple[str, str], str]] = {}
