"""Lesson 05's second exercise: what passes, what fails, and what each failure is called."""

from __future__ import annotations

from typing import ClassVar

from llama_course.checks.apply_rope import AXIS, EXERCISE, PAIR, RESULT, SPLIT, STACK
from llama_course.checks.engine.judge import CRASHED, PASS, WRONG
from llama_course.checks.exercise import edit
from llama_course.checks.testing import ExerciseTests, judged, names, scaled


def returns(expression: str, *before: str) -> str:
    """An answer in a few lines."""
    lines = ["def apply_rope(x, cos, sin):", *(f"    {line}" for line in before)]
    return "\n".join([*lines, f"    return {expression}"])


class TestApplyRope(ExerciseTests):
    exercise = EXERCISE
    right = (
        # complex numbers, as in Meta's code
        returns(
            "torch.view_as_real(z * turn.unsqueeze(-2)).flatten(3).type_as(x)",
            "z = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))",
            "turn = torch.complex(cos, sin)",
        ),
        # a 2 x 2 matrix for each pair, einsum
        returns(
            "torch.einsum('bshpj,bspij->bshpi', pairs, turn.expand(x.shape[0], *turn.shape[-4:]))"
            ".reshape(x.shape).to(x.dtype)",
            "pairs = x.float().reshape(*x.shape[:-1], x.shape[-1] // 2, 2)",
            "turn = torch.stack((torch.stack((cos, -sin), -1), torch.stack((sin, cos), -1)), -2)",
        ),
        # loops over tokens and pairs, into a new tensor
        returns(
            "out",
            "out = torch.empty_like(x)",
            "for s in range(x.shape[1]):",
            "    for i in range(x.shape[3] // 2):",
            "        c, n = cos[..., s, i].unsqueeze(-1), sin[..., s, i].unsqueeze(-1)",
            "        a, b = x[:, s, :, 2 * i].float(), x[:, s, :, 2 * i + 1].float()",
            "        out[:, s, :, 2 * i] = (a * c - b * n).to(x.dtype)",
            "        out[:, s, :, 2 * i + 1] = (a * n + b * c).to(x.dtype)",
        ),
        # x cos + partner sin, with tables as wide as the head
        returns(
            "(wide * c + partner.flatten(-2) * s).to(x)",
            "c, s = (t.repeat_interleave(2, dim=-1).unsqueeze(-2) for t in (cos, sin))",
            "wide = x.to(torch.float32)",
            "a, b = wide.unflatten(-1, (-1, 2)).unbind(-1)",
            "partner = torch.stack((-b, a), dim=-1)",
        ),
        # halves, after a permutation there and back
        returns(
            "turned[..., back].to(x.dtype)",
            "d = x.shape[-1]",
            "there = torch.arange(d).reshape(-1, 2).T.flatten()",
            "back = there.argsort()",
            "a, b = x.float()[..., there].chunk(2, -1)",
            "c, s = cos.unsqueeze(-2), sin.unsqueeze(-2)",
            "turned = torch.cat((a * c - b * s, b * c + a * s), -1)",
        ),
        # float64 inside, transposed and back, other names, a helper
        "def mixed(p, q, u, w):\n    return p * u + q * w\n"
        "def apply_rope(heads, c, s, *, wide=torch.float64):\n"
        "    h = heads.to(wide).permute(2, 0, 1, 3)\n"
        "    first, second = h[..., ::2], h[..., 1::2]\n"
        "    out = torch.zeros_like(h)\n"
        "    out[..., ::2] = mixed(first, second, c, -s)\n"
        "    out[..., 1::2] = mixed(second, first, c, s)\n"
        "    return out.permute(1, 2, 0, 3).to(heads.dtype)",
        # the products fused
        returns(
            "torch.stack((torch.addcmul(a * c, b, s, value=-1), torch.addcmul(b * c, a, s)), -1)"
            ".reshape(x.shape).to(x.dtype)",
            "a, b = x.float()[..., 0::2], x.float()[..., 1::2]",
            "c, s = cos[..., None, :], sin[..., None, :]",
        ),
    )
    wrong = (
        edit(SPLIT, "wide[..., 1::2], wide[..., 0::2]"),
        edit(SPLIT, "wide[..., 0::2], wide.flip(-1)[..., 0::2]"),
        edit(SPLIT, "wide[..., 0::2], wide[..., 1::2].roll(1, -1)"),
        edit(SPLIT, "wide[..., 0::2], wide[..., 0::2]"),
        edit(AXIS, "cos.unsqueeze(-2).flip(-1), sin.unsqueeze(-2).flip(-1)"),
        edit(AXIS, "cos.unsqueeze(-2).flip(-3), sin.unsqueeze(-2).flip(-3)"),
        edit(AXIS, "cos.unsqueeze(-2).roll(1, -3), sin.unsqueeze(-2).roll(1, -3)"),
        edit(AXIS, "cos.unsqueeze(-2)[..., :1], sin.unsqueeze(-2)[..., :1]"),
        edit(AXIS, "cos.unsqueeze(-2).abs(), sin.unsqueeze(-2)"),
        edit(AXIS, "cos.unsqueeze(-2), sin.unsqueeze(-2).abs()"),
        edit(AXIS, "-cos.unsqueeze(-2), -sin.unsqueeze(-2)"),
        edit(AXIS, "cos.unsqueeze(-2), cos.unsqueeze(-2)"),
        edit(AXIS, "cos.unsqueeze(-2), (1 - cos.unsqueeze(-2) ** 2).sqrt()"),
        edit(AXIS, "cos[-1:].unsqueeze(-2), sin[-1:].unsqueeze(-2)"),
        edit(PAIR, "(a * cos - b * sin, a * sin)"),
        edit(PAIR, "(a * cos - b * sin, b)"),
        edit(PAIR, "(a + cos, b + sin)"),
        edit(PAIR, "(a * cos - b * sin, a * sin + b * sin)"),
        edit(PAIR, "(a * cos - a * sin, b * sin + b * cos)"),
        edit(PAIR, "(a * sin + b * cos, a * cos - b * sin)"),
        edit(PAIR, "(-b, a)"),
        edit(PAIR, "(b, a)"),
        edit(STACK, "torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-2)"),
        edit(STACK, f"torch.stack({PAIR}, dim=-1) + wide.unflatten(-1, (-1, 2))"),
        edit(RESULT, "turned.flatten(-2).to(x.dtype).detach()"),
        edit(RESULT, "turned.flatten(-2).bfloat16().to(x.dtype)"),
        edit(RESULT, "turned.flatten(-2).half().to(x.dtype)"),
        edit(RESULT, "turned.flatten(-2).clamp(-100, 100).to(x.dtype)"),
        edit(RESULT, "turned.flatten(-2).round(decimals=4).to(x.dtype)"),
        edit(RESULT, "turned.flatten(-2).flip(-1).to(x.dtype)"),
        edit(RESULT, "turned.flatten(-2).transpose(1, 2).to(x.dtype)"),
        edit(RESULT, "turned.to(x.dtype)"),
        edit(RESULT, "turned.flatten(-3).to(x.dtype)"),
        edit(RESULT, "(turned.flatten(-2) / wide.norm(dim=-1, keepdim=True)).to(x.dtype)"),
        edit("x.float()", "x.float().bfloat16().float()"),
        edit("x.float()", "x.half().float()"),
        edit("x.float()", "x.detach().float()"),
        edit("x.float()", "x.float().abs()"),
        edit("x.float()", "x.float().tril()"),
        returns("torch.zeros_like(x)"),
        returns("-x"),
        returns("x.flip(-1)"),
        returns("x * torch.cat((cos, sin), -1).unsqueeze(-2)"),
        returns("x + torch.cat((sin, cos), -1).unsqueeze(-2)"),
        returns("x.numpy()"),
        returns("(x, x)"),
        returns("None"),
        returns("cos"),
        *scaled("apply_rope"),
    )
    equivalent: ClassVar[dict[str, str]] = {
        "x.float() -> x": "cos and sin are float32, and so is every product with them",
        "x.to(cos.dtype) -> x": "the same, in the library's words",
    }
    masked: ClassVar[dict[tuple[str, str], str]] = {
        **{
            ("identity", other): "what was computed is thrown away"
            for other in (
                "half-split pairing",
                "neighbours turned, halves written",
                "halves turned, neighbours written",
                "wrong sign",
                "not a rotation",
                "cosine and sine swapped",
                "overwritten too early",
                "partner forgotten",
                "turned twice",
                "angles along the heads",
                "positions ignored beyond the first row",
                "every token turned alike",
                "turned in low precision",
            )
        },
        ("wrong sign", "not a rotation"): "mirrored, it is still no rotation",
        ("wrong sign", "partner forgotten"): "the sine is not read, so its sign does not show",
        ("turned in low precision", "result left in float32"): (
            "where nothing is widened, there is nothing to cast down"
        ),
    }

    def test_the_identity_fails(self) -> None:
        for text in (returns("x"), returns("x.clone()"), returns("x * 1.0"), returns("+x")):
            (verdict,) = judged(EXERCISE, text).values()
            assert verdict.state == WRONG and names({"": verdict}) == ["identity"], text

    def test_the_usual_accidents_are_told_apart(self) -> None:
        symptoms = {
            returns("x.detach().numpy()"): "numpy",
            returns("x.long()"): "dtype",
            returns("x[..., :2]"): "shape",
            returns("x * float('nan')"): "nan",
            returns("x", "x[0] = 1 / 0"): "raised",
            returns("[x]"): "type",
        }
        for text, symptom in symptoms.items():
            (verdict,) = judged(EXERCISE, text).values()
            assert verdict.symptom == symptom and verdict.state in (WRONG, CRASHED), text
        assert PASS not in {v.state for t in symptoms for v in judged(EXERCISE, t).values()}
