"""Lesson 06's fourth exercise: what passes, what fails, and what each failure is called."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from llama_course.checks.attention import (
    AXIS,
    EXERCISE,
    EXPS,
    FILL,
    OUT,
    RESULT,
    SCALE,
    SCORES,
    SEES,
    SOFT,
    THREE_MASKS,
    causal,
    short,
    some,
)
from llama_course.checks.engine.judge import BORROWED, CRASHED, PASS, WRONG
from llama_course.checks.exercise import edit
from llama_course.checks.testing import ExerciseTests, judged, names, scaled
from llama_course.model.attention import attention as library


def returns(expression: str, *before: str) -> str:
    """An answer in a few lines."""
    lines = ["def attention(q, k, v, mask):", *(f"    {line}" for line in before)]
    return "\n".join([*lines, f"    return {expression}"])


AXIS_OF_HEADS = "mask = mask[:, None] if mask.ndim == 3 else mask"


def _pairs(why: str, one: dict[str, tuple[str, ...]]) -> dict[tuple[str, str], str]:
    """Pairs of mistakes, in the catalogue's order, with one reason."""
    order = [mistake.name for mistake in EXERCISE.mistakes]
    pairs = ((a, b) for a, others in one.items() for b in others)
    return {tuple(sorted(pair, key=order.index)): why for pair in pairs}  # type: ignore[misc]


