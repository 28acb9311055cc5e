"""Lesson 04's exercise: what passes, what fails, and what each failure is called."""

from __future__ import annotations

from typing import ClassVar

from llama_course.checks.exercise import edit
from llama_course.checks.rms_norm import EXERCISE, QUOTIENT, ROOT_OF, SQUARES
from llama_course.checks.testing import ExerciseTests, judged, names, scaled

WIDER = "x.dtype, torch.float32"
NOTHING_WIDE = "where nothing is widened, there is nothing to cast down"


def returns(expression: str, *before: str) -> str:
    """An answer in a few lines."""
    lines = ["def rms_norm(x, weight, eps):", *(f"    {line}" for line in before)]
    return "\n".join([*lines, f"    return {expression}"])


class TestRmsNorm(ExerciseTests):
    exercise = EXERCISE
    right = (
        # the multiplication by one over the root
        returns(
            "(w * torch.rsqrt((w * w).mean(-1, True) + eps)).to(x.dtype) * weight", "w = x.float()"
        ),
        # einsum and a power
        returns(
            "torch.einsum('...d,d->...d', torch.einsum('...d,...->...d', w, s).type_as(x), weight)",
            "w = x.to(torch.float32)",
            "s = (torch.einsum('...d,...d->...', w, w) / x.size(-1) + eps) ** -0.5",
        ),
        # loops over vectors
        returns(
            "torch.stack(rows).view(x.shape) if rows else torch.empty_like(x)",
            "rows = []",
            "for row in x.reshape(-1, x.shape[-1]):",
            "    total = 0.0",
            "    for value in row.float():",
            "        total = total + value * value",
            "    rows.append((row.float() / (total / len(row) + eps).sqrt()).to(x.dtype) * weight)",
        ),
        # through the length of the vector, and in float64 inside
        returns(
            "(w / (w.norm(dim=-1, keepdim=True) ** 2 / w.shape[-1] + eps).sqrt()).to(x) * weight",
            "w = x.double()",
        ),
        # transposed and back
        returns(
            "(w.mT / (w.mT.square().mean(-2, keepdim=True) + eps).sqrt()).mT.to(x.dtype)"
            ".reshape(x.shape) * weight",
            "w = torch.atleast_2d(x).float()",
        ),
        # the product in float32, which rounds once more to the same bits
        returns(
            "(q.float() * weight.float()).to(x.dtype)",
            "w = x.float()",
            "q = (w / (w.square().sum(-1, keepdim=True) / w.shape[-1] + eps).sqrt()).to(x.dtype)",
        ),
        # helpers, other names, further arguments with defaults
        "def mean_square(v):\n    return v.pow(2).mean(-1, keepdim=True)\n"
        "def rms_norm(vectors, gain, epsilon=1e-5, *, wide=torch.float32):\n"
        "    up = vectors.to(wide)\n"
        "    return (up / (mean_square(up) + epsilon).sqrt()).to(vectors.dtype).mul(gain)",
    )
    wrong = (
        edit("mean_square + eps", "mean_square + torch.tensor(eps).to(x.dtype).float()"),
        edit("wide.pow(2).mean", "wide[..., :64].pow(2).mean"),
        edit("wide = x.float()", "wide = x.float()\n    assert x.dim() < 4"),
        edit("wide / torch", "-wide / torch"),
        edit(ROOT_OF, "torch.sqrt(mean_square - eps).nan_to_num(nan=1.0)"),
        edit(ROOT_OF, "torch.sqrt(mean_square + eps ** 2)"),
        edit(ROOT_OF, "torch.sqrt(mean_square + 2 * eps)"),
        edit(ROOT_OF, "torch.sqrt(mean_square + eps ** 0.5)"),
        edit(ROOT_OF, "torch.sqrt(mean_square) * (1 + eps)"),
        edit(ROOT_OF, "torch.sqrt(mean_square + eps / x.shape[-1])"),
        edit(ROOT_OF, "(mean_square + eps) ** 0.25"),
        edit(ROOT_OF, "torch.exp(mean_square + eps)"),
        edit(SQUARES, "wide.pow(2).amax(dim=-1, keepdim=True)"),
        edit(SQUARES, "wide.pow(2).median(dim=-1, keepdim=True).values"),
        edit(SQUARES, "wide.pow(2).sum(dim=-1, keepdim=True) / (x.shape[-1] - 1)"),
        edit(SQUARES, "wide.pow(2).sum(dim=-1, keepdim=True) / (x.shape[-1] + 1)"),
        edit(SQUARES, "wide.pow(2).prod(dim=-1, keepdim=True)"),
        edit(SQUARES, "wide.pow(2)[..., :-1].mean(dim=-1, keepdim=True)"),
        edit(SQUARES, "wide.pow(2)[..., :1]"),
        edit(SQUARES, "wide.pow(3).mean(dim=-1, keepdim=True).abs()"),
        edit(SQUARES, "wide.pow(2).cumsum(dim=-1)"),
        edit(SQUARES, "wide.pow(2).mean(dim=-1, keepdim=True).detach()"),
        edit(QUOTIENT, "(wide / torch.sqrt(mean_square + eps)).to(x.dtype) / weight"),
        edit(QUOTIENT, "(wide / torch.sqrt(mean_square + eps)).to(x.dtype) * weight.abs()"),
        edit(QUOTIENT, "(wide / torch.sqrt(mean_square + eps)).to(x.dtype) + weight"),
        edit(QUOTIENT, "(wide / torch.sqrt(mean_square + eps)).to(x.dtype) * weight.flip(0)"),
        edit(QUOTIENT, "(wide / torch.sqrt(mean_square + eps)).to(x.dtype) * weight.detach()"),
        edit(QUOTIENT, "(wide / torch.sqrt(mean_square + eps)).to(x.dtype) * weight.mean()"),
        edit(QUOTIENT, "(wide / torch.sqrt(mean_square + eps)).bfloat16().to(x.dtype) * weight"),
        edit(QUOTIENT, "(wide / torch.sqrt(mean_square + eps)).half().to(x.dtype) * weight"),
        edit("x.float()", "x.bfloat16().float()"),
        edit("x.float()", "x.half().float()"),
        edit("x.float()", "x.float().clamp(-100, 100)"),
        edit("x.float()", "x.float().round(decimals=4)"),
        returns("x * weight"),
        returns("x / x.norm()"),
        returns("torch.zeros_like(x) * weight"),
        returns("x.clone()"),
        returns("torch.tanh(x) * weight"),
        returns("x.softmax(-1) * weight"),
        *scaled("rms_norm"),
    )
    equivalent: ClassVar = {
        f"torch.promote_types({WIDER}) -> torch.promote_types(torch.float32, x.dtype)": (
            "the wider of two dtypes is the same in either order"
        ),
    }
    masked: ClassVar = {
        ("epsilon outside the root", "absolute value for the square"): (
            "the root of the squared mean is the mean: epsilon is then added to it either way"
        ),
        ("mean subtracted", "variance for the mean square"): (
            "once the mean is gone, variance and mean square are one number"
        ),
        ("statistics without the upcast", "division in low precision"): NOTHING_WIDE,
        ("statistics without the upcast", "weight multiplied before the cast"): NOTHING_WIDE,
        ("statistics without the upcast", "result left in float32"): NOTHING_WIDE,
    }

    def test_scaled_mistakes_get_no_name(self) -> None:
        for mistake in self.exercise.mistakes:
            for scale in scaled("rms_norm", (0.99, 1.02)):
                text = f"{self.text(mistake.forms[0])}\n\n{scale}"
                assert not names(judged(self.exercise, text)), f"{mistake.name}, scaled"
