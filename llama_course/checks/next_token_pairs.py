"""Lesson 03, first part: what a model reads, and what it should say next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from llama_course.checks.exercise import EXACT, Case, Exercise, Hints, Mistake, edit
from llama_course.checks.scripts import calls, spread_out

STARTER = '''
def next_token_pairs(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The inputs of a model, and at each place the token that should come next.

    tokens: (seq,) or (batch, seq), int64; seq is 1 or more.

    The result is a tuple of two tensors, (inputs, targets), of the dtype of tokens.
    Both are one token shorter than tokens along the last axis; the other axis stays.
    inputs[..., s] is tokens[..., s], and targets[..., s] is the token after it, tokens[..., s + 1].
    Every token but the last is an input, and every token but the first is a target.
    A row of one token has no next one: then both results are empty.
    tokens is not changed.
    """
    raise NotImplementedError
'''

SOLUTION = """
def next_token_pairs(tokens: Tensor) -> tuple[Tensor, Tensor]:
    inputs = tokens[..., :-1]
    targets = tokens[..., 1:]
    return inputs, targets
"""

TUPLE = "The result is a tuple of two tensors, (inputs, targets), of the dtype of tokens."
SHORTER = "Both are one token shorter than tokens along the last axis; the other axis stays."
NEXT = (
    "inputs[..., s] is tokens[..., s], and targets[..., s] is the token after it, "
    "tokens[..., s + 1]."
)
EVERY = "Every token but the last is an input, and every token but the first is a target."
ONE = "A row of one token has no next one: then both results are empty."


def both(tokens: list[Any]) -> Any:
    """A script that names the two results for a list of ids, or for a list of rows."""

    def script(answer: Any) -> Iterator[tuple[str, Any]]:
        result = answer.next_token_pairs(torch.tensor(tokens))
        yield "the result", result
        inputs, targets = result
        yield "inputs", inputs
        yield "targets", targets

    return script


def sizes(*inputs: torch.Tensor) -> Any:
    """A script that compares shape and dtype of both results; values are other cases' task."""

    def script(answer: Any) -> Iterator[tuple[str, Any]]:
        for tokens in inputs:
            result = answer.next_token_pairs(tokens)
            if isinstance(result, tuple | list):
                result = [torch.zeros_like(r) if torch.is_tensor(r) else r for r in result]
            yield f"the result for {tuple(tokens.shape)}", result

    return script


def one_above(answer: Any) -> Iterator[tuple[str, Any]]:
    """Tokens that count upwards: the target is always one more than the input."""
    inputs, targets = answer.next_token_pairs(torch.arange(100, 140).view(4, 10))
    yield "targets minus inputs", targets - inputs
    yield "how many inputs there are", inputs.numel()


ROWS, SQUARE = [[3, 1, 4, 1], [5, 9, 2, 6]], [[11, 12, 13], [21, 22, 23], [31, 32, 33]]
ids = torch.arange

CASES = (
    Case("A row of ids, and a batch of rows: one token shorter", "shape", SHORTER,
         "an input that is not shortened, rows lost in place of tokens",
         sizes(ids(6), ids(12).view(3, 4), ids(5).view(1, 5)), dtype=None),
    Case("By hand: 5, 6, 7, 8 gives the inputs 5, 6, 7 and the targets 6, 7, 8", "example", NEXT,
         "a shift the wrong way, no shift", both([5, 6, 7, 8]), dtype=None, tolerance=EXACT,
         expect={"inputs": torch.tensor([5, 6, 7]), "targets": torch.tensor([6, 7, 8])}),
    Case("By hand: two rows, each shifted by itself", "example", NEXT,
         "a shift along the batch, a row that runs over into the next", both(ROWS), dtype=None,
         tolerance=EXACT,
         expect={"inputs": torch.tensor([[3, 1, 4], [5, 9, 2]]),
                 "targets": torch.tensor([[1, 4, 1], [9, 2, 6]])}),
    Case("In ids that count upwards, each target is one above its input", "property", EVERY,
         "no shift, a shift by two, every other token", one_above, dtype=None, tolerance=EXACT),
    Case("As many rows as tokens", "property", NEXT, "the first axis taken for the last",
         both(SQUARE), dtype=None, tolerance=EXACT),
    Case("The result is a tuple: inputs first, then targets", "property", TUPLE,
         "the other order, one tensor for both, another dtype", both([7, 7, 9]), dtype=None,
         tolerance=EXACT),
    Case("Ids that stand for padding or an end are ids like others", "edge", EVERY,
         "tokens dropped for their number", both([0, 1, 2, 0, 0, -100, 7]), dtype=None,
         tolerance=EXACT),
    Case("Two tokens make one pair", "edge", EVERY, "a window that needs more", both([8, 3]),
         dtype=None, tolerance=EXACT),
    Case("One token makes no pair, alone or in each row of a batch", "edge", ONE,
         "a result that is not empty, an axis that is lost",
         sizes(ids(1), ids(2).view(2, 1)), dtype=None, tolerance=EXACT),
    Case("Ids that do not lie side by side in memory", "edge", NEXT, "view() on such a layout",
         calls("next_token_pairs", spread_out(ids(12).view(4, 3)).T), dtype=None,
         tolerance=EXACT),
    Case("tokens is afterwards what it was", "inputs", "tokens is not changed.",
         "a shift made in place", both([4, 5, 6, 7]), dtype=None, tolerance=EXACT),
)  # fmt: skip

INPUTS, TARGETS, RESULT = "tokens[..., :-1]", "tokens[..., 1:]", "return inputs, targets"
LAST = "torch.full_like(tokens[..., :1], {})"


def pair(inputs: str, targets: str) -> tuple[str, ...]:
    """The solution with other slices."""
    return edit(f"inputs = {INPUTS}", f"inputs = {inputs}", f"targets = {TARGETS}",
                f"targets = {targets}")  # fmt: skip


MISTAKES = (
    Mistake(
        "targets shifted the wrong way",
        "The targets are the tokens before, not the tokens after: the model would learn to write "
        "backwards. It comes from mixing up [1:] and [:-1], or inputs and targets.",
        (pair("tokens[..., 1:]", "tokens[..., :-1]"),),
        "Your input is 5. In 5, 6, 7, 8, which token comes next?",
    ),
    Mistake(
        "no shift",
        "Inputs and targets are the same tokens, so the model is asked for what it has just read. "
        "Its loss falls to zero, and it has learned to copy.",
        (
            edit(TARGETS, "tokens[..., :-1]"),
            edit(INPUTS, "tokens[..., 1:]"),
            pair("tokens", "tokens"),
        ),
        "Print an input and its target. Are they one token apart?",
    ),
    Mistake(
        "input not shortened",
        "The targets are shifted, but the inputs still have their last token, for which there is "
        "no target: the two are not equally long.",
        (edit(INPUTS, "tokens"),),
        "How many pairs of neighbours do four tokens make?",
    ),
    Mistake(
        "targets not shifted",
        "The inputs are shortened, but the targets are all tokens from the first on: nothing is "
        "shifted, and the two are not equally long.",
        # Whole, not an edit: with inputs that are not shortened either it is "no shift".
        ("def next_token_pairs(tokens):\n    return tokens[..., :-1], tokens\n",),
        "What should follow the first token?",
    ),
    Mistake(
        "rolled round",
        "The targets are rolled, so that after a row's last token comes one from the front again; "
        "they are not neighbours in the text.",
        (
            pair("tokens", "torch.roll(tokens, -1, -1)"),
            pair("tokens", "torch.cat([tokens[..., 1:], tokens[..., :1]], -1)"),
            pair("tokens", "torch.roll(tokens, -1)"),
        ),
        "torch.roll brings what falls out on one side in again on the other.",
    ),
    Mistake(
        "rolled the wrong way",
        "torch.roll by +1 moves each token to the right, so what stands under an input is the "
        "token before it, and under the first one the last.",
        (
            pair("tokens", "torch.roll(tokens, 1, -1)"),
            pair("tokens[..., :-1]", "torch.roll(tokens, 1, -1)[..., :-1]"),
        ),
        "Print torch.roll(torch.tensor([5, 6, 7, 8]), 1).",
    ),
    Mistake(
        "a beginning put in front",
        "A beginning-of-sequence sign is put in front of the inputs, so that the first token is a "
        "target too. That is the tokenizer's task (bos=True); here nothing is added.",
        tuple(
            pair(f"torch.cat([{LAST.format(n)}, tokens[..., :-1]], -1)", "tokens")
            for n in (1, 0, 2, -1, -100)
        ),
        "Which number in your inputs does not stand in tokens?",
    ),
    Mistake(
        "cut in the middle",
        "The first half of the tokens is the input and the second half the target, as in "
        "translation; here every token is the target of the one before it.",
        (pair("tokens[..., : tokens.shape[-1] // 2]", "tokens[..., tokens.shape[-1] // 2 :]"),),
        "In 5, 6, 7, 8: what should come after 5?",
    ),
    Mistake(
        "padded in place of shortened",
        "The inputs keep their last token and the targets are filled up with a number, or with the "
        "last token again, so both are as long as tokens. Some training code does so; here both "
        "are one shorter.",
        (
            *(
                pair("tokens", f"torch.cat([tokens[..., 1:], {LAST.format(n)}], -1)")
                for n in (-100, 0, -1, 1, 2)
            ),
            pair("tokens", "torch.cat([tokens[..., 1:], tokens[..., -1:]], -1)"),
        ),
        "What follows the last token? If you do not know, it is no input either.",
    ),
    Mistake(
        "shifted by two",
        "A token lies between each input and its target: the shift is made twice, perhaps once "
        "here and once more in the line before.",
        (
            pair("tokens[..., :-2]", "tokens[..., 2:]"),
            edit(TARGETS, "tokens[..., 2:]"),
        ),
        "How far apart are 0 and the index at which your targets begin?",
    ),
    Mistake(
        "shifted along the batch",
        "The slices cut the first axis. With a batch that is the rows: the target of one row is "
        "then the next row.",
        (pair("tokens[:-1]", "tokens[1:]"),),
        "tokens[1:] cuts the first axis; tokens[..., 1:] cuts the last.",
    ),
    Mistake(
        "every other token",
        "The tokens are dealt into inputs and targets in turn, as if they were separate pairs; a "
        "token is the target of the one before and the input for the one after.",
        (
            pair("tokens[..., 0::2]", "tokens[..., 1::2]"),
            pair("tokens[..., : tokens.shape[-1] // 2 * 2 : 2]", "tokens[..., 1::2]"),
        ),
        "In 5, 6, 7, 8: is 6 an input, a target, or both?",
    ),
    Mistake(
        "only the last token asked for",
        "All tokens but one are the input, and only the last one is a target. A language model "
        "learns at every place at once.",
        (
            edit(TARGETS, "tokens[..., -1:]"),
            edit(TARGETS, "tokens[..., -1]"),
        ),
        "How many targets does a row of four tokens have?",
    ),
    Mistake(
        "first token dropped",
        "The first token is dropped before the shift, as a beginning-of-sequence sign might be; it "
        "is an input like the others.",
        (pair("tokens[..., 1:-1]", "tokens[..., 2:]"),),
        "Which token is never an input in your result?",
    ),
    Mistake(
        "rows run together",
        "The batch is flattened first, so that the last token of a row is followed by the first of "
        "the next one, which it does not belong to.",
        (pair("tokens.reshape(-1)[:-1]", "tokens.reshape(-1)[1:]"),),
        "What should come after the last token of the first row?",
    ),
    Mistake(
        "one tensor for both",
        "Inputs and targets are stacked into one tensor; the result should be a tuple of two.",
        (
            edit(RESULT, "return torch.stack([inputs, targets])"),
            edit(RESULT, "return torch.stack([inputs, targets], dim=-1)"),
        ),
        "A comma between two results makes a tuple.",
    ),
    Mistake(
        "targets as numbers with a fraction",
        "The targets are floats. They are numbers of tokens, which index the logits, so they stay "
        "int64 like tokens.",
        (edit(RESULT, "return inputs, targets.float()"),),
        "Print targets.dtype.",
    ),
)

EXERCISE = Exercise(
    name="next_token_pairs",
    lesson="03",
    title="Inputs and targets",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="Write 5, 6, 7, 8 on paper, and under each token the one that follows it. What "
        "stands under the 8?",
        outline="The inputs are all tokens but the last, the targets all but the first: two slices "
        "of the last axis, which `...` reaches however many axes there are.",
    ),
    difficulty="easy",
    importance="Every batch of training and every loss on a text begins with it.",
    minutes=5,
    setup="import torch\nfrom torch import Tensor",
)
