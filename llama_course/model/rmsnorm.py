"""Root-mean-square normalisation: every token's vector is brought to length about sqrt(dim)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn


def rms_norm(
    x: Float[Tensor, "*batch dim"], weight: Float[Tensor, " dim"], eps: float | int
) -> Float[Tensor, "*batch dim"]:
    """Divide each vector by its root mean square, then scale each component by `weight`.

    `x / sqrt(mean(x^2) + eps) * weight`, in LLaMA before every attention and feed-forward layer
    (Zhang and Sennrich 2019, arXiv 1910.07467, equation 4; LLaMA, section 2.2). The statistics
    are taken in float32 and the result is cast down *before* the weight is applied: that is the
    order in Meta's code, and in bfloat16 the other order gives other numbers.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean_square = wide.pow(2).mean(dim=-1, keepdim=True)
    return (wide * torch.rsqrt(mean_square + eps)).to(x.dtype) * weight


class RMSNorm(nn.Module):
    """`rms_norm` with a learned weight, which starts at one."""

    def __init__(
        self,
        dim: int,
        eps: float | int,
        function: Callable[[Tensor, Tensor, float], Tensor] = rms_norm,
    ) -> None:
        super().__init__()
        self.eps = eps
        self.function = function
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        # A float32 weight would lift a bfloat16 x to float32, so the weight follows x.
        return self.function(x, self.weight.to(x.dtype), self.eps)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, eps={self.eps}"
