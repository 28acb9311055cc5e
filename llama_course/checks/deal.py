"""Appendix A1: view, then transpose. The order of an axis is not the order in memory."""

from __future__ import annotations

import torch

from llama_course.checks.exercise import EXACT, Case, Exercise, Hints, Mistake, edit
from llama_course.checks.scripts import calls, gradients, normal, shapes, spread_out

STARTER = '''
def deal(x: Tensor, n: int) -> Tensor:
    """Deal the items of each row to n hands in turn, as cards are dealt.

    x: (batch, length), of any dtype; length is a multiple of n, and neither axis is empty.

    The result is (batch, n, length // n), with the dtype of x.
    Hand h of a row gets its items h, h + n, h + 2n and so on, in this order.
    Each row is dealt by itself.
    The items of x may lie in memory in any order and with gaps.
    x is not changed.
    Gradients flow to x.
    """
    raise NotImplementedError
'''

SOLUTION = """
def deal(x: Tensor, n: int) -> Tensor:
    rounds = x.reshape(x.shape[0], x.shape[1] // n, n)
    return rounds.transpose(1, 2)
"""

SHAPE = "The result is (batch, n, length // n), with the dtype of x."
HAND = "Hand h of a row gets its items h, h + n, h + 2n and so on, in this order."
ALONE = "Each row is dealt by itself."
MEMORY = "The items of x may lie in memory in any order and with gaps."

CASES = (
    Case("A row of 12 dealt to 3 hands, and other sizes", "shape", SHAPE,
         "axes in another order, a lost batch axis",
         shapes("deal", (normal(2, 12, seed=1), 3), (normal(1, 8, seed=2), 2),
                (normal(3, 10, seed=3), 5)), tolerance=EXACT),
    Case("Token ids stay whole numbers", "shape", SHAPE, "a result that is built as float",
         shapes("deal", (torch.arange(12).reshape(2, 6), 3)), dtype=None, tolerance=EXACT),
    Case("bfloat16 stays bfloat16", "shape", SHAPE, "a result that is built as float32",
         shapes("deal", (normal(2, 6, seed=4, dtype=torch.bfloat16), 3)), dtype=torch.bfloat16,
         tolerance=EXACT),
    Case("By hand: 0 1 2 3 4 5 dealt to two hands", "example", HAND, "view for transpose",
         calls("deal", torch.arange(6).reshape(1, 6), 2), dtype=None, tolerance=EXACT,
         expect={"the result of deal": torch.tensor([[[0, 2, 4], [1, 3, 5]]])}),
    Case("By hand: two rows, two hands of two", "example", HAND,
         "axes that have the right size by accident",
         calls("deal", torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]]), 2), dtype=None, tolerance=EXACT,
         expect={"the result of deal": torch.tensor([[[1, 3], [2, 4]], [[5, 7], [6, 8]]])}),
    Case("No item of one row is found in the hands of another", "property", ALONE, "rows mixed",
         calls("deal", torch.arange(3)[:, None].expand(3, 6).contiguous(), 3), dtype=None,
         tolerance=EXACT),
    Case("The reference's numbers for five rows of 24 and 4 hands", "float32", HAND,
         "anything else", calls("deal", normal(5, 24, seed=5), 4), tolerance=EXACT),
    Case("One hand gets everything in order", "edge", HAND, "an axis that is squeezed away",
         calls("deal", normal(2, 6, seed=6), 1), tolerance=EXACT),
    Case("As many hands as items: one item each", "edge", HAND, "an axis that is squeezed away",
         calls("deal", normal(2, 6, seed=7), 6), tolerance=EXACT),
    Case("A transposed x, and one with gaps in memory", "edge", MEMORY,
         "as_strided() that assumes an order in memory",
         shapes("deal", (normal(6, 4, seed=8).T, 3), (spread_out(normal(2, 6, seed=9)), 2)),
         tolerance=EXACT),
    Case("The numbers of a transposed x", "edge", MEMORY, "the order of memory taken for the row's",
         calls("deal", normal(6, 4, seed=10).T, 3), tolerance=EXACT),
    Case("x is afterwards what it was", "inputs", "x is not changed.", "work in place",
         calls("deal", normal(2, 6, seed=11), 3), tolerance=EXACT),
    Case("Gradients flow to x", "gradient", "Gradients flow to x.", "tolist(), numpy(), detach()",
         gradients("deal", normal(2, 6, seed=12), 3), tolerance=EXACT),
)  # fmt: skip

