"""Lesson 07, first part: each key/value head given to the query heads of its group."""

from __future__ import annotations

import torch

from llama_course.checks.exercise import EXACT, LOOSE, Case, Exercise, Hints, Mistake, edit
from llama_course.checks.scripts import calls, gradients, normal, shapes, spread_out
from llama_course.model.attention import repeat_kv

STARTER = '''
def repeat_kv(x: Tensor, n: int) -> Tensor:
    """Give each key/value head to n query heads that stand side by side.

    x: (batch, kv_heads, seq, head_dim), of any float dtype. n: a whole number, 1 or more.

    The result is (batch, kv_heads * n, seq, head_dim), with the dtype of x.
    Head h of the result is head h // n of x: for n = 2 the order is 0, 0, 1, 1, 2, 2 and so on.
    The numbers are those of x, to the last bit; with n = 1 nothing is new.
    There may be no token at all (seq is 0): then the result is empty too.
    x is not changed.
    Gradients flow to x: each head gets the sum of what reaches its n copies.
    """
    raise NotImplementedError
'''

SOLUTION = """
def repeat_kv(x: Tensor, n: int) -> Tensor:
    batch, kv_heads, seq, head_dim = x.shape
    groups = x[:, :, None].expand(batch, kv_heads, n, seq, head_dim)  # nothing is copied yet
    return groups.reshape(batch, kv_heads * n, seq, head_dim)
"""

SHAPE = "The result is (batch, kv_heads * n, seq, head_dim), with the dtype of x."
ORDER = (
    "Head h of the result is head h // n of x: for n = 2 the order is 0, 0, 1, 1, 2, 2 and so on."
)
BITS = "The numbers are those of x, to the last bit; with n = 1 nothing is new."
EMPTY = "There may be no token at all (seq is 0): then the result is empty too."
SUM = "Gradients flow to x: each head gets the sum of what reaches its n copies."

BF16 = torch.bfloat16


def numbered(batch: int, heads: int) -> torch.Tensor:
    """One token of one number for each head: 0, 1, 2, ...; in row b, 100 b more."""
    heads_of_a_row = torch.arange(heads, dtype=torch.float32)
    rows = 100.0 * torch.arange(batch, dtype=torch.float32)
    return (rows[:, None] + heads_of_a_row)[..., None, None]


def heads(*numbers: float) -> torch.Tensor:
    """What `numbered` heads become, for a single row."""
    return torch.tensor(numbers, dtype=torch.float32).view(1, -1, 1, 1)


CASES = (
    Case("2 heads for 4, 1 for 3, and 3 for 12", "shape", SHAPE,
         "another axis repeated, the group axis kept, n taken for the number of heads",
         shapes("repeat_kv", (normal(2, 2, 5, 4, seed=1), 2), (normal(1, 1, 3, 6, seed=2), 3),
                (normal(2, 3, 2, 4, seed=3), 4)), tolerance=EXACT),
    Case("bfloat16 stays bfloat16", "shape", SHAPE, "a result that is built as float32",
         shapes("repeat_kv", (normal(1, 2, 3, 4, seed=4, dtype=BF16), 2)), dtype=BF16,
         tolerance=EXACT),
    Case("By hand: heads 0, 1 and 2 for two query heads each", "example", ORDER,
         "tile for repeat", calls("repeat_kv", numbered(1, 3), 2), tolerance=EXACT,
         expect={"the result of repeat_kv": heads(0, 0, 1, 1, 2, 2)}),
    Case("By hand: heads 0 and 1 for three query heads each", "example", ORDER,
         "tile for repeat, n and the number of heads exchanged",
         calls("repeat_kv", numbered(1, 2), 3), tolerance=EXACT,
         expect={"the result of repeat_kv": heads(0, 0, 0, 1, 1, 1)}),
    Case("As many copies as heads: 2 for 4", "property", ORDER,
         "an order that has the right size by accident", calls("repeat_kv", numbered(1, 2), 2),
         tolerance=EXACT),
    Case("No head of one row is found in another", "property", ORDER, "rows mixed",
         calls("repeat_kv", numbered(3, 2), 3), tolerance=EXACT),
    Case("Tokens and components stay where they were", "property", ORDER,
         "tokens repeated and then cut into heads",
         calls("repeat_kv", torch.arange(24.0).view(1, 2, 3, 4), 2), tolerance=EXACT),
    Case("The reference's numbers for 3 heads of 5 tokens and 4 copies", "float32", BITS,
         "anything else", calls("repeat_kv", normal(2, 3, 5, 4, seed=5), 4), tolerance=EXACT),
    Case("Very small, very large and negative numbers in bfloat16, to the last bit",
         "low precision", BITS, "arithmetic where a copy is meant",
         calls("repeat_kv", (normal(1, 2, 3, 4, seed=6) * torch.tensor([1e-30, 1.0, 3.0, 1e30]))
               .to(BF16), 3), dtype=BF16, tolerance=EXACT),
    Case("n = 1: every head for one query head", "edge", BITS, "an axis squeezed away",
         calls("repeat_kv", normal(2, 4, 3, 4, seed=7), 1), tolerance=EXACT),
    Case("One head for eight: multi-query attention", "edge", ORDER, "an axis squeezed away",
         calls("repeat_kv", normal(2, 1, 3, 4, seed=8), 8), tolerance=EXACT),
    Case("One token, one row, heads of two numbers", "edge", ORDER, "an axis squeezed away",
         calls("repeat_kv", normal(1, 2, 1, 2, seed=9), 2), tolerance=EXACT),
    Case("No token yet", "edge", EMPTY, "-1 in a reshape, which an empty tensor leaves open",
         shapes("repeat_kv", (torch.zeros(2, 2, 0, 4), 3)), tolerance=EXACT),
    Case("Heads and tokens transposed in memory, and gaps between the numbers", "edge", ORDER,
         "view() or as_strided() where the layout does not allow it",
         calls("repeat_kv", spread_out(normal(2, 5, 2, 4, seed=10)).transpose(1, 2), 2),
         tolerance=EXACT),
    Case("x is afterwards what it was", "inputs", "x is not changed.", "work in place",
         calls("repeat_kv", normal(1, 2, 3, 4, seed=11), 2), tolerance=EXACT),
    Case("The gradient of a head is the sum over its copies", "gradient", SUM,
         "detach(), .data, no_grad(), numpy()",
         gradients("repeat_kv", normal(1, 2, 3, 4, seed=12), 3), tolerance=LOOSE),
)  # fmt: skip

