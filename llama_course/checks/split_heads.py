"""Lesson 06, first part: from one vector for each token to one for each token and head."""

from __future__ import annotations

import torch
from torch import Tensor

from llama_course.checks.exercise import EXACT, LOOSE, Case, Exercise, Hints, Mistake, edit
from llama_course.checks.scripts import calls, gradients, normal, shapes

STARTER = '''
def split_heads(x: Tensor, n_heads: int) -> Tensor:
    """Cut each token's vector into heads, and put the axis of the heads before that of the tokens.

    x: (batch, seq, dim), of any dtype. n_heads: the number of heads; it divides dim.

    The result has the shape (batch, n_heads, seq, dim // n_heads).
    Head h holds, for each token, components h * head_dim to (h + 1) * head_dim - 1 of that token's
    own vector, in their order; head_dim is dim // n_heads.
    No number and no dtype is changed, and x may lie in memory in any order.
    x is not changed, and gradients flow to it.
    """
    raise NotImplementedError
'''

SOLUTION = """
def split_heads(x: Tensor, n_heads: int) -> Tensor:
    heads = x.unflatten(-1, (n_heads, -1))  # (batch, seq, heads, head_dim)
    return heads.transpose(1, 2)
"""

SHAPE = "The result has the shape (batch, n_heads, seq, dim // n_heads)."
WHICH = (
    "Head h holds, for each token, components h * head_dim to (h + 1) * head_dim - 1 of that "
    "token's own vector, in their order; head_dim is dim // n_heads."
)
KEEP = "No number and no dtype is changed, and x may lie in memory in any order."
INPUTS = "x is not changed, and gradients flow to it."


