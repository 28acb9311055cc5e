"""Lesson 05's first exercise: what passes, what fails, and what each failure is called."""

from __future__ import annotations

from typing import ClassVar

from llama_course.checks.engine.judge import PASS
from llama_course.checks.exercise import edit
from llama_course.checks.rope_angles import ANGLES, EXERCISE, FREQUENCIES, RESULT
from llama_course.checks.testing import ExerciseTests, judged
from llama_course.model import rope


def returns(expression: str, *before: str) -> str:
    """An answer in a few lines."""
    lines = ["def rope_angles(positions, head_dim, theta):", *(f"    {line}" for line in before)]
    return "\n".join([*lines, f"    return {expression}"])


class TestRopeAngles(ExerciseTests):
    exercise = EXERCISE
    right = (
        # Meta's: one over a power of steps of two, a complex number of length one
        returns(
            "z.real.contiguous(), z.imag.contiguous()",
            "f = 1.0 / theta ** (torch.arange(0, head_dim, 2)[: head_dim // 2].float() / head_dim)",
            "a = positions.float().unsqueeze(-1) * f",
            "z = torch.polar(torch.ones_like(a), a)",
        ),
        # einsum, the power by way of the logarithm
        returns(
            "torch.cos(a), torch.sin(a)",
            "import math",
            "f = torch.exp(torch.arange(head_dim // 2) * (-2.0 * math.log(theta) / head_dim))",
            "a = torch.einsum('...s,f->...sf', positions.float(), f)",
        ),
        # plain Python, number by number
        "import math\n"
        "def rope_angles(positions, head_dim, theta):\n"
        "    def rows(p):\n"
        "        if isinstance(p, list):\n"
        "            both = [rows(q) for q in p]\n"
        "            return [c for c, _ in both], [s for _, s in both]\n"
        "        a = [p / theta ** (2 * i / head_dim) for i in range(head_dim // 2)]\n"
        "        return [math.cos(x) for x in a], [math.sin(x) for x in a]\n"
        "    cos, sin = rows(positions.tolist())\n"
        "    return torch.tensor(cos), torch.tensor(sin)\n",
        # float64 inside
        returns(
            "a.cos().float(), a.sin().float()",
            "f = torch.logspace(0, -1, head_dim // 2 + 1, base=theta, dtype=torch.float64)[:-1]",
            "a = positions.double()[..., None] @ f[None]",
        ),
        # each frequency from the one before it, a quarter turn for the sine, a list of two
        returns(
            "tuple(torch.cos(t - shift) for shift in (0.0, torch.pi / 2))",
            "step = float(theta) ** (-2 / head_dim)",
            "f = torch.tensor([step**i for i in range(head_dim // 2)], dtype=torch.float64)",
            "a = positions.unsqueeze(-1) * f",
            "t = torch.remainder(a, 2 * torch.pi).float()",
        ),
        # other names, a further argument with a default
        "def rope_angles(where, width, base=10000.0, *, dtype=torch.float32):\n"
        "    powers = torch.linspace(0, 2 - 4 / width, width // 2, dtype=dtype) / 2\n"
        "    spread = where.to(dtype).reshape(*where.shape, 1) * base**-powers\n"
        "    return spread.cos(), spread.sin()\n",
    )
    wrong = (
        edit("-2 * pair", "-2 * pair - 1"),
        edit("-2 * pair", "-2.1 * pair"),
        edit("-2 * pair", "-2 * pair ** 2"),
        edit("-2 * pair", "-3 * pair"),
        edit("/ head_dim", "/ (head_dim - 2 + 1e-9)"),
        edit("/ head_dim", "/ (head_dim + 2)"),
        edit("/ head_dim", "/ 128"),
        edit("/ head_dim", "/ 64"),
        edit(FREQUENCIES, "1 - 2 * pair / head_dim"),
        edit(FREQUENCIES, "1 / (1 + pair) * theta ** 0"),
        edit(FREQUENCIES, "theta ** (-2 * pair / head_dim) / theta"),
        edit(FREQUENCIES, "theta ** (-2 * pair.roll(1) / head_dim)"),
        edit(FREQUENCIES, "(theta + 1) ** (-2 * pair / head_dim)"),
        edit(FREQUENCIES, "(theta ** (-2 * pair / head_dim)).clamp(min=1e-3)"),
        edit(FREQUENCIES, "(theta ** (-2 * pair / head_dim)).round(decimals=4)"),
        edit(FREQUENCIES, "(theta ** (-2 * pair / head_dim)).cumsum(0)"),
        edit(ANGLES, "-positions[..., None] * frequencies"),
        edit(ANGLES, "2 * positions[..., None] * frequencies"),
        edit(ANGLES, "positions[..., None] / 2 * frequencies"),
        edit(ANGLES, "torch.pi * positions[..., None] * frequencies"),
        edit(ANGLES, "(positions[..., None] - 1) * frequencies"),
        edit(ANGLES, "positions[..., None] + frequencies"),
        edit(ANGLES, "positions[..., None] / frequencies"),
        edit(ANGLES, "positions[..., None] ** 2 * frequencies"),
        edit(ANGLES, "positions.flip(-1)[..., None] * frequencies"),
        edit(ANGLES, "positions.sort(-1).values[..., None] * frequencies"),
        edit(ANGLES, "positions.unique()[:, None] * frequencies"),
        edit(ANGLES, "(positions - positions.min())[..., None] * frequencies"),
        edit(ANGLES, "positions.clamp(max=4095)[..., None] * frequencies"),
        edit(ANGLES, "(positions % 2048)[..., None] * frequencies"),
        edit(ANGLES, "positions.flatten()[:, None] * frequencies"),
        edit(ANGLES, "positions[-1:].expand(positions.shape)[..., None] * frequencies"),
        edit(RESULT, "angles.cos(), angles.cos()"),
        edit(RESULT, "angles.cos(), -angles.sin()"),
        edit(RESULT, "angles.cos(), angles.tan()"),
        edit(RESULT, "angles.cos().abs(), angles.sin()"),
        edit(RESULT, "angles.cosh(), angles.sinh()"),
        edit(RESULT, "angles.cos().half(), angles.sin().half()"),
        edit(RESULT, "angles.cos(), angles.sin(), angles"),
        edit(RESULT, "angles.cos().mT, angles.sin().mT"),
        edit(RESULT, "torch.stack((angles.cos(), angles.sin()))"),
        edit(RESULT, "torch.cat((angles.cos(), angles.sin()), -1)"),
        edit(RESULT, "0.999 * angles.cos(), 0.999 * angles.sin()"),
        edit(RESULT, "1.001 * angles.cos(), 1.001 * angles.sin()"),
        returns("torch.ones(3, 4), torch.zeros(3, 4)"),
        returns("positions, positions"),
    )
    equivalent: ClassVar[dict[str, str]] = {
        "torch.arange(head_dim // 2, device=positions.device) -> torch.arange(head_dim // 2)": (
            "the tests run on the CPU, where every tensor is on one device"
        ),
        "head_dim // 2 -> head_dim / 2": "head_dim is even, and arange takes 4.0 for 4",
    }
    masked: ClassVar[dict[tuple[str, str], str]] = {
        ("pairs counted from one", "one frequency for all pairs"): (
            "where all frequencies are 1, it does not matter how the pairs are numbered"
        ),
        ("result in bfloat16", "result in float64"): "what is cast to bfloat16 is not float64",
        ("low-precision tables", "result in float64"): "nor is what is cast from there to float32",
    }

    def test_the_library_itself_passes(self) -> None:
        # The library's own function also knows scalings; without them it is this one.
        text = "from llama_course.model.rope import rope_angles as _library\n" + returns(
            "_library(positions, head_dim, theta)"
        )
        (verdict,) = judged(EXERCISE, text).values()
        assert verdict.state != PASS and verdict.symptom == "borrowed"
        assert all(good for _, good in verdict.outcomes), "the library differs from the solution"
        assert rope.rope_angles is not EXERCISE.truth["rope_angles"]
