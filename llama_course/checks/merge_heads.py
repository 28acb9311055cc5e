"""Lesson 06, second part: from one vector for each token and head back to one for each token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from llama_course.checks.exercise import EXACT, LOOSE, Case, Exercise, Hints, Mistake, edit
from llama_course.checks.scripts import calls, gradients, normal, shapes
from llama_course.checks.split_heads import numbered

STARTER = '''
def merge_heads(x: Tensor) -> Tensor:
    """Put the heads of each token side by side again: the way back from split_heads.

    x: (batch, heads, seq, head_dim), of any dtype.

    The result has the shape (batch, seq, heads * head_dim).
    A token's vector is its head 0, then its head 1, and so on, each with its components in order.
    No number and no dtype is changed, and x may lie in memory in any order.
    x is not changed, and gradients flow to it.
    """
    raise NotImplementedError
'''

SOLUTION = """
def merge_heads(x: Tensor) -> Tensor:
    heads = x.transpose(1, 2)  # (batch, seq, heads, head_dim)
    return heads.flatten(-2)
"""

SHAPE = "The result has the shape (batch, seq, heads * head_dim)."
WHICH = (
    "A token's vector is its head 0, then its head 1, and so on, each with its components in order."
)
BACK = "Put the heads of each token side by side again: the way back from split_heads."
KEEP = "No number and no dtype is changed, and x may lie in memory in any order."
INPUTS = "x is not changed, and gradients flow to it."


def there_and_back(answer: Any) -> Iterator[tuple[str, Any]]:
    """What was split is whole again."""
    x = numbered(2, 3, 12)
    for n in (2, 3, 4):
        split = x.unflatten(-1, (n, -1)).transpose(1, 2)
        yield f"the result for {n} heads", answer.merge_heads(split)


CASES = (
    Case(
        "The shape: one token, several, a batch, one head, heads of one component",
        "shape",
        SHAPE,
        "axes in another order, an axis too many",
        shapes(
            "merge_heads",
            (normal(1, 2, 1, 4, seed=1),),
            (normal(1, 3, 5, 4, seed=2),),
            (normal(2, 3, 5, 4, seed=3),),
            (normal(2, 1, 5, 4, seed=4),),
            (normal(2, 4, 3, 1, seed=5),),
        ),
    ),
    Case(
        "By hand: head 0 has 1 2 and 5 6, head 1 has 3 4 and 7 8",
        "example",
        WHICH,
        "no axes exchanged, components dealt out",
        calls("merge_heads", torch.tensor([[[[1.0, 2], [5, 6]], [[3, 4], [7, 8]]]])),
        expect={"the result of merge_heads": torch.tensor([[[1.0, 2, 3, 4], [5, 6, 7, 8]]])},
        tolerance=EXACT,
    ),
    Case(
        "What was split is whole again",
        "property",
        BACK,
        "anything but the way back",
        there_and_back,
        tolerance=EXACT,
    ),
    Case(
        "As many tokens as heads: still no number leaves its token",
        "property",
        WHICH,
        "heads and tokens exchanged where both axes have one length",
        calls("merge_heads", numbered(2, 3, 3, 4)),
        tolerance=EXACT,
    ),
    Case(
        "A batch as long as the text: no number leaves its row",
        "property",
        WHICH,
        "batch and tokens exchanged",
        calls("merge_heads", numbered(3, 2, 3, 4)),
        tolerance=EXACT,
    ),
    Case(
        "Three heads of four, a batch of two, five tokens",
        "float32",
        WHICH,
        "anything else in the order",
        calls("merge_heads", numbered(2, 3, 5, 4)),
        tolerance=EXACT,
    ),
    Case(
        "In bfloat16, bit for bit",
        "low precision",
        KEEP,
        "a detour through another dtype",
        calls("merge_heads", normal(2, 2, 3, 4, seed=6, dtype=torch.bfloat16)),
        dtype=torch.bfloat16,
        tolerance=EXACT,
    ),
    Case(
        "Numbers that no 16-bit dtype has come back to the last bit",
        "low precision",
        KEEP,
        "a detour through a narrower dtype",
        calls("merge_heads", normal(1, 2, 3, 4, seed=7) * 1e-6 + 1.0),
        tolerance=EXACT,
    ),
    Case(
        "A tensor of integers",
        "edge",
        KEEP,
        "a cast to float",
        calls("merge_heads", numbered(1, 4, 3, 2, dtype=torch.int64)),
        dtype=torch.int64,
        tolerance=EXACT,
    ),
    Case(
        "Heads that lie side by side in memory, and tokens and components exchanged in memory",
        "edge",
        KEEP,
        "view() where the layout does not allow it",
        lambda answer: (
            (name, answer.merge_heads(x))
            for name, x in (
                ("the result for heads side by side", numbered(2, 5, 3, 4).transpose(1, 2)),
                ("the result for tokens last", numbered(2, 3, 4, 5).transpose(2, 3)),
            )
        ),
        tolerance=EXACT,
    ),
    Case(
        "The width of 7B: 32 heads of 128",
        "edge",
        WHICH,
        "a loop over every number",
        calls("merge_heads", numbered(1, 32, 4, 128)),
        tolerance=EXACT,
    ),
    Case(
        "x is afterwards what it was",
        "inputs",
        INPUTS,
        "axes exchanged in place",
        calls("merge_heads", numbered(1, 2, 3, 4)),
        tolerance=EXACT,
    ),
    Case(
        "Gradients flow to x",
        "gradient",
        INPUTS,
        "detach(), .data, torch.tensor(x)",
        gradients("merge_heads", normal(2, 2, 3, 4, seed=8)),
        tolerance=LOOSE,
    ),
)  # fmt: skip

AXES = "x.transpose(1, 2)"
RESULT = "heads.flatten(-2)"
BODY = SOLUTION.split("\n", 2)[2].strip()  # both lines

MISTAKES = (
    Mistake(
        "view for transpose",
        "The shape is right, but no axis was exchanged: reshaping straight to (batch, seq, dim) "
        "makes the first vector of what comes first in memory, several tokens of head 0.",
        (
            edit(BODY, "return x.reshape(x.shape[0], x.shape[2], -1)"),
            edit(BODY, "return x.contiguous().view(x.shape[0], x.shape[2], -1)"),
        ),
        "Which numbers should the first token's vector hold: whose head 1?",
    ),
    Mistake(
        "view of a transposed tensor",
        "After transpose, the heads of a token no longer lie side by side in memory, and view(), "
        "which never copies, refuses. Reshape or flatten copy where they must.",
        (
            edit(RESULT, "heads.view(*heads.shape[:2], -1)"),
            edit(AXES, "x.contiguous().transpose(1, 2)",
                 RESULT, "heads.view(*heads.shape[:2], -1)"),
        ),
        ".contiguous() makes the copy that view needs; where does it have to stand?",
    ),
    Mistake(
        "components dealt out",
        "The heads are shuffled into each other like cards: component 0 of every head, then "
        "component 1 of every head; each head stays in one piece.",
        (
            edit(AXES, "x.permute(0, 2, 3, 1)"),
        ),
        "Which axis comes last before you put two into one: the heads or the components?",
    ),
    Mistake(
        "heads added up",
        "The heads are summed or averaged, so that all of them become one; they are put side by "
        "side, and it is wo that mixes them.",
        (
            edit(BODY, "return x.sum(dim=1)"),
            edit(BODY, "return x.mean(dim=1)"),
        ),
        "How wide should a token's vector be?",
    ),
    Mistake(
        "heads behind each other",
        "The heads are joined along the axis of the tokens, which gives heads * seq tokens; join "
        "them along that of the components.",
        (
            edit(BODY, "return x.flatten(1, 2)"),
        ),
        "torch.cat needs a dim: along which axis do the heads lie side by side?",
    ),
    Mistake(
        "tokens run together",
        "The last two axes are put together without an exchange, so that the result is (batch, "
        "heads, seq * head_dim).",
        (
            edit(BODY, "return x.flatten(-2)"),
        ),
        "Which two axes must be neighbours before you put them into one?",
    ),
    Mistake(
        "sizes read in the wrong order",
        "The sizes are read from x as (batch, seq, heads, head_dim), which is the order after the "
        "exchange, so that the numbers of heads and tokens are mixed up.",
        (
            edit(BODY, "return x.transpose(1, 2).reshape(*x.shape[:2], -1)"),
        ),
        "Print the shape of x beside the names that you give its sizes.",
    ),
    Mistake(
        "left in four axes",
        "The axes are exchanged, but heads and components are still two axes.",
        (
            edit(RESULT, "heads"),
            edit(RESULT, "heads.contiguous()"),
        ),
        "How many axes should the result have?",
    ),
    Mistake(
        "components before the tokens",
        "The vectors are right, but the last two axes are exchanged: (batch, dim, seq) comes out.",
        (
            edit(RESULT, "heads.flatten(-2).transpose(1, 2)"),
        ),
        "Which axis comes last?",
    ),
    Mistake(
        "batch and tokens mixed",
        "The axis of the tokens comes first while the heads are put together, so that the rows of "
        "a batch end up in each other's place.",
        (
            edit(AXES, "x.permute(2, 0, 1, 3)"),
            edit(AXES, "x.permute(2, 0, 1, 3)",
                 RESULT, "heads.reshape(x.shape[0], x.shape[2], -1)"),
            edit(BODY, "return x.transpose(0, 2).reshape(x.shape[0], x.shape[2], -1)"),
        ),
        "Only two axes have to change places.",
    ),
    Mistake(
        "batch and tokens in one axis",
        "The result has one row for each token of the whole batch; batch and seq stay two axes.",
        (
            edit(RESULT, "heads.reshape(-1, x.shape[1] * x.shape[3])"),
            edit(RESULT, "heads.flatten(-2).flatten(0, 1)"),
        ),
        "How many axes should the result have?",
    ),
    Mistake(
        "heads and components exchanged",
        "transpose(1, 3) exchanges heads and components, and the tokens stay in the middle: the "
        "components are dealt out, and each is in the wrong place.",
        (
            edit(AXES, "x.transpose(1, 3)", RESULT, "heads.flatten(-2)"),
            edit(AXES, "x.transpose(1, 3)", RESULT, "heads.reshape(x.shape[0], x.shape[2], -1)"),
        ),
        "Number the axes from 0: which two should be neighbours at the end?",
    ),
    Mistake(
        "only the first head",
        "The first head is all that comes back.",
        (
            edit(BODY, "return x[:, 0]"),
            edit(BODY, "return x[:, :1].squeeze(1)"),
        ),
        "How wide should a token's vector be?",
    ),
    Mistake(
        "another dtype",
        "The numbers come back in another dtype than they had.",
        (
            edit(RESULT, "heads.flatten(-2).float()"),
            edit(RESULT, "heads.flatten(-2).to(torch.bfloat16)"),
        ),
        "Moving numbers needs no cast.",
    ),
)  # fmt: skip

EXERCISE = Exercise(
    name="merge_heads",
    lesson="06",
    title="And back into one vector",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="Undo split_heads: its two steps, the last one first.",
        outline="Exchange axes 1 and 2: (batch, seq, heads, head_dim). Then put the last two axes "
        "into one with flatten or reshape, which copy where the memory's order asks for it.",
    ),
    difficulty="easy",
    importance="What all heads have found goes through it to wo, in every layer.",
    minutes=5,
    setup="import torch\nfrom torch import Tensor",
    forbidden=("transformers.*", "einops.*"),
)
