"""Lesson 07, second part: where new tokens stand when others were read before them."""

from __future__ import annotations

import torch

from llama_course.checks.exercise import EXACT, Case, Exercise, Hints, Mistake, apply, edit
from llama_course.checks.scripts import calls, shapes, spread_out
from llama_course.model import plain_cache

STARTER = '''
def decode_positions(length: Tensor, n_new: int) -> Tensor:
    """The positions of the next n_new tokens of each row.

    length: (batch,), int64: how many tokens each row holds before the new ones come, from 0 to a
    million.
    n_new: a whole number, 1 or more: the same for all rows.

    The result is (batch, n_new), int64.
    Positions count from 0, so a row that holds 5 tokens goes on at position 5.
    The new tokens of a row stand one after the other, and each row goes on from its own length.
    length is not changed.
    """
    raise NotImplementedError
'''

SOLUTION = """
def decode_positions(length: Tensor, n_new: int) -> Tensor:
    steps = torch.arange(n_new, device=length.device)
    return length[:, None] + steps
"""

SHAPE = "The result is (batch, n_new), int64."
FROM = "Positions count from 0, so a row that holds 5 tokens goes on at position 5."
OWN = "The new tokens of a row stand one after the other, and each row goes on from its own length."
SAME = "length is not changed."


def lengths(*numbers: int) -> torch.Tensor:
    """What a cache says of its rows."""
    return torch.tensor(numbers, dtype=torch.int64)


NAME = "decode_positions"

CASES = (
    Case("Two rows and three tokens, three rows and one, one row and four", "shape", SHAPE,
         "a lost batch axis, axes exchanged, old positions too, floats",
         shapes(NAME, (lengths(2, 4), 3), (lengths(7, 0, 1), 1), (lengths(3), 4)), dtype=None,
         tolerance=EXACT),
    Case("By hand: 5 tokens are there and one comes", "example", FROM,
         "the offset not advanced, counting from 1", calls(NAME, lengths(5), 1), dtype=None,
         tolerance=EXACT, expect={"the result of decode_positions": torch.tensor([[5]])}),
    Case("By hand: 3 tokens are there, and a chunk of four comes", "example", OWN,
         "one position for all new tokens, a length that was taken too late",
         calls(NAME, lengths(3), 4), dtype=None, tolerance=EXACT,
         expect={"the result of decode_positions": torch.tensor([[3, 4, 5, 6]])}),
    Case("By hand: rows of 4 and 1 tokens, and two come", "example", OWN,
         "the longest row, or the first, for all rows", calls(NAME, lengths(4, 1), 2), dtype=None,
         tolerance=EXACT,
         expect={"the result of decode_positions": torch.tensor([[4, 5], [1, 2]])}),
    Case("As many rows as new tokens", "property", OWN, "axes that have the right size by accident",
         calls(NAME, lengths(9, 0, 4), 3), dtype=None, tolerance=EXACT),
    Case("An empty cache: the prompt begins at 0", "edge", FROM,
         "an empty cache taken for one token", calls(NAME, lengths(0, 0), 5), dtype=None,
         tolerance=EXACT),
    Case("One row is empty and the others are not", "edge", OWN,
         "one row's length for all", calls(NAME, lengths(6, 0, 2, 11), 2), dtype=None,
         tolerance=EXACT),
    Case("Far out: a million tokens are there", "edge", FROM,
         "positions counted in 16-bit floats or integers, a largest position",
         calls(NAME, lengths(1_000_000, 65_537), 3), dtype=None, tolerance=EXACT),
    Case("Lengths that do not lie side by side in memory", "edge", OWN,
         "as_strided(), which takes the order of memory",
         calls(NAME, spread_out(lengths(3, 8, 1)), 2), dtype=None, tolerance=EXACT),
    Case("length is afterwards what it was", "inputs", SAME, "work in place",
         calls(NAME, lengths(3, 8), 2), dtype=None, tolerance=EXACT),
)  # fmt: skip

STEPS = "steps = torch.arange(n_new, device=length.device)"
SUM = "length[:, None] + steps"


def whole(*replacements: str) -> str:
    """The solution with an edit, as a text of its own: what raises is not tried in pairs."""
    return apply(edit(*replacements), SOLUTION)


