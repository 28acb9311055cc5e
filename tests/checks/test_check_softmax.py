"""Appendix A2's exercise, a set of functions, one of which calls another."""

from __future__ import annotations

from llama_course.checks.exercise import edit
from llama_course.checks.softmax import EXERCISE, EXPONENTIAL, LOG
from llama_course.checks.testing import ExerciseTests, scaled

PROBABILITIES = "torch.exp(scores - log_sum_exp(scores).unsqueeze(-1))"
DIRECT = """
def log_sum_exp(x):
    m = x.float().max(-1).values
    return (m + (x.float() - m[..., None]).exp().sum(-1).log()).type_as(x)

def softmax(x):
    e = torch.exp(x.float() - x.float().max(dim=-1, keepdim=True)[0])
    return (e / e.sum(-1, keepdim=True)).to(x.dtype)
"""
LOOPS = """
import math

def log_sum_exp(x):
    flat = x.double().reshape(-1, x.shape[-1])
    out = []
    for row in flat:
        m = max(float(v) for v in row)
        out.append(m + torch.log(sum(torch.exp(v - m) for v in row)))
    return torch.stack(out).reshape(x.shape[:-1]).to(x.dtype)

def softmax(x):
    return torch.exp(x.double() - log_sum_exp(x.double())[..., None]).to(x.dtype)
"""
EINSUM = """
def log_sum_exp(x):
    peak = torch.einsum("...->...", x).to(torch.float32).detach().amax(-1, keepdim=True)
    inside = torch.einsum("...n->...", torch.exp(x.to(torch.float32) - peak))
    return (inside.log() + peak[..., 0]).to(x.dtype)

def softmax(x):
    return (1 / torch.exp(x.float()[..., None, :] - x.float()[..., :, None]).sum(-1)).nan_to_num(
        nan=0.0).to(x.dtype)
"""


class TestSoftmax(ExerciseTests):
    exercise = EXERCISE
    right = (DIRECT, LOOPS, EINSUM)
    wrong = (
        edit(LOG, "torch.log(total).to(x.dtype) + largest.squeeze(-1).to(x.dtype) * 0.5"),
        edit(LOG, "(torch.log(total) + largest.squeeze(-1)).to(x.dtype).unsqueeze(-1)"),
        edit(LOG, "(torch.log1p(total) + largest.squeeze(-1)).to(x.dtype)"),
        edit(LOG, "(torch.log(total) + largest.squeeze()).to(x.dtype)"),
        edit(LOG, "(torch.log(total) + largest.squeeze(-1)).half().to(x.dtype)"),
        edit(LOG, "(torch.log(total) + largest.squeeze(-1)).to(x.dtype).detach()"),
        edit(LOG, "torch.log(total) + largest.squeeze(-1)"),
        edit(LOG, "(torch.log(total) * largest.squeeze(-1)).to(x.dtype)"),
        edit(LOG, "largest.squeeze(-1).to(x.dtype)"),
        edit("wide - largest", "wide + largest"),
        edit("wide - largest", "wide - wide.amin(dim=-1, keepdim=True)"),
        edit("wide - largest", "(wide - largest).clamp(min=-5)"),
        edit("wide - largest", "(wide - largest) / 2"),
        edit("sum(dim=-1)", "prod(dim=-1)"),
        edit("wide.amax(dim=-1, keepdim=True)", "wide.amax().expand(*wide.shape[:-1], 1)"),
        edit(EXPONENTIAL, "torch.sigmoid(scores).to(x.dtype)"),
        edit(EXPONENTIAL, "(scores / scores.sum(-1, keepdim=True)).to(x.dtype)"),
        edit(EXPONENTIAL, "(scores.abs() / scores.abs().sum(-1, keepdim=True)).to(x.dtype)"),
        edit(
            EXPONENTIAL, "torch.exp(scores - log_sum_exp(scores).unsqueeze(-1)).pow(2).to(x.dtype)"
        ),
        edit(EXPONENTIAL, "torch.exp(log_sum_exp(scores).unsqueeze(-1) - scores).to(x.dtype)"),
        edit(EXPONENTIAL, "torch.exp(scores - log_sum_exp(scores).unsqueeze(-1))"),
        edit(
            EXPONENTIAL, "torch.exp(scores - log_sum_exp(scores).unsqueeze(-1)).to(x.dtype) + 1e-4"
        ),
        edit(EXPONENTIAL, "(scores == scores.amax(-1, keepdim=True)).to(x.dtype)"),
        edit(
            EXPONENTIAL,
            "torch.exp(scores - log_sum_exp(scores.detach()).unsqueeze(-1)).to(x.dtype)",
        ),
        edit("scores = x.float()", "scores = x.float().clamp(-50, 50)"),
        edit("scores = x.float()", "scores = x.float().nan_to_num(neginf=0.0)"),
        edit("scores = x.float()", "scores = -x.float()"),
        *scaled("softmax"),
        *scaled("log_sum_exp"),
    )
