"""Lesson 07's second exercise: what passes, what fails, and what each failure is called."""

from __future__ import annotations

from typing import ClassVar

from llama_course.checks.decode_positions import EXERCISE, SUM
from llama_course.checks.exercise import edit
from llama_course.checks.testing import ExerciseTests


def returns(expression: str, *before: str) -> str:
    """An answer in a few lines."""
    lines = ["def decode_positions(length, n_new):", *(f"    {line}" for line in before)]
    return "\n".join([*lines, f"    return {expression}"])


class TestDecodePositions(ExerciseTests):
    exercise = EXERCISE
    right = (
        # one arange a row
        returns("torch.stack([torch.arange(n, n + n_new) for n in length.tolist()])"),
        # loops
        returns("torch.tensor([[int(n) + i for i in range(n_new)] for n in length])"),
        # a running sum of ones
        returns(
            "steps.cumsum(dim=1)",
            "steps = torch.ones(len(length), n_new, dtype=torch.long)",
            "steps[:, 0] = length",
        ),
        # broadcast in other ways
        returns("length.unsqueeze(1) + torch.arange(n_new).unsqueeze(0)"),
        returns("(length.expand(n_new, -1).T + torch.arange(0, n_new, 1)).contiguous()"),
        returns(
            "positions",
            "positions = length.new_empty(length.shape[0], n_new)",
            "for step in range(n_new):",
            "    positions[:, step] = length + step",
        ),
        # counted in float32, exact up to 2 ** 24
        returns("(length[:, None].float() + torch.arange(float(n_new))).long()"),
        # all positions, of which the last are taken
        returns("torch.stack([torch.arange(int(n) + n_new)[-n_new:] for n in length])"),
        # a helper, other names
        "def ahead(n):\n    return torch.arange(n)\n"
        "def decode_positions(cached, more, *, start=0):\n"
        "    return torch.add(cached.view(-1, 1) if cached.is_contiguous() else cached[:, None],"
        " ahead(more) + start)",
    )
    wrong = (
        edit(SUM, "length[:, None] + 2 * steps"),
        edit(SUM, "length[:, None] - steps"),
        edit(SUM, "length[:, None] * steps"),
        edit(SUM, "length[:, None] + steps + 2"),
        edit(SUM, "length[:, None] + n_new + steps"),
        edit(SUM, "length[:, None] + n_new - steps"),
        edit(SUM, "(length[:, None] + steps).flip(1)"),
        edit(SUM, "(length[:, None] + steps).flip(0)"),
        edit(SUM, "length.flip(0)[:, None] + steps"),
        edit(SUM, "(length.min() + steps).expand(len(length), n_new)"),
        edit(SUM, "(length[-1] + steps).expand(len(length), n_new)"),
        edit(SUM, "(length.sum() + steps).expand(len(length), n_new)"),
        edit(SUM, "length.cumsum(0)[:, None] + steps"),
        edit(SUM, "(length[:, None] + steps).int()"),
        edit(SUM, "(length[:, None] + steps).tolist()"),
        edit(SUM, "(length[:, None] + steps).numpy()"),
        edit(SUM, "(length[:, None] + steps)[None]"),
        edit(SUM, "(length[:, None] + steps).flatten()"),
        edit(SUM, "(length[:, None] + steps).squeeze()"),
        edit(SUM, "(length[:, None] + steps).clamp(max=2048)"),
        edit(SUM, "(length[:, None] + steps).clamp(min=1)"),
        edit(SUM, "(length[:, None].half() + steps).long()"),
        edit(SUM, "(length[:, None].short() + steps).long()"),
        edit(SUM, "(length[:, None] + steps) % 4096"),
        edit(SUM, "(length[:, None] + steps).bfloat16().long()"),
        edit(SUM, "length[:, None] + torch.arange(1, n_new)"),
        edit(SUM, "length[:, None] + torch.arange(n_new + 1)"),
        edit(SUM, "length[:, None] + torch.arange(len(length))"),
        edit(SUM, "length[:, None] + torch.arange(n_new)[:1]"),
        edit(SUM, "torch.arange(len(length) * n_new).view(len(length), n_new)"),
        returns("range(int(length[0]), int(length[0]) + n_new)"),
        returns("[range(n, n + n_new) for n in length.tolist()]"),
        returns("None"),
        returns("length"),
        returns("length.sub_(length).add(torch.arange(n_new)[:, None]).T"),
        returns("torch.arange(int(length) + n_new)[None, -n_new - 1 :]"),
        edit(SUM, "length[:, None] + n_new"),
        edit(SUM, "length[:, None] + steps.flip(0)"),
        edit(SUM, "length[:, None, None] + steps"),
        returns(
            "torch.stack(out, 1)",
            "out = []",
            "for _ in range(n_new):",
            "    out.append(length)",
            "    length += 1",
        ),
    )
    equivalent: ClassVar[dict[str, str]] = {
        "torch.arange(n_new, device=length.device) -> torch.arange(n_new)": (
            "everything is on the processor here"
        ),
    }
    masked: ClassVar[dict[tuple[str, str], str]] = {}
