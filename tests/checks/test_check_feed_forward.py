"""Lesson 08's first exercise: what passes, what fails, and what each failure is called."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from llama_course.checks.engine.judge import BORROWED
from llama_course.checks.exercise import edit
from llama_course.checks.feed_forward import (
    CAST,
    EXERCISE,
    GATED,
    HIDDEN,
    PRODUCT,
    RETURN,
    SIGMOID,
    SOLUTION,
    UP,
    WIDEN,
)
from llama_course.checks.scripts import normal
from llama_course.checks.testing import ExerciseTests, judged, scaled
from llama_course.model.swiglu import swiglu as library

LAYER = SOLUTION[SOLUTION.index("def swiglu") :]
CURVE = SOLUTION[: SOLUTION.index("def swiglu")]


def silu(expression: str, *before: str) -> str:
    """An answer for silu in a few lines; swiglu is the solution's."""
    lines = ["def silu(x):", *(f"    {line}" for line in before)]
    return "\n".join([*lines, f"    return {expression}", LAYER])


def swiglu(expression: str, *before: str) -> str:
    """An answer for swiglu in a few lines; silu is the solution's."""
    lines = ["def swiglu(x, w1, w2, w3):", *(f"    {line}" for line in before)]
    return CURVE + "\n".join([*lines, f"    return {expression}"])