SIZES = "batch, kv_heads, seq, head_dim = x.shape"
GROUPS = "x[:, :, None].expand(batch, kv_heads, n, seq, head_dim)"
RESULT = "groups.reshape(batch, kv_heads * n, seq, head_dim)"

MISTAKES = (
    Mistake(
        "tile for repeat",
        "The heads come as 0, 1, 0, 1, as repeat and tile and cat lay them; a group of query heads "
        "stands side by side, so the order is 0, 0, 1, 1. A trained model runs on without an error "
        "and talks nonsense, since query heads read the wrong keys.",
        (
            edit(RESULT, "x[:, None].expand(-1, n, -1, -1, -1).flatten(1, 2)"),
            edit(RESULT, "x.repeat(1, n, 1, 1)"),
        ),
        "Which head of x does head 1 of the result need, for n = 2?",
    ),
    Mistake(
        "tokens repeated",
        "The axis of the tokens is repeated and not that of the heads. In Meta's repeat_kv the "
        "heads are axis 2; here x is (batch, kv_heads, seq, head_dim), and they are axis 1.",
        (
            edit(RESULT, "x.repeat_interleave(n, dim=2)"),
            edit(RESULT, "x.repeat(1, 1, n, 1)"),
        ),
        "Count the axes of x from 0. Which of them counts heads?",
    ),
    Mistake(
        "rows or components repeated",
        "The batch or the components of each head are repeated; the heads are axis 1.",
        (
            edit(RESULT, "x.repeat_interleave(n, dim=0)"),
            edit(RESULT, "x.repeat(n, 1, 1, 1)"),
            edit(RESULT, "x.repeat_interleave(n, dim=-1)"),
            edit(RESULT, "x.repeat(1, 1, 1, n)"),
        ),
        "Count the axes of x from 0. Which of them counts heads?",
    ),
    Mistake(
        "flattened before it is repeated",
        "repeat_interleave without an axis works on the numbers one by one, so that neighbours "
        "inside a head are doubled, and then they are cut into heads.",
        (
            edit(RESULT, "x.repeat_interleave(n, dim=3).reshape(batch, kv_heads * n, seq, -1)"),
            edit(RESULT, "x.repeat_interleave(n).reshape(batch, kv_heads * n, seq, head_dim)"),
        ),
        "Give repeat_interleave the axis of the heads: dim=1.",
    ),
    Mistake(
        "tokens repeated, then cut into heads",
        "The new axis stands behind the tokens, so each token is doubled, and the reshape then "
        "takes the doubled tokens for heads. The shape is right, the contents are not.",
        (
            edit(RESULT, "x[:, :, :, None].expand(-1, -1, -1, n, -1).reshape(batch, kv_heads * n, "
                 "seq, head_dim)"),
            edit(RESULT, "x.repeat_interleave(n, dim=2).view(batch, kv_heads * n, seq, head_dim)"),
            edit(RESULT, "x.repeat_interleave(n, dim=2).view(batch, -1, seq, head_dim)"),
        ),
        "The new axis has to stand directly behind that of the heads.",
    ),
    Mistake(
        "rows mixed",
        "The whole batch is repeated and then cut into longer rows, so that a row has heads of "
        "another row.",
        (edit(RESULT, "x.repeat(n, 1, 1, 1).reshape(batch, kv_heads * n, seq, head_dim)"),),
        "Leave axis 0 alone in every step.",
    ),
    Mistake(
        "group axis kept",
        "The copies stand in an axis of their own: (batch, kv_heads, n, seq, head_dim). Attention "
        "wants four axes, so the two of the heads become one.",
        (edit(RESULT, "groups"), edit(RESULT, "groups.contiguous()")),
        "flatten(1, 2) or reshape makes one axis of two that stand side by side.",
    ),
    Mistake(
        "expand without a group axis",
        "expand can widen an axis of size 1 and no other: the two heads cannot be expanded to "
        "four. Make a new axis of size 1 behind the heads, expand that, and then join the two.",
        (
            edit(RESULT, "x.expand(batch, kv_heads * n, seq, head_dim)"),
            edit(RESULT, "x.expand(-1, kv_heads * n, -1, -1)"),
        ),
        "x[:, :, None] has a new axis of size 1 behind the heads.",
    ),
    Mistake(
        "first head for all",
        "Every query head gets head 0: that is multi-query attention, with the other key/value "
        "heads thrown away.",
        (edit(RESULT, "x[:, :1].expand(batch, kv_heads * n, seq, head_dim)"),),
        "For three heads and n = 2 the order is 0, 0, 1, 1, 2, 2.",
    ),
    Mistake(
        "n taken for the number of query heads",
        "n is how often each head is repeated; here x is repeated until there are n heads.",
        (
            edit(RESULT, "x.repeat_interleave(n // kv_heads, dim=1)"),
            edit(RESULT, "x.repeat_interleave(max(n // kv_heads, 1), dim=1)"),
        ),
        "Two heads and n = 3: how many heads has the result?",
    ),
    Mistake(
        "n copies beside the head itself",
        "Each head is there n + 1 times: itself, and n copies. n counts all of them.",
        (edit(RESULT, "x.repeat_interleave(n + 1, dim=1)"),),
        "With n = 1 nothing is repeated.",
    ),
    Mistake(
        "copies shared out",
        "Each copy is divided by n, so that the copies add up to the head. Query heads do not "
        "share a key: each of them gets the whole one.",
        (edit(RESULT, "groups.reshape(batch, kv_heads * n, seq, head_dim) / n"),),
        "Is there an arithmetic operation in your function? There should be none.",
    ),
    Mistake(
        "heads and tokens exchanged",
        "The result is (batch, seq, heads, head_dim), the layout of Meta's code; here the heads "
        "stay before the tokens.",
        (edit(RESULT, "groups.reshape(batch, kv_heads * n, seq, head_dim).transpose(1, 2)"),),
        "Where are the heads in x, and where in your result?",
    ),
    Mistake(
        "result always float32",
        "The copies are written into a tensor that was made without x's dtype, so bfloat16 comes "
        "back as float32.",
        (edit(RESULT, "groups.reshape(batch, kv_heads * n, seq, head_dim).float()"),),
        "torch.zeros and torch.empty take dtype=x.dtype; expand and repeat keep it by themselves.",
    ),
    Mistake(
        "a size left to -1",
        "-1 in a reshape leaves a size open, and torch finds it by a division. A tensor without a "
        "token has no numbers to divide, so the call fails before anything was read. The size is "
        "known: kv_heads * n.",
        (edit(RESULT, "groups.reshape(batch, -1, seq, head_dim)"),),
        "flatten(1, 2) joins two axes without asking for a size.",
    ),
    Mistake(
        "cut off from the gradient",
        "The numbers are right and no gradient comes back to x: .detach(), .data, no_grad() or a "
        "way through lists or NumPy cuts it off.",
        (
            edit(RESULT, "groups.reshape(batch, kv_heads * n, seq, head_dim).detach()"),
            edit(SIZES, f"x = x.data\n    {SIZES}"),
        ),
        "In training, wk and wv learn through these copies.",
    ),
)  # fmt: skip

EXERCISE = Exercise(
    name="repeat_kv",
    lesson="07",
    title="Shared key and value heads",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="Six query heads share two key/value heads. Write the numbers 0 to 5 in a row, and "
        "below each the head that it reads. What is h // 3?",
        outline="Give x a new axis of size 1 behind the heads, expand it to n, and join it with "
        "the axis of the heads: (batch, kv_heads, n, seq, head_dim) to (batch, kv_heads * n, seq, "
        "head_dim). One function of torch does all of it: repeat_interleave, with the right dim.",
    ),
    difficulty="easy",
    importance="Llama 2 70B, all of Llama 3 and the toy share their keys: with another order they "
    "run without an error and answer nonsense.",
    minutes=6,
    setup="import torch\nfrom torch import Tensor",
    reference={"repeat_kv": repeat_kv},
)
