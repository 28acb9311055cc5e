"""Lesson 06, third part: which keys a query may look at."""

from __future__ import annotations

import torch
from torch import Tensor

from llama_course.checks.exercise import EXACT, Case, Exercise, Hints, Mistake, edit
from llama_course.checks.scripts import calls, shapes
from llama_course.model.attention import causal_mask as library_mask

STARTER = '''
def causal_mask(q_positions: Tensor, k_positions: Tensor) -> Tensor:
    """Which keys each query may look at: those at its own position and at earlier ones.

    q_positions: (q_len,), or (batch, q_len) where each row of the batch has positions of its own.
    k_positions: (k_len,), or (batch, k_len), likewise. Both are int64.

    The result is bool, and True means: may look.
    Its shape is (q_len, k_len), or (batch, q_len, k_len) where one of the two, or both, have a
    batch axis.
    Entry [..., i, j] is True where key j's position is not greater than query i's.
    Positions count, not indices: they may begin anywhere, leave gaps, repeat and come in any order.
    They lie between 0 and 2 ** 62; a key's may also be the largest int64, which a cache gives to
    slots that hold no token.
    q_positions and k_positions are not changed.
    """
    raise NotImplementedError
'''

SOLUTION = """
def causal_mask(q_positions: Tensor, k_positions: Tensor) -> Tensor:
    queries = q_positions.unsqueeze(-1)  # (.., q_len, 1)
    keys = k_positions.unsqueeze(-2)  # (.., 1, k_len)
    return keys <= queries
"""

WHO = "Which keys each query may look at: those at its own position and at earlier ones."
BOOL = "The result is bool, and True means: may look."
SHAPE = (
    "Its shape is (q_len, k_len), or (batch, q_len, k_len) where one of the two, or both, have a "
    "batch axis."
)
ENTRY = "Entry [..., i, j] is True where key j's position is not greater than query i's."
COUNT = (
    "Positions count, not indices: they may begin anywhere, leave gaps, repeat and come in any "
    "order."
)
LARGE = (
    "They lie between 0 and 2 ** 62; a key's may also be the largest int64, which a cache gives to "
    "slots that hold no token."
)
INPUTS = "q_positions and k_positions are not changed."

EMPTY = torch.iinfo(torch.int64).max  # the position of a slot that holds no token


def at(*positions: int | list[int]) -> Tensor:
    """Positions."""
    return torch.tensor(positions)


def steps(start: int, stop: int) -> Tensor:
    """Positions in a row."""
    return torch.arange(start, stop)


def marks(*rows: str) -> Tensor:
    """A mask as it is drawn: x where a query may look."""
    return torch.tensor([[mark == "x" for mark in row] for row in rows])