class TestFeedForward(ExerciseTests):
    exercise = EXERCISE
    right = (
        # silu by tanh
        silu("(0.5 * w * (1 + torch.tanh(0.5 * w))).type_as(x)", "w = x.to(torch.float32)"),
        # by an exponential that is never above one
        silu(
            "(w * torch.where(w >= 0, torch.ones_like(e), e) / (1 + e)).to(x.dtype)",
            "w = x.float()",
            "e = torch.exp(-w.abs())",
        ),
        # by logarithms
        silu(
            "(w * torch.exp(-torch.nn.functional.softplus(-w))).to(x.dtype)",
            "w = x.float()",
        ),
        # in float64, with the exponent held away from where it overflows
        silu("(w / (1 + torch.exp(-w.clamp(min=-600)))).to(x)", "w = x.double()"),
        # one number after the other
        silu(
            "torch.stack(out).view(x.shape).to(x.dtype) if out else torch.empty_like(x)",
            "out = [v * torch.sigmoid(v) for v in x.reshape(-1).float()]",
        ),
        # linear layers and einsum
        swiglu(
            "torch.einsum('...h,dh->...d', silu(g) * u, w2)",
            "g = torch.nn.functional.linear(x, w1)",
            "u = torch.einsum('...d,hd->...h', x, w3)",
        ),
        # both ways in one product
        swiglu(
            "(u * (g.float() * torch.sigmoid(g.float())).to(x.dtype)) @ w2.transpose(0, 1)",
            "g, u = (x @ torch.cat([w1, w3]).T).chunk(2, dim=-1)",
        ),
        # columns: weight @ v
        swiglu(
            "out.T.reshape(x.shape)",
            "v = x.reshape(-1, x.shape[-1]).T",
            "out = w2 @ (silu(w1 @ v) * (w3 @ v))",
        ),
        # a loop over the hidden units
        swiglu(
            "total.to(x.dtype)",
            "total = torch.zeros(x.shape)",
            "for g, u, d in zip(w1.float(), w3.float(), w2.float().T):",
            "    open_ = silu((x.float() * g).sum(-1, keepdim=True))",
            "    total = total + open_ * (x.float() * u).sum(-1, keepdim=True) * d",
        ),
        # nothing of silu called: its formula written in
        "def silu(z):\n    w = z.float()\n    return (w * w.sigmoid()).to(z.dtype)\n"
        "def swiglu(x, w1, w2, w3):\n    lin = torch.nn.functional.linear\n    g = lin(x, w1)\n"
        "    return lin(g * torch.sigmoid(g) * lin(x, w3), w2)",
    )
    wrong = (
        edit(SIGMOID, "torch.sigmoid(wide) ** 2"),
        edit(SIGMOID, "torch.sigmoid(wide + 1)"),
        edit(SIGMOID, "torch.sigmoid(wide / 2)"),
        edit(SIGMOID, "torch.sigmoid(wide).round()"),
        edit(SIGMOID, "torch.softmax(wide, -1) if wide.dim() else torch.sigmoid(wide)"),
        edit(SIGMOID, "torch.sigmoid(wide).detach()"),
        edit(PRODUCT, "product = wide + sigmoid"),
        edit(PRODUCT, "product = wide - sigmoid"),
        edit(PRODUCT, "product = wide * sigmoid * sigmoid"),
        edit(PRODUCT, "product = wide * sigmoid + 1e-3"),
        edit(PRODUCT, "product = (wide * sigmoid).clamp(min=0)"),
        edit(PRODUCT, "product = (wide * sigmoid).detach()"),
        edit(PRODUCT, "product = torch.where(wide > -5, wide * sigmoid, 0.0)"),
        edit(PRODUCT, "product = torch.where(wide > 5, wide, wide * sigmoid)"),
        edit(PRODUCT, "product = wide * torch.atan(wide)"),
        edit(PRODUCT, "product = wide * torch.tanh(torch.log1p(torch.exp(wide.clamp(max=50))))"),
        edit(PRODUCT, "product = torch.nn.functional.elu(wide)"),
        edit(PRODUCT, "product = torch.nn.functional.leaky_relu(wide)"),
        edit(PRODUCT, "product = wide * wide.clamp(0, 1)"),
        edit(PRODUCT, "product = wide.clamp(min=0) ** 2"),
        edit(WIDEN, "wide = x.bfloat16().float()"),
        edit(WIDEN, "wide = x.half().float()"),
        edit(WIDEN, "wide = x.double().view(-1)"),
        edit(WIDEN, "wide = x.nan_to_num().abs()"),
        edit(CAST, "product.sum()"),
        edit(CAST, "product.half().to(x.dtype)"),
        edit(CAST, "product.bfloat16().to(x.dtype)"),
        edit(GATED, "gate = silu(x @ w1.T) + 1"),
        edit(GATED, "gate = 1 - silu(x @ w1.T)"),
        edit(GATED, "gate = silu(silu(x @ w1.T))"),
        edit(GATED, "gate = silu(x @ w1.T).detach()"),
        edit(GATED, "gate = torch.tanh(x @ w1.T)"),
        edit(GATED, "gate = silu(x @ w1.T).mean(-1, keepdim=True)"),
        edit(GATED, "g = x @ w1.T\n    gate = g * torch.sigmoid(1.702 * g)"),
        edit(GATED, "gate = silu(x @ w1.T) / 2"),
        edit(GATED, "gate = torch.softmax(x @ w1.T, -1)"),
        edit(GATED, "gate = silu(x @ (w1 - w1.mean()).T)"),
        edit(GATED, "gate = silu((x @ w1.T).clamp(-10, 10))"),
        edit(UP, "up = x @ w3.T + 1"),
        edit(UP, "up = (x @ w3.T).abs()"),
        edit(UP, "up = x.detach() @ w3.T"),
        edit(UP, "up = x @ w3.flip(0).T"),
        edit(HIDDEN, "hidden = gate * up * up"),
        edit(HIDDEN, "hidden = torch.maximum(gate, up)"),
        edit(HIDDEN, "hidden = gate - up"),
        edit(HIDDEN, "hidden = gate * up / gate.shape[-1]"),
        edit(HIDDEN, "hidden = torch.nn.functional.dropout(gate * up, 0.1)"),
        edit(HIDDEN, "hidden = (gate * up).cumsum(-1)"),
        edit(RETURN, "return (hidden @ w2.T) * x"),
        edit(RETURN, "return hidden @ w2.detach().T"),
        edit(RETURN, "return (hidden @ w2.T).mean(0, keepdim=True).expand(x.shape)"),
        edit(RETURN, "return (hidden @ w2.T).squeeze()"),
        edit(RETURN, "return hidden @ w2.T, gate"),
        swiglu("x"),
        swiglu("torch.zeros_like(x)"),
        *(CURVE + LAYER + "\n" + text for text in scaled("swiglu")),
        *(CURVE + LAYER + "\n" + text for text in scaled("silu")),
    )
    equivalent: ClassVar = {}
    masked: ClassVar = {
        ("clipped", "works on x in place"): "clamp makes a new tensor, and that one is changed",
        ("not in float32", "result left in float32"): "what was never float32 is not left in it",
        ("weight not transposed", "layer in float32"): (
            "in bfloat16 the shapes do not fit, so that the dtype is not seen"
        ),
    }

    @pytest.mark.parametrize("part", ["silu", "swiglu"])
    def test_torchs_own_silu_is_borrowed(self, part: str) -> None:
        text = {
            "silu": silu("torch.nn.functional.silu(x)"),
            "swiglu": swiglu("torch.nn.SiLU()(x @ w1.T) * (x @ w3.T) @ w2.T"),
        }[part]
        assert judged(EXERCISE, text)[part].state == BORROWED

    def test_the_library_means_the_same(self) -> None:
        ours = EXERCISE.truth["swiglu"]
        weights = normal(9, 4, seed=0), normal(4, 9, seed=1), normal(9, 4, seed=2)
        x = normal(2, 3, 4, seed=3)
        # Products of nine and four numbers, summed in whatever order.
        torch.testing.assert_close(ours(x, *weights), library(x, *weights))
