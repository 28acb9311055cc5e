"""Lesson 05's third exercise: what passes, what fails, and what each failure is called."""

from __future__ import annotations

from typing import ClassVar

import torch

from llama_course.checkpoints.huggingface import huggingface_to_meta_rows, meta_to_huggingface_rows
from llama_course.checks.exercise import edit
from llama_course.checks.permute_qk import EXERCISE, HEADS, RESULT, numbered
from llama_course.checks.testing import ExerciseTests, scaled


def returns(expression: str, *before: str) -> str:
    """An answer in a few lines."""
    lines = ["def permute_qk(weight, n_heads):", *(f"    {line}" for line in before)]
    return "\n".join([*lines, f"    return {expression}"])


def ordered(order: str, *before: str) -> str:
    """An answer that takes the rows of each head, d of them, in an order."""
    return returns(
        "torch.cat([weight[h * d : (h + 1) * d][order] for h in range(n_heads)])",
        "d = weight.shape[0] // n_heads",
        *before,
        f"order = {order}",
    )


class TestPermuteQk(ExerciseTests):
    exercise = EXERCISE
    right = (
        # Hugging Face's own script: view, transpose, reshape
        returns(
            "weight.reshape(n_heads, r // n_heads // 2, 2, c).transpose(1, 2).reshape(r, c)",
            "r, c = weight.shape",
        ),
        # even rows, then odd rows, head by head
        returns(
            "torch.cat([p for head in weight.chunk(n_heads) for p in (head[0::2], head[1::2])])"
        ),
        # an index for every row
        ordered("[*range(0, d, 2), *range(1, d, 2)]"),
        # loops over rows, as the sentence says it
        returns(
            "out",
            "out = torch.empty_like(weight)",
            "half = weight.shape[0] // n_heads // 2",
            "for row in range(weight.shape[0]):",
            "    head, place = divmod(row, 2 * half)",
            "    i, p = divmod(place, 2)",
            "    out[head * 2 * half + p * half + i] = weight[row]",
        ),
        # a permutation by its inverse
        returns(
            "weight[there.argsort()]",
            "d = weight.shape[0] // n_heads",
            "row = torch.arange(weight.shape[0])",
            "there = row // d * d + row % d % 2 * (d // 2) + row % d // 2",
        ),
        # einsum that only renames axes
        returns(
            "torch.einsum('hipc->hpic', weight.unflatten(0, (n_heads, -1, 2))).flatten(0, 2)",
        ),
        # other names, and a helper
        "def one(head):\n    return torch.vstack((head[::2], head[1::2]))\n"
        "def permute_qk(w, heads=32, *, dim=0):\n"
        "    return torch.cat(tuple(map(one, w.tensor_split(heads, dim))), dim)",
    )
    wrong = (
        edit(RESULT, "heads.transpose(1, 2).flip(0).reshape(weight.shape)"),
        edit(RESULT, "heads.transpose(1, 2).flip(1, 2).reshape(weight.shape)"),
        edit(RESULT, "heads.transpose(1, 2).flip(3).reshape(weight.shape)"),
        edit(RESULT, "heads.transpose(1, 2).roll(1, 2).reshape(weight.shape)"),
        edit(RESULT, "heads.flip(1).transpose(1, 2).reshape(weight.shape)"),
        edit(RESULT, "heads.transpose(1, 3).reshape(weight.shape)"),
        edit(RESULT, "heads.transpose(1, 2)"),
        edit(RESULT, "heads.transpose(1, 2).flatten(0, 1)"),
        edit(RESULT, "heads.transpose(1, 2).reshape(weight.T.shape)"),
        edit(RESULT, "heads.mean(2, keepdim=True).expand(heads.shape).reshape(weight.shape)"),
        edit(RESULT, "heads.transpose(1, 2).half().to(weight.dtype).reshape(weight.shape)"),
        edit(RESULT, "heads.transpose(1, 2).bfloat16().to(weight.dtype).reshape(weight.shape)"),
        edit(RESULT, "heads.transpose(1, 2).reshape(weight.shape).abs()"),
        edit(RESULT, "heads.transpose(1, 2).reshape(weight.shape).sort(0).values"),
        edit(RESULT, "-heads.transpose(1, 2).reshape(weight.shape)"),
        edit(RESULT, "heads.transpose(1, 2).reshape(weight.shape) + 1e-3"),
        edit(HEADS, "weight.unflatten(0, (32, -1, 2))"),
        edit(HEADS, "weight.unflatten(0, (2, -1, 2))"),
        edit(HEADS, "weight.unflatten(0, (n_heads // 2, -1, 2))"),
        edit(HEADS, "weight.unflatten(0, (2 * n_heads, -1, 2))"),
        edit(HEADS, "weight.unflatten(0, (-1, 64, 2))"),
        edit(HEADS, "weight.unflatten(0, (n_heads, 2, 2, -1)).flatten(1, 2)"),
        ordered("list(reversed(range(d)))"),
        ordered("[*range(d // 2, d), *range(d // 2)]"),
        ordered("[*range(0, d, 2), *reversed(range(1, d, 2))]"),
        ordered("[*range(0, d, 2), *range(0, d, 2)]"),
        ordered("torch.randperm(d, generator=torch.Generator().manual_seed(0))"),
        ordered("[0, *range(2, d, 2), *range(1, d, 2)] if d < 10 else list(range(d))"),
        returns("weight.reshape(weight.shape[0], -1)[::2]"),
        returns("weight.flip(0)"),
        returns("torch.zeros_like(weight)"),
        returns("weight.T"),
        returns("weight @ torch.eye(weight.shape[1])"),
        returns("None"),
        returns("weight.tolist()"),
        returns("n_heads"),
        *scaled("permute_qk"),
    )
    equivalent: ClassVar[dict[str, str]] = {
        "heads.transpose(1, 2) -> heads.transpose(2, 1)": "exchanging has no order",
        "2 -> -2 #2": "of four axes, the third from the left is the second from the right",
    }
    masked: ClassVar[dict[tuple[str, str], str]] = {
        ("not permuted", "permutation inverted"): "split either way, nothing is moved",
        ("not permuted", "over the whole matrix"): "split either way, nothing is moved",
        ("permutation inverted", "columns permuted"): "the split of the rows is not used",
        ("over the whole matrix", "columns permuted"): "the split of the rows is not used",
        ("over the whole matrix", "heads out of order"): "one head for all has no order",
        ("over the whole matrix", "partners swapped"): "partners are neighbours in any split",
    }

    def test_the_library_does_the_same_and_undoes_it(self) -> None:
        permute = EXERCISE.truth["permute_qk"]
        for rows, n in ((6, 1), (24, 2), (30, 3), (512, 4)):
            weight = numbered(rows, 3)
            assert torch.equal(permute(weight, n), meta_to_huggingface_rows(weight, n))
            assert torch.equal(huggingface_to_meta_rows(permute(weight, n), n), weight)