CASES = (
    Case(
        "The shape: as many rows as queries, as many columns as keys",
        "shape",
        SHAPE,
        "queries and keys exchanged, a square made of one length",
        shapes(
            "causal_mask",
            (steps(0, 1), steps(0, 1)),
            (steps(0, 4), steps(0, 4)),
            (steps(3, 5), steps(0, 5)),
            (steps(4, 5), steps(0, 5)),
            (steps(0, 5), steps(0, 2)),
        ),
        tolerance=EXACT,
    ),
    Case(
        "The shape where both have a batch axis, and where one has",
        "shape",
        SHAPE,
        "a batch axis lost, an axis too many",
        shapes(
            "causal_mask",
            (at([0, 1], [4, 5], [2, 3]), at([0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 2, 3])),
            (at([0, 1], [4, 5], [2, 3]), steps(0, 6)),
            (steps(0, 2), at([0, 1, 2], [0, 1, EMPTY])),
        ),
        tolerance=EXACT,
    ),
    Case(
        "By hand: three tokens from the beginning",
        "example",
        WHO,
        "the diagonal left out, the triangle upside down, numbers in place of truth values",
        calls("causal_mask", steps(0, 3), steps(0, 3)),
        expect={"the result of causal_mask": marks("x..", "xx.", "xxx")},
        tolerance=EXACT,
    ),
    Case(
        "By hand: two new tokens after three that were read before",
        "example",
        ENTRY,
        "a triangle aligned with the first key",
        calls("causal_mask", steps(3, 5), steps(0, 5)),
        expect={"the result of causal_mask": marks("xxxx.", "xxxxx")},
        tolerance=EXACT,
    ),
    Case(
        "A single new token sees all tokens before it, and itself",
        "property",
        WHO,
        "a query that is taken for the first",
        calls("causal_mask", at(4), steps(0, 5)),
        tolerance=EXACT,
    ),
    Case(
        "All positions moved by 100: the same mask",
        "property",
        COUNT,
        "positions of keys or queries that are counted from 0",
        calls("causal_mask", steps(103, 105), steps(100, 105)),
        tolerance=EXACT,
    ),
    Case(
        "More keys than the last query may see",
        "property",
        COUNT,
        "a triangle aligned with the last key",
        calls("causal_mask", steps(1, 3), steps(0, 6)),
        tolerance=EXACT,
    ),
    Case(
        "Gaps, repetitions, another order",
        "property",
        COUNT,
        "indices in place of positions",
        calls("causal_mask", at(7, 2, 2, 30), at(5, 2, 40, 2, 7, 0)),
        tolerance=EXACT,
    ),
    Case(
        "Each row of the batch has its own positions",
        "property",
        SHAPE,
        "the first row's positions for all",
        calls("causal_mask", at([2, 3, 4], [0, 1, 2], [9, 7, 8]),
              at([0, 1, 2], [2, 1, 0], [7, 8, 9])),
        tolerance=EXACT,
    ),
    Case(
        "Only the queries have a batch axis, or only the keys",
        "edge",
        SHAPE,
        "axes counted from the left",
        lambda answer: (
            (name, answer.causal_mask(queries, keys))
            for name, queries, keys in (
                ("the result for rows of queries", at([3, 4], [0, 1]), steps(0, 5)),
                ("the result for rows of keys", steps(1, 3), at([0, 1, 2, EMPTY], [1, 2, 3, 0])),
            )
        ),
        tolerance=EXACT,
    ),
    Case(
        "As many rows as queries and as keys",
        "edge",
        SHAPE,
        "a batch that is laid along the queries or the keys",
        calls("causal_mask", at([0, 5], [3, 1]), at([1, 0], [4, 3])),
        tolerance=EXACT,
    ),
    Case(
        "Slots that hold no token, and positions beyond the whole numbers of floats",
        "edge",
        LARGE,
        "a detour through floating point, a number that runs over",
        calls("causal_mask", at(2, 2**25, 2**60), at(0, EMPTY, 3, 2**25 + 1, 2**60, 2**60 + 1)),
        tolerance=EXACT,
    ),
    Case(
        "All keys later than all queries: nothing to look at",
        "edge",
        ENTRY,
        "a diagonal that is always True",
        calls("causal_mask", steps(0, 3), steps(5, 8)),
        tolerance=EXACT,
    ),
    Case(
        "q_positions and k_positions are afterwards what they were",
        "inputs",
        INPUTS,
        "axes added in place",
        calls("causal_mask", steps(3, 5), steps(0, 5)),
        tolerance=EXACT,
    ),
)  # fmt: skip

QUERIES = "q_positions.unsqueeze(-1)"
KEYS = "k_positions.unsqueeze(-2)"
RESULT = "keys <= queries"
BODY = SOLUTION.split("\n", 2)[2].strip()  # all three lines
FULL = "torch.broadcast_shapes(q_positions.unsqueeze(-1).shape, k_positions.unsqueeze(-2).shape)"
TABLE = "q_positions.shape[-1], k_positions.shape[-1]"
LENGTHS = "len(q_positions), len(k_positions)"
FIRST, FIRST_KEY = "q_positions.flatten()", "k_positions.flatten()"
END = "k_positions.shape[-1] - q_positions.shape[-1]"
OTHER_WAY = "q_positions.unsqueeze(-2)", "k_positions.unsqueeze(-1)"

