"""Appendix A1's exercise on axes and memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from llama_course.checks.deal import CUT, EXERCISE, TURN
from llama_course.checks.exercise import edit
from llama_course.checks.testing import ExerciseTests


def returns(expression: str, *before: str) -> str:
    """An answer in a few lines."""
    lines = ["def deal(x, n):", *(f"    {line}" for line in before), f"    return {expression}"]
    return "\n".join(lines)


FILLED = """
def deal(x, n):
    batch, length = x.shape
    hands = torch.zeros(batch, n, length // n, dtype=x.dtype)
    for row in range(batch):
        for item in range(length):
            hands[row, item % n, item // n] = x[row, item]
    return hands
"""


class TestDeal(ExerciseTests):
    exercise = EXERCISE
    right = (
        returns("x.view(x.shape[0], -1, n).transpose(1, 2)"),  # splitting an axis needs no copy
        returns("torch.stack([x[:, hand::n] for hand in range(n)], dim=1)"),
        returns("x.unfold(1, n, n).mT"),
        returns("x.contiguous().view(len(x), -1, n).permute(0, 2, 1).contiguous()"),
        returns("x[:, torch.arange(x.shape[1]).reshape(-1, n).T]"),
        returns("torch.einsum('brh->bhr', x.unflatten(1, (-1, n)))"),
        returns("torch.stack([row.reshape(-1, n).t() for row in x])"),
        returns("torch.stack(x.reshape(x.shape[0], -1, n).unbind(2), 1).clone()"),
        FILLED,
    )
    wrong = (
        FILLED.replace(
            "item % n, item // n", "item // (length // n), item % (length // n)"
        ).replace("hands[row", "hands[batch - 1 - row"),
        FILLED.replace("range(length)", "range(length - 1)"),
        FILLED.replace("dtype=x.dtype", "dtype=torch.int64"),
        FILLED.replace("dtype=x.dtype", "dtype=torch.float64"),
        FILLED.replace("item // n]", "length // n - 1 - item // n]"),
        returns("torch.stack([x[:, hand::n] for hand in range(n)], dim=-1).squeeze()"),
        returns("x[:, ::n]"),
        returns("x[:, ::n][:, None].expand(-1, n, -1)"),
        returns("torch.stack([x[:, h * n:(h + 1) * n] for h in range(n)], 1)"),
        returns("torch.stack([x[:, h::n].flip(-1) for h in range(n)], 1)"),
        returns("torch.stack([x[:, (h + 1) % n::n] for h in range(n)], 1)"),
        returns("torch.stack([x[:, h::n].sort().values for h in range(n)], 1)"),
        returns("torch.stack([x[:, h::n] for h in range(n)], 1).squeeze(1)"),
        returns("torch.stack([x[:, h::n] for h in range(n)], 1).squeeze(-1)"),
        returns("torch.stack([x[:, h::n] for h in range(n)], 1).unsqueeze(-1)"),
        returns("torch.stack([x[:, h::n] for h in range(n)], 1).detach()"),
        returns("torch.stack([x[:, h::n] for h in range(n)], 1).bfloat16().to(x.dtype)"),
        returns("torch.stack([x[0:1, h::n].expand(len(x), -1) for h in range(n)], 1)"),
        returns("torch.stack([x.flip(0)[:, h::n] for h in range(n)], 1)"),
        returns("[x[:, h::n] for h in range(n)]"),
        returns("torch.stack([x[:, h::n] for h in range(n)], 1).tolist()"),
        returns("torch.stack([x[:, h::n] for h in range(n)], 1).numpy()"),
        returns("torch.tensor([[[i for i in r[h::n]] for h in range(n)] for r in x.tolist()])"),
        returns("torch.as_strided(x, (len(x), n, x.shape[1] // n), (x.shape[1], 1, n))"),
        returns("x.resize_(len(x), x.shape[1] // n, n).mT"),
        edit(TURN, "rounds.transpose(1, 2) * 1.001"),
        edit(TURN, "rounds.transpose(1, 2).abs()"),
        edit(CUT, "x.sort(dim=1).values.reshape(x.shape[0], x.shape[1] // n, n)"),
        edit(CUT, "x.roll(1, dims=1).reshape(x.shape[0], x.shape[1] // n, n)"),
        edit(CUT, "x.flip(1).reshape(x.shape[0], x.shape[1] // n, n)"),
    )
    equivalent: ClassVar[Mapping[str, str]] = {
        "1 -> -1": "of two axes, 1 and -1 are the same",
        "rounds.transpose(1, 2) -> rounds.transpose(2, 1)": (
            "two axes are exchanged in either order"
        ),
    }
