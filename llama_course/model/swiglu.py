"""The feed-forward layer: two projections up, one of them a gate, and one projection down."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Projection = Tensor | nn.Module  # a weight (out, in), or a module that stands for one


def project(x: Float[Tensor, "*batch d_in"], w: Projection) -> Float[Tensor, "*batch d_out"]:
    """`x @ w.T` for a weight tensor (out, in); a module is called, whatever it does inside."""
    return F.linear(x, w) if isinstance(w, Tensor) else w(x)


def swiglu(
    x: Float[Tensor, "*batch dim"], w1: Projection, w2: Projection, w3: Projection
) -> Float[Tensor, "*batch dim"]:
    """`w2(silu(w1 x) * w3 x)`: w1 is the gate, w3 goes up, w2 comes down again.

    w1 and w3 are (hidden, dim), w2 is (dim, hidden), as in the checkpoint; modules may stand in
    for them (Shazeer 2020, arXiv 2002.05202, equation 6; LLaMA, section 2.2).
    """
    return project(F.silu(project(x, w1)) * project(x, w3), w2)


class FeedForward(nn.Module):
    """`swiglu` with its three learned weights."""

    def __init__(self, dim: int, hidden_dim: int, function: Callable[..., Tensor] = swiglu) -> None:
        super().__init__()
        self.function = function
        self.w1 = nn.Linear(dim, hidden_dim, bias=False)  # gate
        self.w2 = nn.Linear(hidden_dim, dim, bias=False)  # down
        self.w3 = nn.Linear(dim, hidden_dim, bias=False)  # up

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return self.function(x, self.w1, self.w2, self.w3)
