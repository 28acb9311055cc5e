"""Lesson 03's second exercise: what passes, what fails, and what each failure is called."""

from __future__ import annotations

import itertools
from typing import ClassVar

from llama_course.checks.cross_entropy import (
    EXERCISE,
    FIRST,
    MASKED,
    MAXIMUM,
    NATS,
    SHIFT,
    TOTAL,
    P,
    kept,
)
from llama_course.checks.exercise import edit
from llama_course.checks.testing import ExerciseTests, scaled


def returns(expression: str, *before: str) -> str:
    """An answer in a few lines."""
    lines = ["def cross_entropy(logits, targets, ignore_index=-100):"]
    return "\n".join([*lines, *(f"    {line}" for line in before), f"    return {expression}"])


class TestCrossEntropy(ExerciseTests):
    exercise = EXERCISE
    right = (
        # the ignored places are dropped first; log-sum-exp with the maximum added again
        returns(
            "(top.squeeze(-1) + (z - top).exp().sum(-1).log() - z[torch.arange(len(t)), t]).mean()",
            "z, t = logits.reshape(-1, logits.shape[-1]).float(), targets.reshape(-1)",
            "keep = t != ignore_index",
            "z, t = z[keep], t[keep]",
            "top = z.max(-1, keepdim=True).values",
        ),
        # a loop over the places, in float64 inside
        returns(
            "total / count if count else torch.tensor(torch.nan)",
            "total, count = torch.tensor(0.0), 0",
            "for z, t in zip(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)):",
            "    if t == ignore_index:",
            "        continue",
            "    z = z.double()",
            "    total = total + (((z - z.max()).exp().sum()).log() + z.max() - z[t]).float()",
            "    count += 1",
        ),
        # one token of the vocabulary after the other, with a maximum that is kept up to date
        returns(
            "(top + total.log() - chosen)[real].mean()",
            "z, real = logits.float(), targets != ignore_index",
            "top, total = torch.full(targets.shape, -1e38), torch.zeros(targets.shape)",
            "chosen = torch.zeros(targets.shape)",
            "for token in range(z.shape[-1]):",
            "    new = torch.maximum(top, z[..., token])",
            "    total = total * (top - new).exp() + (z[..., token] - new).exp()",
            "    top, chosen = new, torch.where(targets == token, z[..., token], chosen)",
        ),
        # a mask by one-hot vectors, with minus infinity taken out by where
        returns(
            "torch.where(real, nats, 0.0).sum() / real.sum().to(torch.float32)",
            "z = logits.to(torch.float32)",
            "z = z - z.max(dim=-1, keepdim=True)[0]",
            "real = targets.ne(ignore_index)",
            "log_p = z - z.exp().sum(dim=-1, keepdim=True).log()",
            "one_hot = torch.arange(z.shape[-1]) == targets[..., None]",
            "nats = -torch.where(one_hot, log_p, 0.0).sum(-1)",
        ),
        # masked selection, the mean of what is left, the arguments' order by keyword
        returns(
            "picked[real].mean()",
            "real = ~(targets == ignore_index)",
            "safe = targets.masked_fill(~real, 0)",
            "z = logits.type(torch.float32)",
            "biggest = torch.max(z, dim=-1).values",
            "norm = torch.log(torch.exp(z - biggest[..., None]).sum(-1)) + biggest",
            "picked = norm - torch.take_along_dim(z, safe[..., None], -1)[..., 0]",
        ),
        # a helper for the logarithm of the sum, and einsum for nothing else than the sum
        "def lse(z):\n    m = z.amax(-1)\n"
        "    return m + torch.einsum('...v->...', (z - m[..., None]).exp()).log()\n"
        + returns(
            "(lse(z)[real] - z[real, targets[real]]).mean()",
            "z = logits.float().reshape(-1, logits.size(-1))",
            "targets = targets.reshape(-1)",
            "real = (targets != ignore_index).nonzero().flatten()",
        ),
        # every target at every place, whose mean is the same: log-sum minus a column
        kept(
            "z.exp().sum(-1).log() - z.gather(-1, t[:, None])", "z = z - z.amax(-1, keepdim=True)"
        ),
        # the maximum without a gradient
        edit(MAXIMUM, "wide.detach().amax(dim=-1, keepdim=True)"),
        # the largest of half the way: any number near the largest is good enough
        edit(MAXIMUM, "(wide.amax(dim=-1, keepdim=True) + 1.0)"),
    )
    wrong = (
        edit(NATS, "(log_total - chosen) ** 2"),
        edit(NATS, "(log_total - chosen).clamp(max=100)"),
        edit(NATS, "(log_total - chosen).clamp(min=0.01)"),
        edit(NATS, "log_total * chosen"),
        edit(NATS, "log_total + chosen"),
        edit(NATS, "log_total - 0.9 * chosen - 0.1 * shifted.mean(-1)"),
        edit(NATS, "log_total.detach() - chosen"),
        edit(NATS, "log_total - chosen.detach()"),
        edit(NATS, "(log_total - chosen).detach()"),
        edit(NATS, "(log_total - chosen).round(decimals=3)"),
        edit(NATS, f"(1 - {P}) ** 2"),
        edit(NATS, f"(1 - {P}) ** 2 * (log_total - chosen)"),
        edit(NATS, f"1 / {P}"),
        edit(TOTAL, "torch.exp(shifted).mean(dim=-1).log()"),
        edit(TOTAL, "torch.exp(shifted).sum(dim=-1)"),
        edit(TOTAL, "torch.log1p(torch.exp(shifted).sum(dim=-1))"),
        edit(TOTAL, "(2.0 ** shifted).sum(dim=-1).log()"),
        edit(TOTAL, "shifted.abs().sum(dim=-1).log()"),
        edit(TOTAL, "(torch.exp(shifted).sum(dim=-1) + 1e-3).log()"),
        edit(SHIFT, "(wide - largest).clamp(min=-50)"),
        edit(SHIFT, "wide / largest"),
        edit(SHIFT, "wide.clamp(min=-80)"),
        edit(FIRST, "wide = logits.bfloat16().float()"),
        edit(FIRST, "wide = logits.half().float()"),
        edit(FIRST, "wide = logits.double()"),
        edit(FIRST, "wide = logits.float() / 0.9"),
        edit(FIRST, "wide = logits.float().detach()"),
        edit(FIRST, "wide = logits.float().view(-1, logits.shape[-1]).view(logits.shape)"),
        edit(FIRST, "wide = logits.float()\n    assert logits.dim() > 1"),
        edit("targets != ignore_index", "targets == ignore_index"),
        edit("targets != ignore_index", "targets > ignore_index"),
        edit("targets != ignore_index", "(targets != ignore_index) & (targets != 0)"),
        edit("targets != ignore_index", "(targets != ignore_index) & (targets >= 0)",
             "torch.where(real, targets, 0)", "torch.where(real, targets - 1, 0)"),
        edit("ignore_index: int = -100", "ignore_index: int = -1"),
        edit("ignore_index: int = -100", "ignore_index: int = 0"),
        edit(MASKED, "torch.where(real, nats, 0.0).amax()"),
        edit(MASKED, "nats[real].median()"),
        edit(MASKED, "torch.where(real, nats, 0.0).sum() / (real.sum() - 1)"),
        edit(MASKED, "torch.where(real, nats, 0.0).sum() / (real.sum() + 1)"),
        edit(MASKED, "torch.where(real, nats, 0.0).sum() / real.sum() ** 0.5"),
        edit(MASKED, "torch.where(real, nats, 0.0).sum() / (real.sum() + logits.shape[-1])"),
        edit(MASKED, "torch.where(real, nats, 0.0).sum().item() / real.sum().item()"),
        edit(MASKED, f"({MASKED}).unsqueeze(0)"),
        edit(MASKED, f"({MASKED}).double()"),
        edit(MASKED, f"({MASKED}).numpy()"),
        edit(MASKED, f"{MASKED}, real.sum()"),
        returns("torch.tensor(0.0)"),
        returns("logits.float().mean()"),
        returns("((logits.float().softmax(-1) - torch.nn.functional.one_hot(targets.clamp(min=0), "
                "logits.shape[-1])) ** 2).mean()"),
        *scaled("cross_entropy"),
    )  # fmt: skip
    equivalent: ClassVar = {}
    masked: ClassVar = {
        **dict.fromkeys(
            itertools.product(
                ("overflow without the maximum", "one maximum for everything"),
                ("softmax over the wrong axis", "probability clipped with an epsilon",
                 "logarithm of a rounded probability", "not normalised"),
            ),
            "the second goes its own way to the loss, and uses no maximum of the first's",
        ),
        ("overflow without the maximum", "one maximum for everything"): (
            "where no maximum is subtracted, it does not matter which it was"
        ),
        ("overflow without the maximum", "maximum on one side only"): (
            "the second's sum takes the exponentials as they are, and that is the first"
        ),
        ("overflow without the maximum", "works on logits in place"): (
            "in place, the logits of the second look-up are shifted too: nothing overflows"
        ),
        ("maximum on one side only", "works on logits in place"): (
            "in place, both are shifted"
        ),
        ("logarithm of a rounded probability", "perplexity"): (
            "an exponential beyond float32 is infinite, as that of the rounded one"
        ),
        ("ignored numbers looked up", "zero for nothing"): "the look-up fails where all is ignored",
        ("ignored numbers looked up", "mean of means"): "the look-up fails where rows differ",
        ("mean over the vocabulary too", "unwanted tokens times zero"): (
            "a mean over the table of products with zero is made of both"
        ),
        ("ignore_index fixed", "ignored numbers looked up"): (
            "what is to be ignored is looked up, whatever the other line compares it with"
        ),
        ("ignored places count as token 0", "ignored numbers looked up"): (
            "the look-up fails before it could count"
        ),
        ("ignored places times zero", "zero for nothing"): (
            "clamp(min=1) below a product with zero is often written so, and nan comes first"
        ),
        ("not in float32", "result in the dtype of the logits"): (
            "never float32, and cast to what it is already"
        ),
        **{
            pair: "zero times infinity shows where the loss is infinite, and here none is"
            for pair in (
                ("probability clipped with an epsilon", "ignored places times zero"),
                ("targets not looked at", "ignored places times zero"),
                ("ignored numbers looked up", "ignored places times zero"),
                ("ignored places times zero", "shifted once more"),
            )
        },
    }  # fmt: skip