MISTAKES = (
    Mistake(
        "mask off by one, itself left out",
        "The comparison is strict, so that no token sees itself, and the first one sees nothing.",
        (edit(RESULT, "keys < queries"),),
        "May a token look at its own position? Which sign says so?",
    ),
    Mistake(
        "mask off by one, the next token seen",
        "Each query sees one position too many, the next one: that is the token it has to predict.",
        (
            edit(RESULT, "keys <= queries + 1"),
            edit(RESULT, "keys - 1 <= queries"),
        ),
        "What does the last row but one look like for three tokens?",
    ),
    Mistake(
        "mask inverted",
        "True stands where a query may not look. Some libraries have it so; here True means: may "
        "look.",
        (
            edit(RESULT, "keys > queries"),
        ),
        "What should the row of the last of three tokens be?",
    ),
    Mistake(
        "comparison turned round",
        "The comparison points the wrong way: each query sees itself and everything after it, and "
        "nothing before it.",
        (
            edit(RESULT, "keys >= queries"),
        ),
        "May a query look at a key whose position is smaller than its own?",
    ),
    Mistake(
        "queries and keys exchanged",
        "Rows are keys and columns are queries: the mask is transposed. For as many queries as "
        "keys that looks into the future.",
        (
            edit(QUERIES, OTHER_WAY[0], KEYS, OTHER_WAY[1]),
            edit(RESULT, "(keys <= queries).mT"),
        ),
        "Which of the two gets its new axis last, so that it runs down the rows?",
    ),
    Mistake(
        "indices for positions",
        "The mask is a triangle of ones made of the two lengths alone, aligned with the first key: "
        "a chunk of new tokens then does not see what was read before it.",
        (
            edit(BODY, f"return torch.ones({TABLE}).tril().bool()"),
            edit(BODY, f"return torch.ones({FULL}).tril().bool()"),
            edit(BODY, f"return torch.ones({LENGTHS}).tril().bool()"),
        ),
        "Where does your function read the numbers in q_positions?",
    ),
    Mistake(
        "indices, aligned with the end",
        "The mask is a triangle made of the two lengths, with the last query at the last key: "
        "right for one text in a cache, and wrong where positions have gaps, or slots are empty.",
        (
            edit(BODY, f"return torch.ones({TABLE}).tril({END}).bool()"),
            edit(BODY, f"return torch.ones({FULL}).tril({END}).bool()"),
            edit(BODY, f"return torch.ones({LENGTHS}).tril(len(k_positions) - len(q_positions))"
                       ".bool()"),
        ),
        "Where does your function read the numbers in q_positions?",
    ),
    Mistake(
        "triangle from the first position",
        "The mask is a triangle moved by one number, the position of the first query, as where a "
        "model keeps one start_pos: right for one text without gaps, and wrong for rows of unequal "
        "length.",
        (
            edit(BODY, f"return torch.ones({TABLE}).tril(int({FIRST}[0])).bool()"),
            edit(BODY, f"return torch.ones({FULL}).tril(int({FIRST}[0])).bool()"),
            edit(BODY, f"return torch.ones({TABLE}).tril(int({FIRST}[0] - {FIRST_KEY}[0])).bool()"),
            edit(BODY, f"return torch.ones({LENGTHS}).tril(int(q_positions[0])).bool()"),
        ),
        "How many numbers of q_positions does your function read?",
    ),
    Mistake(
        "compared entry by entry",
        "The positions are compared as they come, the first query with the first key, the second "
        "with the second; every query has to meet every key, and that is a table.",
        (edit(BODY, "return k_positions <= q_positions"),),
        "How many axes has a table, and how many has each of your two tensors?",
    ),
    Mistake(
        "queries counted from 0",
        "The queries' positions are taken to be 0, 1, 2, ...: new tokens after a long text are "
        "treated as its first ones.",
        (
            edit(QUERIES, "torch.arange(q_positions.shape[-1]).unsqueeze(-1)"),
            edit(QUERIES, "torch.arange(q_positions.shape[-1]).expand(q_positions.shape)"
                 ".unsqueeze(-1)"),
            edit(QUERIES, "(q_positions - q_positions[..., :1]).unsqueeze(-1)"),
        ),
        "Where does your function read the numbers in q_positions?",
    ),
    Mistake(
        "keys counted from 0",
        "The keys' positions are taken to be 0, 1, 2, ...: that is their place in the tensor, not "
        "in the text.",
        (
            edit(BODY, "return torch.arange(k_positions.shape[-1]) <= q_positions.unsqueeze(-1)"),
            edit(BODY, "return torch.arange(k_positions.shape[-1]).expand(k_positions.shape)"
                 ".unsqueeze(-2) <= q_positions.unsqueeze(-1)"),
            edit(BODY, "return (k_positions - k_positions[..., :1]).unsqueeze(-2) <= "
                 "q_positions.unsqueeze(-1)"),
        ),
        "Where does your function read the numbers in k_positions?",
    ),
    Mistake(
        "one limit for all queries",
        "All queries of the call get one and the same limit, the last position or the first, so "
        "that the tokens of a chunk see each other's future, or not each other.",
        (
            edit(RESULT, "(keys <= queries[..., -1:, :]).expand(*torch.broadcast_shapes("
                 "queries.shape, keys.shape))"),
            edit(RESULT, "(keys <= queries.amax(-2, keepdim=True)).expand(*torch.broadcast_shapes("
                 "queries.shape, keys.shape))"),
            edit(RESULT, "(keys <= queries[..., :1, :]).expand(*torch.broadcast_shapes("
                 "queries.shape, keys.shape))"),
            edit(RESULT, "(keys <= queries.amin(-2, keepdim=True)).expand(*torch.broadcast_shapes("
                 "queries.shape, keys.shape))"),
        ),
        "Two new tokens: may the first look at the second?",
    ),
    Mistake(
        "no mask",
        "Every query may look at everything. That is an encoder's mask, and a model trained so "
        "reads the answer from the next position.",
        (
            edit(BODY, f"return torch.ones({FULL}).bool()"),
            edit(BODY, f"return torch.ones({TABLE}).bool()"),
        ),
        "May the first token look at the second?",
    ),
    Mistake(
        "additive mask",
        "The mask is made of zeros and of minus infinity or a large negative number, to be added "
        "to the scores; here it is bool.",
        (
            edit(RESULT, "torch.where(keys <= queries, 0.0, -torch.inf)"),
            edit(RESULT, "torch.where(keys <= queries, 0.0, -1e9)"),
            edit(RESULT, "torch.where(keys <= queries, 0.0, -1e4)"),
            edit(RESULT, "torch.where(keys <= queries, 0.0, torch.finfo(torch.float32).min)"),
            edit(BODY, f"return torch.full(({TABLE}), -torch.inf).triu(1)"),
            edit(BODY, f"return torch.full(({LENGTHS}), -torch.inf).triu(1)"),
        ),
        "What is the dtype of a comparison?",
    ),
    Mistake(
        "numbers for truth values",
        "The entries are 1 and 0 in place of True and False: as an index, or under ~, they mean "
        "something else.",
        (
            edit(RESULT, "(keys <= queries).float()"),
            edit(RESULT, "(keys <= queries).int()"),
            edit(RESULT, "(keys <= queries).long()"),
            edit(RESULT, "(keys <= queries).to(torch.uint8)"),
        ),
        "What is the dtype of a comparison?",
    ),
    Mistake(
        "right without a batch only",
        "The new axes are counted from the left, as in q[:, None] and k[None, :]: right for "
        "(q_len,) and (k_len,), and wrong where there is a batch.",
        (
            edit(QUERIES, "q_positions[:, None]", KEYS, "k_positions[None, :]"),
            edit(QUERIES, "q_positions.view(-1, 1)", KEYS, "k_positions.view(1, -1)"),
        ),
        "Count the new axes from the right: last for queries, last but one for keys.",
    ),
    Mistake(
        "positions ignored beyond the first row",
        "Of positions for a batch only the first row is used; each row has positions of its own.",
        (
            edit(RESULT, "(keys[:1] if keys.dim() == 3 else keys) <= (queries[:1] if queries.dim() "
                 "== 3 else queries)"),
            edit(RESULT, "((keys[:1] if keys.dim() == 3 else keys) <= (queries[:1] if queries.dim()"
                 " == 3 else queries)).expand(*torch.broadcast_shapes(queries.shape, keys.shape))"),
        ),
        "Look for [0] in your function.",
    ),
    Mistake(
        "an axis for the heads",
        "The mask has got an axis for the heads already; it is the same for all of them, and "
        "whoever attends adds it.",
        (
            edit(RESULT, "(keys <= queries).unsqueeze(-3)"),
            edit(RESULT, "(keys <= queries)[None, None]"),
            edit(RESULT, "(keys <= queries)[None]"),
        ),
        "How many axes should the result have?",
    ),
    Mistake(
        "compared in floating point",
        "The positions are compared as floats, which have no odd numbers from some size on: beyond "
        "16,777,216 in float32.",
        (
            edit(RESULT, "keys.float() <= queries.float()"),
            edit(RESULT, "keys.double() <= queries.double()"),
        ),
        "Whole numbers can be compared as they are.",
    ),
)  # fmt: skip

EXERCISE = Exercise(
    name="causal_mask",
    lesson="06",
    title="Who may look at whom",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="Every query is compared with every key: that is a table. Which of the two runs down "
        "its rows, and where does it need a new axis for that?",
        outline="Give the queries a new last axis and the keys a new last axis but one, counted "
        "from the right, so that a batch stays in front. Then one comparison makes the table.",
    ),
    difficulty="easy",
    importance="Prefill, chunks, decoding and batches of unequal length (lesson 07) all use this "
    "one mask.",
    minutes=10,
    setup="import torch\nfrom torch import Tensor",
    forbidden=("transformers.*",),
    reference={"causal_mask": library_mask},
)