class TestAttention(ExerciseTests):
    exercise = EXERCISE
    right = (
        # Meta's way: scores in the inputs' dtype, softmax in float32, weights cast back
        returns(
            "torch.matmul(weights, v)",
            AXIS_OF_HEADS,
            "scores = torch.matmul(q, k.transpose(2, 3)) / math.sqrt(q.shape[-1])",
            "scores = torch.where(mask, scores.float(), float('-inf'))",
            "weights = F.softmax(scores.float(), dim=-1).nan_to_num(0.0).type_as(q)",
        ),
        # exponentials by hand; hidden ones multiplied away; the largest score in sight subtracted
        returns(
            "((e / e.sum(-1, keepdim=True).clamp(min=1e-30)) @ v.float()).to(q)",
            AXIS_OF_HEADS,
            "s = (q.float() * q.shape[-1] ** -0.5) @ k.float().mT",
            "m = s.masked_fill(~mask, -1e30).amax(-1, keepdim=True)",
            "e = torch.where(mask, (s - m).masked_fill(~mask, 0.0).exp(), 0.0)",
        ),
        # loops over rows, heads and queries, with the keys in sight only
        returns(
            "out",
            "out = torch.zeros_like(q)",
            "B, H, Q, D = q.shape",
            "mask = mask.reshape(-1, *mask.shape[-2:]).expand(B, Q, k.shape[2])",
            "for b in range(B):",
            "    for h in range(H):",
            "        for i in range(Q):",
            "            seen = mask[b, i].nonzero().flatten()",
            "            if len(seen) == 0:",
            "                continue",
            "            s = (k[b, h, seen].float() @ q[b, h, i].float()) / D ** 0.5",
            "            out[b, h, i] = (s.softmax(0) @ v[b, h, seen].float()).to(q.dtype)",
        ),
        # einsum, an additive mask of the lowest finite number, zeros from the mask
        returns(
            "(torch.einsum('bhqk,bhkd->bhqd', w, v.float()) * sees).type(q.dtype)",
            "if mask.dim() == 3: mask = mask[:, None, :, :]",
            "sees = mask.any(-1, keepdim=True)",
            "bias = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)",
            "s = torch.einsum('bhqd,bhkd->bhqk', q.float(), k.float()) * (1 / q.size(-1) ** 0.5)",
            "w = torch.softmax(torch.where(mask, s, bias), dim=-1)",
        ),
        # one key after the other, with a running maximum and a running sum
        returns(
            "torch.where(total > 0, out / total.clamp(min=1e-30), 0.0).to(q.dtype)",
            AXIS_OF_HEADS,
            "mask = mask.expand(q.shape[0], 1, q.shape[2], k.shape[2])",
            "high = torch.full((*q.shape[:3], 1), -1e30)",
            "total, out = torch.zeros_like(high), torch.zeros(q.shape)",
            "for j in range(k.shape[2]):",
            "    seen = mask[..., j : j + 1]",
            "    s = (q.float() * k[:, :, j : j + 1].float()).sum(-1, True) / q.shape[-1] ** 0.5",
            "    new = torch.where(seen, torch.maximum(high, s), high)",
            "    shrink = (high - new).exp()",
            "    e = torch.where(seen, torch.where(seen, s - new, 0.0).exp(), 0.0)",
            "    total, out = total * shrink + e, out * shrink + e * v[:, :, j : j + 1].float()",
            "    high = new",
        ),
        # half of the scale on either side, float64, heads and batch in one axis, other names
        "def rows(t, n):\n    return t.double().reshape(n, *t.shape[2:])\n"
        "def attention(queries, keys, values, may_look):\n"
        "    b, h, s, d = queries.shape\n"
        "    n = b * h\n"
        "    may = may_look if may_look.dim() > 2 else may_look[None]\n"
        "    may = may.reshape(may.shape[0], 1, *may.shape[-2:]).expand(b, h, -1, -1)\n"
        "    may = may.reshape(n, *may.shape[2:])\n"
        "    blind = (~may).all(-1, keepdim=True)\n"
        "    scores = torch.bmm(rows(queries, n) / d ** 0.25, rows(keys, n).mT / d ** 0.25)\n"
        "    scores = torch.where(may | blind, scores, -torch.inf)\n"
        "    weights = (scores - scores.logsumexp(-1, keepdim=True)).exp()\n"
        "    out = torch.bmm(weights * ~blind, rows(values, n))\n"
        "    return out.reshape(queries.shape).to(queries.dtype)",
        # the softmax of bfloat16 scores in torch computes in float32 inside
        returns(
            "torch.where(sees, w @ v, 0.0).to(q.dtype)",
            AXIS_OF_HEADS,
            "sees = mask.any(-1, keepdim=True)",
            "s = q @ k.mT / q.shape[-1] ** 0.5",
            "w = torch.softmax(s.masked_fill(~mask & sees, -math.inf), -1)",
        ),
        # a loop over the heads
        returns(
            "torch.stack(heads, dim=1)",
            "mask = mask.squeeze(1) if mask.dim() == 4 else mask",
            "heads = []",
            "for h in range(q.shape[1]):",
            "    s = q[:, h].float() @ k[:, h].float().mT / math.sqrt(q.shape[-1])",
            "    w = F.softmax(s.masked_fill(~mask, -math.inf), dim=-1)",
            "    w = torch.where(mask.any(-1, keepdim=True), w, 0.0)",
            "    heads.append((w @ v[:, h].float()).to(q.dtype))",
        ),
    )
    wrong = (
        edit(SCALE, " / math.sqrt(q.shape[-1] - 1 + 1e-9)"),
        edit(SCALE, " / math.sqrt(q.shape[-1] + 1)"),
        edit(SCALE, " // math.sqrt(q.shape[-1])"),
        edit(SCALE, " / math.log2(q.shape[-1] + 1)"),
        edit(SCALE, " / math.sqrt(64)"),
        edit(SCALE, " / 8"),
        edit(SCALE, " / q.shape[-1] ** 0.25"),
        edit(SCALE, " / math.sqrt(q.shape[-1]) * 1.4427"),
        edit(SCALE, " / q.norm(dim=-1, keepdim=True)"),
        edit(SCORES, "q.float() @ k.float().transpose(-2, -1).abs()"),
        edit(SCORES, "-q.float() @ k.float().transpose(-2, -1)"),
        edit(SCORES, "-torch.cdist(q.float(), k.float()) ** 2"),
        edit(SCORES, "torch.nn.functional.normalize(q.float(), dim=-1) @ k.float().mT"),
        edit(SCORES, "q.float() @ k.float().mT.flip(-1)"),
        edit(SCORES, "q.float() @ k.float().mT.roll(1, 1)"),
        edit(SCORES, "q.float().mean(1, True) @ k.float().mT"),
        edit(SCORES, "q.detach().float() @ k.float().mT"),
        edit(SCORES, "q.float() @ k.detach().float().mT"),
        edit(SCORES, "q.bfloat16().float() @ k.bfloat16().float().mT"),
        edit(SCORES, "q.half().float() @ k.half().float().mT"),
        edit(FILL, "scores.masked_fill(~mask & sees, -math.inf).clamp(-50, 50)"),
        edit(FILL, "scores.masked_fill(~mask & sees, math.inf)"),
        edit(FILL, "scores.masked_fill(~(mask | torch.eye(*mask.shape[-2:]).bool()), -math.inf)"),
        edit(FILL, "scores.masked_fill(~mask.roll(1, -1) & sees, -math.inf)"),
        edit(FILL, "scores.masked_fill(~mask.cummax(-1).values.bool() & sees, -math.inf)"),
        edit(FILL, "scores.masked_fill((~mask & sees).all(0, True), -math.inf)"),
        edit(FILL, "scores - 10 * ~mask"),
        edit(SEES, "mask.all(dim=-1, keepdim=True)"),
        edit(SEES, "mask[..., :1]"),
        edit(SOFT, "torch.softmax(torch.softmax(scores, dim=-1), dim=-1)"),
        edit(SOFT, "torch.softmax(scores, dim=0)"),
        edit(SOFT, "torch.softmax(scores, dim=-1).round(decimals=3)"),
        edit(SOFT, "torch.softmax(-scores.masked_fill(scores.isinf(), math.inf), dim=-1)"),
        edit(SOFT, "torch.log_softmax(scores, dim=-1)"),
        edit(SOFT, "torch.sigmoid(scores)"),
        edit(SOFT, "torch.relu(scores)"),
        edit(SOFT, "torch.softmax(scores * math.log2(math.e), dim=-1)"),
        edit(
            SOFT,
            "(2 ** (scores - scores.amax(-1, True))) / (2 ** (scores - scores.amax(-1, "
            "True))).sum(-1, True)",
        ),
        edit(SOFT, f"{EXPS} / (1 + {EXPS}.sum(-1, keepdim=True))"),
        edit(SOFT, f"{EXPS} / (1e-3 + {EXPS}.sum(-1, keepdim=True))"),
        edit(SOFT, f"{EXPS} / {EXPS}.norm(dim=-1, keepdim=True)"),
        edit(SOFT, "torch.softmax(scores, dim=-1).detach()"),
        edit(SOFT, "torch.nn.functional.one_hot(scores.argmax(-1), scores.shape[-1]).float()"),
        edit(SOFT, "torch.softmax(scores, dim=-1).mean(1, keepdim=True)"),
        edit(SOFT, "torch.softmax(scores.isfinite().float(), dim=-1)"),
        edit(SOFT, "torch.softmax(scores, dim=-1) / scores.shape[-1]"),
        edit(OUT, "weights @ v.float().mean(1, keepdim=True)"),
        edit(OUT, "weights @ v.float().flip(2)"),
        edit(OUT, "weights @ v.float().detach()"),
        edit(OUT, "weights @ v.float() + q.float()"),
        edit(OUT, "torch.nn.functional.normalize(weights @ v.float(), dim=-1)"),
        edit(OUT, "weights.bfloat16().float() @ v.float()"),
        edit(OUT, "weights.half().float() @ v.half().float()"),
        edit(RESULT, "out.masked_fill(~sees, 1.0).to(q.dtype)"),
        edit(RESULT, "torch.where(sees, out, v.float()[:, :, :1]).to(q.dtype)"),
        edit(RESULT, "torch.where(sees, out, q.float()).to(q.dtype)"),
        edit(RESULT, "out.masked_fill(~sees, 0.0).bfloat16().to(q.dtype)"),
        edit(RESULT, "out.masked_fill(~sees, 0.0).half().to(q.dtype)"),
        edit(RESULT, "out.masked_fill(~sees, 0.0).to(q.dtype).detach()"),
        edit(RESULT, "out.masked_fill(~sees, 0.0).to(q.dtype).squeeze(0)"),
        edit(RESULT, "out.masked_fill(~sees, 0.0).to(q.dtype).mean(1)"),
        edit(RESULT, "out.masked_fill(~sees, 0.0).to(q.dtype).mT"),
        edit(RESULT, "out.masked_fill(~sees, 0.0).double()"),
        edit(RESULT, "out.to(q.dtype) * 0 + v.to(q.dtype).sum()"),
        edit(AXIS, "    if mask.dim() == 3:\n        mask = mask.unsqueeze(1).flip(0)"),
        edit(AXIS, "    if mask.dim() == 3:\n        mask = mask.any(0)"),
        edit(AXIS, "    if mask.dim() == 3:\n        mask = mask.all(0)"),
        # unknown in the short function, too
        short(scores=f"{SCORES} / 8"),
        short(scores=f"{SCORES}{SCALE} * 2"),
        short(soft="torch.sigmoid(scores)"),
        short(fill="scores.masked_fill(~mask, math.inf)"),
        # a right softmax of the wrong things, seen by a case each
        edit(
            AXIS,
            "    if mask.dim() == 3:\n        mask = mask.unsqueeze(1).repeat(1, len(q), 1, 1)",
        ),
        edit(
            AXIS,
            "    if mask.dim() > 2 and mask.shape[1] != 1:\n        mask = mask.view(q.shape[0]"
            ", 1, *mask.shape[-2:])",
        ),
        edit(FILL, "scores.tril(k.shape[2] - q.shape[2]).masked_fill(~mask & sees, -math.inf)"),
        edit(SCALE, " / int(math.sqrt(q.shape[-1]))"),
        edit(SCORES, "q.float() @ k[:, :1].float().transpose(-2, -1)"),
        edit(OUT, "weights @ v[:, :1].float()"),
        edit(SOFT, "torch.softmax(scores, dim=-1).mul(1e3).floor().div(1e3)"),
        # everything that stops wherever it is called
        returns("q @ k @ v @ mask @ torch.ones(3, 17)"),
        returns("q @ torch.ones(99, 98)"),
        returns("torch.cat((q, torch.ones(2, 2)))"),
        returns("q"),
        returns("v"),
        returns("torch.zeros_like(q)"),
        returns("v.mean(2, keepdim=True).expand(q.shape)"),
        returns("None"),
        returns("q.numpy()"),
        *scaled("attention"),
    )
    equivalent: ClassVar[dict[str, str]] = {
        "k.float().transpose(-2, -1) -> k.float().transpose(-1, -2)": "an exchange both ways",
        "-2 -> 2": "of four axes the third is the last but one",
        "2 -> -2": "and --2 is 2",
    }
    masked: ClassVar[dict[tuple[str, str], str]] = {
        **_pairs(
            "people's first version has no thought of queries that see nothing, and is a form of "
            "the other mistake: once that is mended, this one is named",
            {
                "fully masked row not zero": (
                    "no scale",
                    "scale by d",
                    "multiplied by the root",
                    "power before division",
                    "scale from the model's width",
                    "scale after the softmax",
                    "softmax over queries",
                    "softmax over heads",
                    "one softmax for all queries",
                    "overflow without the maximum",
                    "k not transposed",
                    "k reshaped for transposed",
                    "q and k exchanged",
                    "keys and values mixed up",
                    "softmax forgotten",
                    "not divided by the sum",
                    "batch of masks along the heads",
                    "right for one kind of mask only",
                    "dropout left in",
                    "works on its arguments in place",
                ),
                "fully masked row looks at everything": (
                    "no scale",
                    "scale by d",
                    "softmax over queries",
                    "softmax over heads",
                    "overflow without the maximum",
                    "k not transposed",
                ),
                "zeros, and NaN in the gradient": (
                    "softmax over queries",
                    "softmax over heads",
                ),
                "maximum over another axis": (
                    "fully masked row not zero",
                    "fully masked row looks at everything",
                ),
            },
        ),
        **_pairs(
            "where every number is NaN, nothing else can show",
            {
                "NaN everywhere": (
                    "no scale",
                    "scale by d",
                    "multiplied by the root",
                    "power before division",
                    "scale from the model's width",
                    "scale from another axis",
                    "scale after the softmax",
                    "softmax over queries",
                    "softmax over heads",
                    "one softmax for all queries",
                    "overflow without the maximum",
                    "maximum over another axis",
                    "k reshaped for transposed",
                    "keys and values mixed up",
                    "not divided by the sum",
                    "dropout left in",
                ),
            },
        ),
        **_pairs(
            "nothing is left of any exponential there, whatever number hidden scores have",
            {"maximum over another axis": ("hidden scores not low enough",)},
        ),
        **_pairs(
            "it stops for most shapes, before the other can show",
            {
                "k not transposed": (
                    "number beyond float16",
                    "maximum over another axis",
                    "hidden scores in the maximum",
                    "zeros, and NaN in the gradient",
                    "hidden scores not low enough",
                    "softmax in low precision",
                    "overflow without the maximum",
                    "batch of masks along the heads",
                    "first row's mask for all",
                    "result left in float32",
                ),
                "q and k exchanged": (
                    "maximum over another axis",
                    "hidden scores in the maximum",
                    "zeros, and NaN in the gradient",
                    "hidden scores not low enough",
                    "softmax in low precision",
                    "overflow without the maximum",
                    "batch of masks along the heads",
                    "first row's mask for all",
                ),
                "right for one kind of mask only": ("zeros, and NaN in the gradient",),
                "works on its arguments in place": ("zeros, and NaN in the gradient",),
            },
        ),
        **_pairs(
            "other scores stand where the other mistake would show",
            {
                "hidden scores not low enough": (
                    "scale by d",
                    "power before division",
                    "one softmax for all queries",
                    "overflow without the maximum",
                    "k reshaped for transposed",
                    "keys and values mixed up",
                ),
                "softmax in low precision": (
                    "scale by d",
                    "power before division",
                    "k reshaped for transposed",
                ),
                "overflow without the maximum": ("keys and values mixed up",),
                "maximum over another axis": ("keys and values mixed up",),
            },
        ),
        **_pairs(
            "every key is in sight where the precision shows, so a mask read otherwise hides them",
            {"softmax in low precision": ("mask inverted", "mask made inside")},
        ),
        ("mask multiplied to the scores", "softmax forgotten"): "the same as the second alone",
        ("softmax in low precision", "result left in float32"): (
            "where nothing is widened, there is nothing to cast down"
        ),
        **_pairs(
            "the weights come back before the values are read",
            {"weights returned": ("dropout left in", "zeros, and NaN in the gradient")},
        ),
    }

    def test_the_library_gives_the_solution_numbers(self) -> None:
        mine = EXERCISE.load(EXERCISE.solution)["attention"]
        blind = torch.tensor([[True, False, True], [False, False, False]])
        several = (
            *THREE_MASKS,
            (*some(2, 3, 7, 7, 16, seed=20), causal(7, 7)),
            (*some(1, 2, 2, 3, 8, seed=21), blind),
        )
        for args in several:
            # Different orders of summation in float32.
            assert torch.allclose(mine(*args), library(*args), rtol=1e-5, atol=1e-6)

    def test_borrowed_attention_is_seen(self) -> None:
        texts = (
            returns("F.scaled_dot_product_attention(q, k, v, attn_mask=mask)"),
            returns("f(q, k, v)", "f = getattr(F, 'scaled_dot' + '_product_attention')"),
            returns("torch.ops.aten.scaled_dot_product_attention(q, k, v, mask)"),
            returns("torch._scaled_dot_product_attention_math(q, k, v, mask)[0]"),
            returns("library(q, k, v, mask)",
                    "from llama_course.model.attention import attention as library"),
        )  # fmt: skip
        for text in texts:
            (verdict,) = judged(EXERCISE, text).values()
            assert verdict.state == BORROWED, (text, verdict.state, verdict.message)

    def test_what_always_raises_is_given_no_name(self) -> None:
        for kind in ("RuntimeError", "ValueError", "TypeError", "IndexError"):
            (verdict,) = judged(EXERCISE, returns("q", f"raise {kind}('no')")).values()
            assert verdict.state == CRASHED and not names({"": verdict}), kind

    @pytest.mark.parametrize("fill", ["scores.masked_fill(~mask, -math.inf)", "scores"])
    def test_the_short_function_alone_is_named(self, fill: str) -> None:
        (verdict,) = judged(EXERCISE, short(fill=fill)).values()
        assert verdict.state == WRONG
        assert names({"": verdict}) in (["fully masked row not zero"], ["mask ignored"])

    def test_the_repair_makes_the_short_function_right(self) -> None:
        fill = "scores.masked_fill(~mask & mask.any(-1, True), -math.inf)"
        text = short(fill=fill, result="(out * mask.any(-1, True)).to(q.dtype)")
        (verdict,) = judged(EXERCISE, text).values()
        assert verdict.state == PASS, verdict.message