def numbered(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Every component has a number of its own: 0, 1, 2, ... in the order of the axes."""
    return torch.arange(torch.Size(shape).numel()).reshape(shape).to(dtype)


CASES = (
    Case(
        "The shape: one token, several, a batch, one head, as many heads as components",
        "shape",
        SHAPE,
        "axes in another order, a lost axis, n_heads and head_dim mixed up",
        shapes(
            "split_heads",
            (normal(1, 1, 4, seed=1), 2),
            (normal(1, 5, 12, seed=2), 3),
            (normal(2, 5, 12, seed=3), 2),
            (normal(2, 3, 4, seed=4), 1),
            (normal(2, 3, 4, seed=5), 4),
        ),
    ),
    Case(
        "By hand: two tokens, 1 2 3 4 and 5 6 7 8, in two heads",
        "example",
        WHICH,
        "tokens cut in two and handed to different heads, every second component",
        calls("split_heads", torch.tensor([[[1.0, 2, 3, 4], [5, 6, 7, 8]]]), 2),
        expect={
            "the result of split_heads": torch.tensor([[[[1.0, 2], [5, 6]], [[3, 4], [7, 8]]]])
        },
        tolerance=EXACT,
    ),
    Case(
        "One head is the token's whole vector",
        "property",
        WHICH,
        "an order of components that only several heads hide",
        calls("split_heads", numbered(2, 3, 4), 1),
        tolerance=EXACT,
    ),
    Case(
        "As many tokens as heads: still no number leaves its token",
        "property",
        WHICH,
        "heads and tokens exchanged where both axes have one length",
        calls("split_heads", numbered(2, 3, 6), 3),
        tolerance=EXACT,
    ),
    Case(
        "As many rows in the batch as heads: no number leaves its row",
        "property",
        WHICH,
        "heads and batch exchanged",
        calls("split_heads", numbered(3, 2, 6), 3),
        tolerance=EXACT,
    ),
    Case(
        "Heads wider than there are heads, and narrower",
        "float32",
        WHICH,
        "anything else in the order",
        lambda answer: (
            (f"the result for {n} heads", answer.split_heads(numbered(2, 5, 24), n))
            for n in (2, 3, 8, 12)
        ),
        tolerance=EXACT,
    ),
    Case(
        "In bfloat16, bit for bit",
        "low precision",
        KEEP,
        "a detour through another dtype",
        calls("split_heads", normal(2, 3, 8, seed=6, dtype=torch.bfloat16), 2),
        dtype=torch.bfloat16,
        tolerance=EXACT,
    ),
    Case(
        "Numbers that no 16-bit dtype has come back to the last bit",
        "low precision",
        KEEP,
        "a detour through a narrower dtype",
        calls("split_heads", normal(1, 3, 8, seed=7) * 1e-6 + 1.0, 2),
        tolerance=EXACT,
    ),
    Case(
        "A tensor of integers",
        "edge",
        KEEP,
        "a cast to float",
        calls("split_heads", numbered(1, 3, 8, dtype=torch.int64), 4),
        dtype=torch.int64,
        tolerance=EXACT,
    ),
    Case(
        "Tokens and components transposed in memory",
        "edge",
        KEEP,
        "view() where the layout does not allow it",
        calls("split_heads", numbered(2, 8, 3).transpose(1, 2), 2),
        tolerance=EXACT,
    ),
    Case(
        "The width of 7B: 32 heads of 128",
        "edge",
        WHICH,
        "a loop over every number",
        calls("split_heads", numbered(1, 4, 4096), 32),
        tolerance=EXACT,
    ),
    Case(
        "x is afterwards what it was",
        "inputs",
        INPUTS,
        "axes exchanged in place",
        calls("split_heads", numbered(1, 3, 8), 2),
        tolerance=EXACT,
    ),
    Case(
        "Gradients flow to x",
        "gradient",
        INPUTS,
        "detach(), .data, torch.tensor(x)",
        gradients("split_heads", normal(2, 3, 8, seed=8), 2),
        tolerance=LOOSE,
    ),
)  # fmt: skip

CUT = "x.unflatten(-1, (n_heads, -1))"
RESULT = "heads.transpose(1, 2)"
BODY = SOLUTION.split("\n", 2)[2].strip()  # both lines

MISTAKES = (
    Mistake(
        "view for transpose",
        "The four sizes are right, but no axis was exchanged: reshaping straight to (batch, heads, "
        "seq, head_dim) fills head 0 with whatever comes first in memory, the first tokens.",
        (
            edit(BODY, "return x.reshape(x.shape[0], n_heads, x.shape[1], -1)"),
            edit(BODY, "return x.view(x.shape[0], n_heads, x.shape[1], -1)"),
        ),
        "For tokens 1 2 3 4 and 5 6 7 8 and two heads: which numbers should head 0 hold?",
    ),
    Mistake(
        "exchanged before the cut",
        "Tokens and components change places first, and the table that this gives is reshaped to "
        "(batch, heads, seq, head_dim): the sizes fit, and the numbers of all tokens are mixed.",
        (
            edit(BODY, "return x.transpose(1, 2).reshape(x.shape[0], n_heads, x.shape[1], -1)"),
            edit(BODY, "return x.mT.contiguous().view(x.shape[0], n_heads, x.shape[1], -1)"),
        ),
        "Which axis can be cut in two: the one of the tokens or the one of the components?",
    ),
    Mistake(
        "heads one component apart",
        "In a loop over the heads, head h is cut out from component h on, and not from h * "
        "head_dim: the heads overlap, and the vector's end is in none.",
        (
            edit(BODY, "w = x.shape[-1] // n_heads\n"
                 "    return torch.stack([x[..., h : h + w] for h in range(n_heads)], dim=1)"),
        ),
        "At which component does head 1 begin, where a head has four?",
    ),
    Mistake(
        "heads behind the tokens",
        "The vectors are cut into heads, but the result is (batch, seq, heads, head_dim): the axes "
        "of tokens and heads have not changed places.",
        (
            edit(RESULT, "heads"),
            edit(BODY, "return torch.stack(x.chunk(n_heads, dim=-1), dim=2)"),
        ),
        "Attention multiplies the last two axes. Which two should they be?",
    ),
    Mistake(
        "every n-th component",
        "The vector is dealt out like cards, so that head 0 gets components 0, n_heads, 2 * "
        "n_heads, ...; a head is a block of neighbours.",
        (
            edit(CUT, "x.unflatten(-1, (-1, n_heads))", RESULT, "heads.permute(0, 3, 1, 2)"),
            edit(BODY, "return torch.stack([x[..., h::n_heads] for h in range(n_heads)], dim=1)"),
        ),
        "In which order did you write n_heads and head_dim when you cut the last axis?",
    ),
    Mistake(
        "n_heads taken for head_dim",
        "The vector is cut into pieces of n_heads components; it has n_heads pieces of dim // "
        "n_heads components.",
        (edit(CUT, "x.unflatten(-1, (-1, n_heads))"),),
        "With 12 components and 2 heads: how wide is a head?",
    ),
    Mistake(
        "components before the tokens",
        "The last two axes are exchanged: the result is (batch, heads, head_dim, seq), which is "
        "what k needs later, inside the score.",
        (
            edit(RESULT, "heads.permute(0, 2, 3, 1)"),
            edit(BODY, "return x.transpose(1, 2).unflatten(1, (n_heads, -1))"),
        ),
        "Which axis comes last?",
    ),
    Mistake(
        "heads before the batch",
        "The axis of the heads is put first of all, before the batch.",
        (
            edit(RESULT, "heads.permute(2, 0, 1, 3)"),
            edit(BODY, "return torch.stack(x.chunk(n_heads, dim=-1))"),
        ),
        "torch.stack puts its new axis first, unless dim says otherwise.",
    ),
    Mistake(
        "wrong axes exchanged",
        "The vectors are cut into heads, and then two other axes change places than those of "
        "tokens and heads.",
        (
            edit(RESULT, "heads.transpose(0, 1)"),
            edit(RESULT, "heads.transpose(0, 2)"),
            edit(RESULT, "heads.transpose(1, 3)"),
            edit(RESULT, "heads.transpose(2, 3)"),
            edit(RESULT, "heads.permute(0, 3, 1, 2)"),
        ),
        "Number the axes of (batch, seq, heads, head_dim) from 0. Which two change places?",
    ),
    Mistake(
        "batch and heads in one axis",
        "Batch and heads are merged into one axis, as torch.bmm needs it; here they stay apart.",
        (
            edit(RESULT, "heads.transpose(1, 2).flatten(0, 1)"),
            edit(BODY, "return torch.cat(x.chunk(n_heads, dim=-1))"),
        ),
        "How many axes should the result have?",
    ),
    Mistake(
        "tokens shared out",
        "The tokens are shared out among the heads, and each keeps its whole vector; every head "
        "should see every token, and a part of its vector.",
        (
            edit(BODY, "return x.unflatten(1, (n_heads, -1))"),
            edit(BODY, "return torch.stack(x.chunk(n_heads, dim=1), dim=1)"),
        ),
        "Which axis do you cut: the one of the tokens or the one of the components?",
    ),
    Mistake(
        "whole vector for every head",
        "Every head gets a copy of the whole vector; the heads share it out among them.",
        (
            edit(BODY, "return x.unsqueeze(1).expand(-1, n_heads, -1, -1)"),
            edit(BODY, "return x.unsqueeze(1).repeat(1, n_heads, 1, 1)"),
        ),
        "All heads together have as many components as the vector.",
    ),
    Mistake(
        "number of heads written in",
        "The number of heads, or their width, is written into the function; n_heads is not used.",
        (
            edit(CUT, "x.unflatten(-1, (2, -1))"),
            edit(CUT, "x.unflatten(-1, (4, -1))"),
            edit(CUT, "x.unflatten(-1, (8, -1))"),
            edit(CUT, "x.unflatten(-1, (32, -1))"),
            edit(CUT, "x.unflatten(-1, (-1, 64))"),
            edit(CUT, "x.unflatten(-1, (-1, 128))"),
        ),
        "Which argument does your function never read?",
    ),
    Mistake(
        "batch forgotten",
        "The axes are counted as if x were (seq, dim), so that the rows of a batch run into each "
        "other, or the first one is all there is.",
        (
            edit(BODY, "return x.reshape(x.shape[1], n_heads, -1).transpose(0, 1)"),
            edit(BODY, "return x[0].unflatten(-1, (n_heads, -1)).transpose(0, 1)"),
            edit(BODY, "return x[:1].unflatten(-1, (n_heads, -1)).transpose(1, 2)"),
        ),
        "How many axes has x?",
    ),
    Mistake(
        "another dtype",
        "The numbers come back in another dtype than they had.",
        (
            edit(RESULT, "heads.transpose(1, 2).float()"),
            edit(RESULT, "heads.transpose(1, 2).to(torch.bfloat16)"),
        ),
        "Cutting needs no cast.",
    ),
)  # fmt: skip

EXERCISE = Exercise(
    name="split_heads",
    lesson="06",
    title="Into heads",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="Two steps, and they cannot be one: cut the last axis in two, then exchange two "
        "axes. What is the shape between them?",
        outline="Cut the last axis into (n_heads, head_dim) with unflatten, view or reshape: "
        "(batch, seq, heads, head_dim). Then exchange axes 1 and 2 with transpose.",
    ),
    difficulty="easy",
    importance="Queries, keys and values all pass through it, in every layer.",
    minutes=6,
    setup="import torch\nfrom torch import Tensor",
    forbidden=("transformers.*", "einops.*"),
)
