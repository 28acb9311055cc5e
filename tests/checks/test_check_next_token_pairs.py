"""Lesson 03's first exercise: what passes, what fails, and what each failure is called."""

from __future__ import annotations

from typing import ClassVar

from llama_course.checks.exercise import edit
from llama_course.checks.next_token_pairs import EXERCISE, RESULT
from llama_course.checks.testing import ExerciseTests


def returns(expression: str, *before: str) -> str:
    """An answer in a few lines."""
    lines = ["def next_token_pairs(tokens):", *(f"    {line}" for line in before)]
    return "\n".join([*lines, f"    return {expression}"])


class TestNextTokenPairs(ExerciseTests):
    exercise = EXERCISE
    right = (
        # by index
        returns(
            "tokens.index_select(-1, here), tokens.index_select(-1, here + 1)",
            "here = torch.arange(tokens.shape[-1] - 1)",
        ),
        # narrow, in new memory, and a list for a tuple
        returns(
            "[tokens.narrow(-1, 0, n).clone(), tokens.narrow(-1, 1, n).clone()]",
            "n = tokens.size(-1) - 1",
        ),
        # a loop over rows and tokens
        returns(
            "out[0].view(shape), out[1].view(shape)",
            "rows = tokens.reshape(-1, tokens.shape[-1])",
            "out = torch.empty(2, len(rows), rows.shape[1] - 1, dtype=tokens.dtype)",
            "for i, row in enumerate(rows):",
            "    for s in range(len(row) - 1):",
            "        out[0, i, s], out[1, i, s] = row[s], row[s + 1]",
            "shape = (*tokens.shape[:-1], tokens.shape[-1] - 1)",
        ),
        # through a transposition
        returns("t[:-1].T, t[1:].T", "t = torch.atleast_2d(tokens).T", "if tokens.dim() == 1:",
                "    return tokens[:-1], tokens[1:]"),
        # windows of two
        returns(
            "w[..., 0], w[..., 1]",
            "if tokens.shape[-1] < 2:",
            "    return tokens[..., 1:], tokens[..., 1:]",
            "w = tokens.unfold(-1, 2, 1)",
        ),
    )  # fmt: skip
    wrong = (
        edit(RESULT, "return inputs, targets.flip(-1)"),
        edit(RESULT, "return inputs.flip(-1), targets"),
        edit(RESULT, "return inputs, inputs + 1"),
        edit(RESULT, "return inputs, targets.clamp(min=0)"),
        edit(RESULT, "return inputs.clamp(min=0), targets"),
        edit(RESULT, "return inputs, targets.int()"),
        edit(RESULT, "return inputs.int(), targets"),
        edit(RESULT, "return inputs.float(), targets"),
        edit(RESULT, "return inputs, targets.sort().values"),
        edit(RESULT, "return inputs.unique(), targets"),
        edit(RESULT, "return inputs, targets.unsqueeze(0)"),
        edit(RESULT, "return inputs, targets.unsqueeze(-1)"),
        edit(RESULT, "return inputs.flatten(), targets.flatten()"),
        edit(RESULT, "return inputs, targets.flatten()"),
        edit(RESULT, "return inputs.squeeze(), targets.squeeze()"),
        edit(RESULT, "return inputs.T, targets.T"),
        edit(RESULT, "return inputs.tolist(), targets.tolist()"),
        edit(RESULT, "return inputs.numpy(), targets.numpy()"),
        edit(RESULT, "return inputs, targets, tokens"),
        edit(RESULT, "return {'inputs': inputs, 'targets': targets}"),
        edit(RESULT, "return inputs, None"),
        edit(RESULT, "return list(zip(inputs, targets))"),
        edit(RESULT, "return inputs[..., -8:], targets[..., -8:]"),
        edit(RESULT, "return inputs, targets[..., :5]"),
        edit(RESULT, "return inputs, torch.zeros_like(targets)"),
        edit(RESULT, "return inputs, targets - inputs"),
        edit(RESULT, "return tokens[:, :-1], tokens[:, 1:]"),
        edit(RESULT, "return tokens[tokens >= 0][:-1], tokens[tokens >= 0][1:]"),
        returns("tokens[..., :-1], tokens[..., 1:]", "tokens[..., -1] = 0"),
        returns("tokens[..., :-1], tokens[..., 1:]", "tokens += 1"),
        returns("tokens"),
        returns("tokens[..., :-1], tokens[..., 1:]", "assert tokens.shape[-1] > 1"),
    )
    equivalent: ClassVar = {}
    masked: ClassVar = {}