CUT = "x.reshape(x.shape[0], x.shape[1] // n, n)"
TURN = "rounds.transpose(1, 2)"

MISTAKES = (
    Mistake(
        "view for transpose",
        "The shape is right and the order is not: each hand has items that stood side by side. "
        "view and reshape cut memory in order, and never exchange two axes.",
        (edit(TURN, "rounds.reshape(x.shape[0], n, x.shape[1] // n)"),),
        "First make an axis of n side by side, of rounds, then exchange two axes by transpose.",
    ),
    Mistake(
        "not transposed",
        "The rounds of dealing are returned, (batch, length // n, n): the last two axes are still "
        "to be exchanged.",
        (edit(TURN, "rounds"),),
        "What should the result's shape be, and which of your axes counts hands?",
    ),
    Mistake(
        "other axes exchanged",
        "Other axes than the last two are exchanged, so that the batch does not come first.",
        (edit(TURN, "rounds.permute(2, 0, 1)"), edit(TURN, "rounds.permute(2, 1, 0)"),
         edit(TURN, "rounds.transpose(0, 1)"), edit(TURN, "rounds.permute(1, 2, 0)")),
        "Count the axes from 0: batch, rounds, hands. torch.stack puts its new axis first unless "
        "told.",
    ),
    Mistake(
        "rows mixed",
        "All rows are dealt as one long row, so that a hand has items of several rows.",
        (edit(CUT, "x.reshape(-1, n)", TURN, "rounds.T.reshape(x.shape[0], n, x.shape[1] // n)"),
         edit(CUT, "x.T.reshape(x.shape[0], x.shape[1] // n, n)")),
        "Keep the batch axis apart in every step.",
    ),
    Mistake(
        "rows joined",
        "The hands of all rows are laid end to end, and the batch axis is gone.",
        (edit(CUT, "x.reshape(-1, n)", TURN, "rounds.T"),),
        "The result has three axes.",
    ),
    Mistake(
        "n taken for the size of a hand",
        "n is the number of hands; here it is used as the number of items in each.",
        (edit(CUT, "x.reshape(x.shape[0], n, x.shape[1] // n)", TURN, "rounds.mT"),),
        "Twelve items and n = 3: how many hands, and how many items in each?",
    ),
    Mistake(
        "dtype of the container",
        "The result is float32 whatever x is; a container such as torch.zeros(...) has that dtype "
        "unless told.",
        (edit(TURN, "rounds.transpose(1, 2).float()"),),
        "torch.zeros takes dtype=x.dtype; view and transpose keep it by themselves.",
    ),
    Mistake(
        "hands in reverse",
        "The first item goes to the last hand; hand 0 comes first.",
        (edit(TURN, "rounds.flip(-1).transpose(1, 2)"),),
        "Hand 0 gets item 0.",
    ),
)  # fmt: skip

EXERCISE = Exercise(
    name="deal",
    lesson="A1",
    title="Deal a row to n hands",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="Write six numbers in a row and deal them to two hands on paper. One round of "
        "dealing takes n items that stand side by side. Which axis counts rounds, and which counts "
        "hands?",
        outline="Reshape each row to (length // n, n): a line for each round, a column for each "
        "hand. Then exchange these two axes, so that hands come first.",
    ),
    difficulty="easy",
    importance="Lesson 06 splits vectors into heads in the same two steps, with the same trap.",
    minutes=10,
    setup="import torch\nfrom torch import Tensor",
)
