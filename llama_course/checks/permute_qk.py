"""Lesson 05, third part: from Meta's order of a head's rows to Hugging Face's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from llama_course.checks.exercise import (
    EXACT,
    LOOSE,
    Case,
    Exercise,
    Hints,
    Mistake,
    edit,
)
from llama_course.checks.scripts import calls, normal, shapes
from llama_course.model import rope

STARTER = '''
def permute_qk(weight: Tensor, n_heads: int) -> Tensor:
    """Reorder the rows of wq or wk from Meta's layout to Hugging Face's.

    weight: (n_heads * head_dim, dim), of any dtype. n_heads: the number of heads whose rows these
    are (for wk: the number of key heads). head_dim is even.

    In each head, row 2 * i + p goes to row p * (head_dim // 2) + i: i counts the pairs and p, 0 or
    1, says which of the pair. So the even rows come first, then the odd ones.
    The heads keep their order, each row stays whole, and no number is changed.
    The result has the shape and the dtype of weight.
    weight is not changed.
    """
    raise NotImplementedError
'''

SOLUTION = """
def permute_qk(weight: Tensor, n_heads: int) -> Tensor:
    heads = weight.unflatten(0, (n_heads, -1, 2))  # (n_heads, pairs, 2, dim)
    return heads.transpose(1, 2).reshape(weight.shape)
"""

ROWS = (
    "In each head, row 2 * i + p goes to row p * (head_dim // 2) + i: i counts the pairs and p, 0 "
    "or 1, says which of the pair."
)
EVEN = "So the even rows come first, then the odd ones."
KEEP = "The heads keep their order, each row stays whole, and no number is changed."
SHAPE = "The result has the shape and the dtype of weight."
COUNT = "n_heads: the number of heads whose rows these are (for wk: the number of key heads)."


def numbered(rows: int, columns: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    """Row r is filled with r, and with fractions that number the columns."""
    column = torch.arange(columns) / 8
    return (torch.arange(rows)[:, None] + column).to(dtype)


def half_split(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Hugging Face's rotation: the first half of a head against its second half."""
    a, b = x.chunk(2, dim=-1)
    cos, sin = cos.unsqueeze(-2), sin.unsqueeze(-2)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


def scores_stay(answer: Any) -> Iterator[tuple[str, Any]]:
    """Permuted weights under Hugging Face's rotation give the scores of Meta's."""
    x = normal(5, 12, seed=20)
    cos, sin = rope.rope_angles(torch.arange(5), 8, 10000.0)
    turned = []
    for seed in (21, 22):
        weight = answer.permute_qk(normal(16, 12, seed=seed), 2)
        turned.append(half_split((x @ weight.T).reshape(5, 2, 8), cos, sin))
    yield "the scores of Hugging Face's rotation", torch.einsum("qhd,khd->hqk", *turned)


CASES = (
    Case(
        "The shape stays: one head, several, a wide matrix, a tall one",
        "shape",
        SHAPE,
        "a result that is left in four axes, or transposed",
        shapes(
            "permute_qk",
            (normal(8, 8, seed=1), 1),
            (normal(24, 5, seed=2), 3),
            (normal(8, 40, seed=3), 2),
        ),
    ),
    Case(
        "By hand: a head of six rows, 0 to 5, becomes 0, 2, 4, 1, 3, 5",
        "example",
        EVEN,
        "the way back, nothing moved, odd rows first",
        calls("permute_qk", numbered(6), 1),
        expect={"the result of permute_qk": torch.tensor([[0.0], [2], [4], [1], [3], [5]])},
        tolerance=EXACT,
    ),
    Case(
        "By hand: two heads of four rows; each is reordered for itself",
        "example",
        KEEP,
        "one order over all heads",
        calls("permute_qk", numbered(8), 2),
        expect={
            "the result of permute_qk": torch.tensor([[0.0], [2], [1], [3], [4], [6], [5], [7]])
        },
        tolerance=EXACT,
    ),
    Case(
        "The columns stay where they are",
        "property",
        KEEP,
        "columns in place of rows",
        calls("permute_qk", numbered(8, 8), 1),
        tolerance=EXACT,
    ),
    Case(
        "The same rows as four heads and as two are two different orders",
        "property",
        COUNT,
        "a number of heads written into the function",
        calls("permute_qk", numbered(24, 3), 2),
        tolerance=EXACT,
    ),
    Case(
        "Hugging Face's rotation then gives the scores of Meta's",
        "property",
        ROWS,
        "any other order",
        scores_stay,
        tolerance=LOOSE,
    ),
    Case(
        "Twelve heads of ten rows, three key heads of ten rows",
        "float32",
        ROWS,
        "anything else in the order",
        lambda answer: (
            (f"the result for {n} heads", answer.permute_qk(numbered(10 * n, 4), n))
            for n in (12, 3)
        ),
        tolerance=EXACT,
    ),
    Case(
        "In bfloat16, bit for bit",
        "low precision",
        KEEP,
        "a detour through another dtype",
        calls("permute_qk", normal(24, 6, seed=5, dtype=torch.bfloat16), 4),
        dtype=torch.bfloat16,
        tolerance=EXACT,
    ),
    Case(
        "Numbers that float16 and bfloat16 do not have come back to the last bit",
        "low precision",
        KEEP,
        "arithmetic on the weights, a product with a permutation matrix of another dtype",
        calls("permute_qk", normal(12, 3, seed=6) * 1e-6 + 1.0, 2),
        tolerance=EXACT,
    ),
    Case(
        "Heads of two rows stay as they are",
        "edge",
        ROWS,
        "partners swapped",
        calls("permute_qk", numbered(8, 2), 4),
        tolerance=EXACT,
    ),
    Case(
        "A matrix of integers",
        "edge",
        SHAPE,
        "a cast to float",
        calls("permute_qk", numbered(12, 2, torch.int64), 2),
        dtype=torch.int64,
        tolerance=EXACT,
    ),
    Case(
        "A matrix that is transposed in memory",
        "edge",
        ROWS,
        "view() where the layout does not allow it",
        calls("permute_qk", numbered(5, 12).T, 2),
        tolerance=EXACT,
    ),
    Case(
        "A layer of 7B: 32 heads of 128 rows",
        "edge",
        ROWS,
        "a loop over every number",
        calls("permute_qk", numbered(4096, 2), 32),
        tolerance=EXACT,
    ),
    Case(
        "weight is afterwards what it was",
        "inputs",
        "weight is not changed.",
        "work in place",
        calls("permute_qk", numbered(16, 3), 2),
        tolerance=EXACT,
    ),
)  # fmt: skip

HEADS = "weight.unflatten(0, (n_heads, -1, 2))"
RESULT = "heads.transpose(1, 2).reshape(weight.shape)"

MISTAKES = (
    Mistake(
        "not permuted",
        "Every row is where it was. A reshape alone moves nothing: two axes must change places "
        "before it.",
        (edit(RESULT, "heads.reshape(weight.shape)"), edit(RESULT, "weight.clone()"),
         edit(RESULT, "weight")),
        "Where does row 1 of a head of six go?",
    ),
    Mistake(
        "permutation inverted",
        "This is the way back, from Hugging Face's order to Meta's: it takes the two halves of a "
        "head apart where it should take the pairs. For heads of four rows both are the same.",
        (edit(HEADS, "weight.unflatten(0, (n_heads, 2, -1))"),),
        "In Meta's rows, which two are a pair: 0 and 1, or 0 and the first of the second half?",
    ),
    Mistake(
        "permuted twice",
        "The reordering is done and then once more; it does not undo itself.",
        (
            edit(HEADS, f"{HEADS}.transpose(1, 2)", RESULT, "heads.reshape(weight.shape).unflatten("
                 "0, (n_heads, -1, 2)).transpose(1, 2).reshape(weight.shape)"),
        ),
        "How often does your function run over one matrix?",
    ),
    Mistake(
        "over the whole matrix",
        "All even rows of the matrix come first, then all odd ones, so rows leave their heads; "
        "the order is one inside each head.",
        (edit(HEADS, "weight.unflatten(0, (1, -1, 2))"),
         edit(RESULT, "heads.permute(2, 0, 1, 3).reshape(weight.shape)")),
        "Which argument does your function never read?",
    ),
    Mistake(
        "odd rows first",
        "The odd rows of each head come before its even rows.",
        (edit(RESULT, "heads.flip(2).transpose(1, 2).reshape(weight.shape)"),),
        "Where does row 0 go?",
    ),
    Mistake(
        "columns permuted",
        "The columns are reordered, and they are the inputs of the layer; what RoPE turns are its "
        "outputs, the rows.",
        (
            edit(RESULT, "weight.unflatten(1, (n_heads, -1, 2)).transpose(2, 3).reshape("
                 "weight.shape)"),
        ),
        "A linear layer's weight is (out, in). Which of the two are the heads?",
    ),
    Mistake(
        "heads counted innermost",
        "The rows are cut up as if the heads alternated from row to row; each head is a block of "
        "head_dim rows.",
        (
            edit(HEADS, "weight.unflatten(0, (-1, 2, n_heads))",
                 RESULT, "heads.transpose(0, 1).reshape(weight.shape)"),
        ),
        "Which rows belong to head 0: 0, 1, 2, ... or 0, n_heads, 2 * n_heads, ...?",
    ),
    Mistake(
        "n_heads taken for head_dim",
        "The matrix is cut into blocks of n_heads rows; it has n_heads blocks of head_dim rows.",
        (edit(HEADS, "weight.unflatten(0, (-1, n_heads // 2, 2))"),),
        "With 12 rows and 2 heads, how many rows has a head?",
    ),
    Mistake(
        "heads out of order",
        "The heads themselves change places: the axis of the heads has been moved along.",
        (
            edit(RESULT, "heads.transpose(0, 2).reshape(weight.shape)"),
            edit(RESULT, "heads.permute(1, 2, 0, 3).reshape(weight.shape)"),
            edit(RESULT, "heads.transpose(0, 1).reshape(weight.shape)"),
        ),
        "Which two of the axes (heads, pairs, 2, dim) should change places?",
    ),
    Mistake(
        "result transposed",
        "The rows are in the right order, but the result is (dim, rows): Meta and Hugging Face "
        "both store (out, in).",
        (edit(".reshape(weight.shape)", ".reshape(weight.shape).T"),),
        "Compare the shape that comes out with the one that goes in.",
    ),
    Mistake(
        "only the first head",
        "The first head's rows are reordered, and the other heads are left as they are.",
        (
            edit(RESULT, "torch.cat((heads[:1].transpose(1, 2).reshape(-1, weight.shape[1]), "
                 "weight[weight.shape[0] // n_heads :]))"),
        ),
        "What happens to row 1 of the second head?",
    ),
    Mistake(
        "partners swapped",
        "Row 0 and row 1 of each pair change places, and the pairs stay where they are.",
        (edit(RESULT, "heads.flip(2).reshape(weight.shape)"),),
        "Where do rows 0 and 1 of a head of six go?",
    ),
    Mistake(
        "sign of the second half",
        "The second half comes back negated: the minus of the rotation is in apply_rope, and the "
        "weights are only reordered.",
        (
            edit(RESULT, "(heads.transpose(1, 2) * torch.tensor([1, -1], dtype=weight.dtype)"
                 "[:, None, None]).reshape(weight.shape)"),
        ),
        "Is there arithmetic in your function? None is needed.",
    ),
    Mistake(
        "another dtype",
        "The weights come back in another dtype than they had.",
        (edit(RESULT, "heads.transpose(1, 2).reshape(weight.shape).float()"),
         edit(RESULT, "heads.transpose(1, 2).reshape(weight.shape).double()"),
         edit(RESULT, "heads.transpose(1, 2).reshape(weight.shape).bfloat16()")),
        "Moving rows needs no cast.",
    ),
    Mistake(
        "works on weight in place",
        "The reordered rows are written into weight itself; whoever called the function still "
        "needs Meta's order.",
        (edit(RESULT, "weight.copy_(heads.transpose(1, 2).reshape(weight.shape).clone())"),),
        "Return a new tensor, and leave weight as it is.",
    ),
)  # fmt: skip

EXERCISE = Exercise(
    name="permute_qk",
    lesson="05",
    title="Two layouts of a head",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="Write the rows of one head of six as three pairs: a small table of 3 by 2. In which "
        "direction do you read it to get 0, 2, 4, 1, 3, 5?",
        outline="Give the rows three axes: (n_heads, head_dim // 2, 2), with the columns behind. "
        "Exchange the second and the third axis. Put the three together again, which copies.",
    ),
    difficulty="medium",
    importance="Lesson 15 loads real checkpoints, and every one of Hugging Face's has this order.",
    minutes=12,
    setup="import torch\nfrom torch import Tensor",
    forbidden=("transformers.*",),
)