MISTAKES = (
    Mistake(
        "offset not advanced",
        "The new tokens are counted from 0, as if nothing had been read before. Their queries and "
        "keys are then turned by the wrong angles, and every step of decoding stands at position "
        "0.",
        (edit(SUM, "steps.expand(len(length), n_new)"), edit(SUM, "steps[None]")),
        "A row holds 5 tokens, at positions 0 to 4. Where does the next one stand?",
    ),
    Mistake(
        "counted from one",
        "The first new token stands one too far: a row of 5 tokens fills positions 0 to 4, so the "
        "next one is 5 and not 6.",
        (edit(SUM, "length[:, None] + steps + 1"),),
        "At which position does the first token of a prompt stand?",
    ),
    Mistake(
        "last position taken again",
        "The first new token stands where the last old one stands: length is already the next "
        "free position.",
        (edit(SUM, "length[:, None] + steps - 1"),),
        "A row of 5 tokens fills positions 0 to 4.",
    ),
    Mistake(
        "length taken for that after the append",
        "n_new is subtracted, as if the new tokens were already counted. length is what each row "
        "holds before they come.",
        (edit(SUM, "length[:, None] - n_new + steps"),),
        "Read once more what length means.",
    ),
    Mistake(
        "longest row for all",
        "All rows go on from the longest one. That is right as long as they are equally long, and "
        "in a batch of unequal prompts it leaves holes.",
        (edit(SUM, "(length.max() + steps).expand(len(length), n_new)"),
         edit(SUM, "torch.full_like(length, int(length.max()))[:, None] + steps")),
        "Rows of 4 and 1 tokens: where does the second one go on?",
    ),
    Mistake(
        "first row for all",
        "All rows go on from the length of the first one.",
        (edit(SUM, "(length[0] + steps).expand(len(length), n_new)"),),
        "Look for length[0] in your function.",
    ),
    Mistake(
        "no batch axis",
        "The result is (n_new,): one row of positions for the whole batch.",
        (edit(SUM, "length[0] + steps"), edit(SUM, "length.max() + steps"), edit(SUM, "steps")),
        "The result has one row for each row of the batch: (batch, n_new).",
    ),
    Mistake(
        "one position for all new tokens",
        "All new tokens of a row stand at the same place. For a single token nobody notices; in a "
        "chunk, each stands one further than the one before.",
        (edit(SUM, "length[:, None].expand(len(length), n_new)"),
         edit(SUM, "length[:, None].repeat(1, n_new)")),
        "3 tokens are there and four come: which four positions are that?",
    ),
    Mistake(
        "rows and tokens exchanged",
        "The result is (n_new, batch). A column must be added to a row, and the column is length.",
        (edit(SUM, "length + steps[:, None]"),),
        "Which of the two gets the new axis, so that rows stay rows?",
    ),
    Mistake(
        "lengths run along the new tokens",
        "length and the steps are added without a new axis, so that row b's length is added to "
        "token b. Where their numbers differ torch complains, where they are equal it does not.",
        (edit(SUM, "(length + steps).expand(len(length), n_new)"), edit(SUM, "length + steps")),
        "length is (batch,) and must run down the rows: length[:, None] is (batch, 1).",
    ),
    Mistake(
        "lengths tiled",
        "repeat lays the lengths one after another, 4, 1, 4, 1, and cutting them into rows mixes "
        "them. Each length has to stand n_new times side by side.",
        (edit(SUM, "length.repeat(n_new).view(len(length), n_new) + steps"),),
        "repeat or repeat_interleave? length[:, None] needs neither.",
    ),
    Mistake(
        "right for one row only",
        "length is used as a single number. With one row that works; a tensor of several lengths "
        "is no number, and the call fails.",
        (whole(SUM, "torch.arange(int(length), int(length) + n_new)[None]"),
         whole(SUM, "(length.item() + steps)[None]"),
         whole(SUM, "torch.arange(length, length + n_new)[None]")),
        "length has one entry for each row. Add all of them at once.",
    ),
    Mistake(
        "old positions too",
        "All positions from 0 to the last new one are returned; only the new tokens' are wanted.",
        (edit(SUM, "torch.arange(int(length.max()) + n_new).expand(len(length), -1)"),
         edit(SUM, "torch.arange(int(length[0]) + n_new).repeat(len(length), 1)")),
        "How many positions are there for n_new tokens?",
    ),
    Mistake(
        "last new token only",
        "Only the position of the last new token is returned; a chunk has several.",
        (edit(SUM, "length[:, None] + n_new - 1"), edit(SUM, "(length + n_new - 1)[:, None]")),
        "The result is (batch, n_new).",
    ),
    Mistake(
        "positions as floats",
        "The positions come out as floating-point numbers, as from torch.arange(0.0, ...) or a "
        "division; a position is a whole number, and bfloat16 has not even 257.",
        (edit(SUM, "length[:, None] + steps.float()"),
         edit(SUM, "(length[:, None] + steps).float()"),
         edit(SUM, "length[:, None].float() + steps")),
        "torch.arange of whole numbers gives whole numbers.",
    ),
    Mistake(
        "length moved on the way",
        "The positions are right, and length has been changed: += on a tensor changes it for "
        "everyone who holds it, the cache included. It is append's task to count.",
        (edit(STEPS, f"length += n_new\n    {STEPS} - n_new"),),
        "length = length + n_new makes a new tensor, length += n_new does not.",
    ),
)  # fmt: skip

EXERCISE = Exercise(
    name="decode_positions",
    lesson="07",
    title="Where new tokens stand",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="For one row it is a count that begins at its length. For several, write the table "
        "for rows of 4 and 1 tokens and two new ones: what is added to what?",
        outline="torch.arange(n_new) are the steps 0, 1, 2, ... Make a column of length by "
        "length[:, None] and add: (batch, 1) and (n_new,) give (batch, n_new).",
    ),
    difficulty="easy",
    importance="RoPE and the mask both read these positions; one off, and a model with a cache "
    "writes another text than without.",
    minutes=5,
    setup="import torch\nfrom torch import Tensor",
    reference={"decode_positions": plain_cache.decode_positions},
)
