"""Lesson 06's second exercise: what passes, what fails, and what each failure is called."""

from __future__ import annotations

from typing import ClassVar

from llama_course.checks.engine.judge import CRASHED, PASS
from llama_course.checks.exercise import edit
from llama_course.checks.merge_heads import AXES, EXERCISE, RESULT
from llama_course.checks.testing import ExerciseTests, judged, names, scaled


def returns(expression: str, *before: str) -> str:
    """An answer in a few lines."""
    lines = ["def merge_heads(x):", *(f"    {line}" for line in before)]
    return "\n".join([*lines, f"    return {expression}"])


class TestMergeHeads(ExerciseTests):
    exercise = EXERCISE
    right = (
        # contiguous, then view
        returns("x.permute(0, 2, 1, 3).contiguous().view(b, s, h * d)", "b, h, s, d = x.shape"),
        # the heads one by one, joined along the components
        returns("torch.cat(x.unbind(dim=1), dim=-1)"),
        # a new tensor filled head by head
        returns(
            "out",
            "b, h, s, d = x.shape",
            "out = x.new_zeros(b, s, h * d)",
            "for head in range(h):",
            "    out[:, :, head * d : (head + 1) * d] = x[:, head]",
        ),
        # tokens one by one
        returns("torch.stack([x[:, :, s].flatten(1) for s in range(x.shape[2])], dim=1)"),
        # einsum moves the axes; reshape with -1; other names
        "def merge_heads(heads):\n"
        "    moved = torch.einsum('bhsd->bshd', heads)\n"
        "    return moved.reshape(*moved.shape[:2], -1)",
        # through (batch, dim, seq)
        returns("x.mT.flatten(1, 2).mT"),
    )
    wrong = (
        edit(RESULT, "heads.flip(2).flatten(-2)"),
        edit(RESULT, "heads.flip(3).flatten(-2)"),
        edit(RESULT, "heads.flip(1).flatten(-2)"),
        edit(RESULT, "heads.roll(1, 2).flatten(-2)"),
        edit(RESULT, "heads.flatten(-2).flip(-1)"),
        edit(RESULT, "heads.flatten(-2).detach()"),
        edit(RESULT, "heads.flatten(-2).abs()"),
        edit(RESULT, "heads.flatten(-2).half().to(x.dtype)"),
        edit(RESULT, "heads.flatten(-2).bfloat16().to(x.dtype)"),
        edit(RESULT, "heads.flatten(-2).double()"),
        edit(RESULT, "heads.flatten(-2).squeeze(0)"),
        edit(RESULT, "heads.flatten(-2).squeeze(1)"),
        edit(RESULT, "heads.flatten(-2).softmax(-1)"),
        edit(RESULT, "heads.flatten(-2) * x.shape[1]"),
        edit(RESULT, "heads[:, :, -1]"),
        edit(RESULT, "heads.amax(2)"),
        edit(RESULT, "heads.prod(2)"),
        edit(RESULT, "heads.flatten()"),
        edit(RESULT, "heads.flatten(1)"),
        edit(RESULT, "heads.flatten(1, 2)"),
        edit(RESULT, "heads.flatten(-2)[:, :1]"),
        edit(RESULT, "torch.cat((x[:, 0], x[:, 0]), dim=-1)"),
        edit(RESULT, "list(heads.flatten(-2))"),
        edit(RESULT, "x.transpose_(1, 2).flatten(-2)"),
        edit(AXES, "x.transpose(2, 3)"),
        edit(RESULT, "x.transpose(2, 3).reshape(*heads.shape[:2], -1)"),
        edit(RESULT, "x.permute(0, 3, 1, 2).reshape(*heads.shape[:2], -1)"),
        edit(AXES, "x.permute(3, 2, 1, 0)"),
        edit(AXES, "x.mT.transpose(1, 2)"),
        returns("torch.zeros(x.shape[0], x.shape[2], x.shape[1] * x.shape[3])"),
        returns("x"),
        returns("None"),
        returns("x.numpy()"),
        *scaled("merge_heads"),
    )
    equivalent: ClassVar[dict[str, str]] = {
        "x.transpose(1, 2) -> x.transpose(2, 1)": "an exchange is the same either way",
        "2 -> -2": "of four axes the third is the last but one",
        "-2 -> 2": "and the last but one the third",
        "2 -> -2 #2": "the same number",
    }
    masked: ClassVar[dict[tuple[str, str], str]] = {}

    def test_view_after_transpose_is_a_crash_with_a_name(self) -> None:
        text = returns("x.transpose(1, 2).view(x.shape[0], x.shape[2], -1)")
        (verdict,) = judged(EXERCISE, text).values()
        assert verdict.state == CRASHED and names({"": verdict}) == ["view of a transposed tensor"]
        (verdict,) = judged(EXERCISE, text.replace(".view", ".contiguous().view")).values()
        assert verdict.state == PASS
