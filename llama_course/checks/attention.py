"""Lesson 06, fourth part: what each query takes from the values that it may look at."""

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
from llama_course.checks.scripts import calls, gradients, normal, shapes

STARTER = '''
def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Scaled dot-product attention in every head: softmax(q k^T / sqrt(head_dim)) v.

    q: (batch, heads, q_len, head_dim). k and v: (batch, heads, k_len, head_dim). All three have one
    dtype: float32, bfloat16 or float16.
    mask: bool, (q_len, k_len), (batch, q_len, k_len) or (batch, 1, q_len, k_len); True means: may
    look. It is the same for all heads.

    The result has the shape and the dtype of q.
    The score of a query and a key is their dot product divided by the root of head_dim.
    A query's weights are the softmax of its scores over the keys that it may look at.
    Its result is the sum of the values, each times its weight; every head works by itself.
    Hidden keys count for nothing, however large their scores are, and however small the others'.
    In float32, scores may lie anywhere from -30,000 to 30,000: no exponential overflows.
    A query that may look at nothing gets zeros, and no gradient becomes NaN because of it.
    The softmax (exponentials, sum, quotient) is computed in float32, and so is the sum of the
    values; finished weights may be rounded to the dtype of q in between.
    q, k, v and mask are not changed, and may lie in memory in any order.
    Gradients flow to q, k and v.
    """
    raise NotImplementedError
'''

SOLUTION = """
def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    if mask.dim() == 3:
        mask = mask.unsqueeze(1)  # (batch, 1, q_len, k_len)
    sees = mask.any(dim=-1, keepdim=True)  # False where a query may look at nothing
    scores = q.float() @ k.float().transpose(-2, -1) / math.sqrt(q.shape[-1])
    # A row of minus infinities has no softmax, so such a row is left as it is.
    scores = scores.masked_fill(~mask & sees, -math.inf)
    weights = torch.softmax(scores, dim=-1)  # (batch, heads, q_len, k_len)
    out = weights @ v.float()
    return out.masked_fill(~sees, 0.0).to(q.dtype)
"""

SHAPE = "The result has the shape and the dtype of q."
SCORE = "The score of a query and a key is their dot product divided by the root of head_dim."
SOFTMAX = "A query's weights are the softmax of its scores over the keys that it may look at."
SUM = "Its result is the sum of the values, each times its weight; every head works by itself."
MASK = (
    "mask: bool, (q_len, k_len), (batch, q_len, k_len) or (batch, 1, q_len, k_len); True means: "
    "may look."
)
HIDDEN = (
    "Hidden keys count for nothing, however large their scores are, and however small the others'."
)
LARGE = "In float32, scores may lie anywhere from -30,000 to 30,000: no exponential overflows."
BLIND = "A query that may look at nothing gets zeros, and no gradient becomes NaN because of it."
WIDE = (
    "The softmax (exponentials, sum, quotient) is computed in float32, and so is the sum of the "
    "values; finished weights may be rounded to the dtype of q in between."
)
INPUTS = "q, k, v and mask are not changed, and may lie in memory in any order."
FLOW = "Gradients flow to q, k and v."

BF16, FP16 = torch.bfloat16, torch.float16


def marks(*rows: str) -> Tensor:
    """A mask as it is drawn: x where a query may look."""
    return torch.tensor([[mark == "x" for mark in row] for row in rows])


def causal(q_len: int, k_len: int) -> Tensor:
    """The mask of the last `q_len` of `k_len` tokens."""
    return torch.ones(q_len, k_len).tril(k_len - q_len).bool()


def some(
    batch: int, heads: int, q_len: int, k_len: int, head_dim: int, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values."""
    return (
        normal(batch, heads, q_len, head_dim, seed=seed, scale=1.5),
        normal(batch, heads, k_len, head_dim, seed=seed + 1, scale=1.5),
        normal(batch, heads, k_len, head_dim, seed=seed + 2),
    )


def along(numbers: list[float], head_dim: int) -> Tensor:
    """Vectors whose first component is given and whose others are 0: (1, 1, len, head_dim)."""
    made = torch.zeros(1, 1, len(numbers), head_dim)
    made[0, 0, :, 0] = torch.tensor(numbers)
    return made


def rounded(
    dtype: torch.dtype, ahead: int, behind: int, gap: float, values: list[float]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One query, `ahead` keys of score 0 and value 0, and `behind` keys of score -`gap`.

    The scores are exact in `dtype`, in whatever order they are computed. The weights are nearly
    exact in it, so rounding them changes no result; but an exponential, or the sum, or a
    logarithm, that is rounded to `dtype` on the way brings each result to its neighbour.
    """
    keys = along([0.0] * ahead + [-gap] * behind, 16)
    v = torch.zeros(1, 1, ahead + behind, 16)
    v[:, :, ahead:, : len(values)] = torch.tensor(values)
    mask = torch.ones(1, ahead + behind, dtype=torch.bool)
    return along([4.0], 16).to(dtype), keys.to(dtype), v.to(dtype), mask


THREE_MASKS = tuple(
    (*some(2, 2, 3, 4, 8, seed=10), mask)
    for mask in (
        marks("x..x", "xx..", ".xxx"),
        torch.stack((marks("x..x", "xx..", ".xxx"), marks("xxxx", "..x.", "xx.x"))),
        torch.stack((marks("x..x", "xx..", ".xxx"), marks("xxxx", "..x.", "xx.x")))[:, None],
    )
)


def three_masks(answer: Any) -> Iterator[tuple[str, Any]]:
    """The three shapes that a mask may have."""
    for args in THREE_MASKS:
        shape = tuple(args[3].shape)
        yield f"the result for a mask of shape {shape}", answer.attention(*args)


def rows_of_one(answer: Any) -> Iterator[tuple[str, Any]]:
    """One new token for each of two texts, in three heads: the masks of a decoding step."""
    mask = torch.stack((marks("xxx."), marks("x...")))
    args = some(2, 3, 1, 4, 8, seed=70)
    for kind in (mask, mask[:, None]):
        yield f"the result for a mask of shape {tuple(kind.shape)}", answer.attention(*args, kind)


def unchanged(answer: Any) -> Iterator[tuple[str, Any]]:
    """Masks of each kind, also where a query sees nothing and a repair may write into the mask."""
    blind = marks("x..x", "....", ".xxx")
    for mask in (THREE_MASKS[2][3], blind, blind.expand(2, -1, -1).clone()):
        name = f"the result for a mask of shape {tuple(mask.shape)}"
        yield name, answer.attention(*some(2, 2, 3, 4, 8, seed=36), mask)


def many_shapes(answer: Any) -> Iterator[tuple[str, Any]]:
    """Chunks, one query, one key, roots that are no whole numbers."""
    for q_len, k_len, head_dim in ((2, 5, 6), (1, 7, 8), (1, 1, 4), (5, 1, 2), (3, 4, 4)):
        args = some(1, 2, q_len, k_len, head_dim, seed=40 + q_len)
        mask = causal(q_len, k_len) if q_len <= k_len else torch.ones(q_len, k_len).bool()
        name = f"the result for {q_len} queries, {k_len} keys, heads of {head_dim}"
        yield name, answer.attention(*args, mask)


def blind_gradients(answer: Any) -> Iterator[tuple[str, Any]]:
    """A batch in which one query sees nothing."""
    args = some(1, 2, 3, 4, 8, seed=60)
    return gradients("attention", *args, marks("x.x.", "....", "xxxx"))(answer)


CASES = (
    Case(
        "The shape of q: one token, several, a chunk of new tokens, a batch",
        "shape",
        SHAPE,
        "heads and tokens exchanged, weights returned, a square from one length",
        shapes(
            "attention",
            (*some(1, 1, 1, 1, 4, seed=1), causal(1, 1)),
            (*some(1, 3, 5, 5, 8, seed=2), causal(5, 5)),
            (*some(2, 3, 2, 5, 4, seed=3), causal(2, 5)),
            (*some(2, 2, 1, 6, 4, seed=4), causal(1, 6)),
        ),
    ),
    Case(
        "The shape of q for masks that have a batch axis",
        "shape",
        MASK,
        "a result with an axis too many",
        shapes("attention", *THREE_MASKS),
    ),
    Case(
        "bfloat16 gives bfloat16",
        "shape",
        SHAPE,
        "a result that is left in float32",
        shapes("attention", (*(t.to(BF16) for t in some(1, 2, 3, 3, 8, seed=5)), causal(3, 3))),
        dtype=BF16,
    ),
    Case(
        "By hand: scores 0 and log 3 give the weights 1/4 and 3/4",
        "example",
        SUM,
        "no scale or another one, no softmax, k and v mixed up",
        calls(
            "attention",
            torch.tensor([2.0, 0, 0, 0]).reshape(1, 1, 1, 4),
            torch.tensor([[0.0, 5, 0, 0], [1.0986123, 0, 0, 7]])[None, None],
            torch.tensor([[8.0, 0, 4, 0], [0, 4, 4, 0]])[None, None],
            torch.ones(1, 2, dtype=torch.bool),
        ),
        expect={"the result of attention": torch.tensor([2.0, 3, 4, 0]).reshape(1, 1, 1, 4)},
    ),
    Case(
        "By hand: the second key is hidden, so the first value is all",
        "example",
        SOFTMAX,
        "a mask that is turned round, forgotten, or put on after the softmax",
        calls(
            "attention",
            torch.tensor([2.0, 0, 0, 0]).reshape(1, 1, 1, 4),
            torch.tensor([[0.0, 5, 0, 0], [1.0986123, 0, 0, 7]])[None, None],
            torch.tensor([[8.0, 0, 4, 0], [0, 4, 4, 0]])[None, None],
            torch.tensor([[True, False]]),
        ),
        expect={"the result of attention": torch.tensor([8.0, 0, 4, 0]).reshape(1, 1, 1, 4)},
    ),
    Case(
        "Equal scores: the mean of the values in sight",
        "property",
        SOFTMAX,
        "weights that do not sum to one over the keys in sight",
        calls("attention", torch.zeros(1, 1, 4, 4), *some(1, 1, 4, 4, 4, seed=6)[1:], causal(4, 4)),
    ),
    Case(
        "The scale counts the components of one head, and nothing else",
        "property",
        SCORE,
        "the root of the model's width, of the number of heads, of the number of tokens",
        lambda answer: (
            (f"the result for heads of {d}", answer.attention(*some(1, 3, 2, 2, d, seed=7),
                                                              causal(2, 2)))
            for d in (5, 9, 64)
        ),
    ),
    Case(
        "Every head works by itself",
        "property",
        SUM,
        "a softmax over the heads, heads mixed",
        calls("attention", *some(1, 4, 4, 4, 4, seed=8), causal(4, 4)),
    ),
    Case(
        "A mask for all, a mask for each row of the batch, and one with an axis for the heads",
        "property",
        MASK,
        "rows of the batch laid along the heads, the first row's mask for all",
        three_masks,
    ),
    Case(
        "The mask is the one that is given, not a triangle",
        "property",
        SOFTMAX,
        "a causal mask made inside",
        calls("attention", *some(1, 2, 3, 5, 8, seed=9), marks("..xx.", "x...x", "xxxxx")),
    ),
    Case(
        "The reference's numbers in float32: seven tokens, three heads of sixteen",
        "float32",
        SUM,
        "anything else in the formula",
        calls("attention", *some(2, 3, 7, 7, 16, seed=20), causal(7, 7)),
    ),
    Case(
        "A chunk of new tokens, a single one, more queries than keys",
        "float32",
        SUM,
        "a form that needs as many queries as keys",
        many_shapes,
    ),
    Case(
        "In bfloat16: the softmax in float32, bit for bit",
        "low precision",
        WIDE,
        "exponentials, their sum or their quotient in bfloat16",
        calls("attention", *rounded(BF16, 17, 22, 1.9375, [1.015625, 1.046875, 1.1640625])),
        dtype=BF16,
        tolerance=EXACT,
    ),
    Case(
        "In float16: the softmax in float32, bit for bit",
        "low precision",
        WIDE,
        "exponentials, their sum or their quotient in float16",
        calls("attention", *rounded(FP16, 33, 14, 0.46875, [1.046875, 1.0859375, 1.140625])),
        dtype=FP16,
        tolerance=EXACT,
    ),
    Case(
        "A query that may look at nothing gets zeros, and its neighbours what they should",
        "edge",
        BLIND,
        "NaN, or a mean of all values",
        calls("attention", *some(1, 2, 4, 4, 8, seed=22), marks("....", "xx..", "....", "xxx.")),
    ),
    Case(
        "A row of the batch in which nobody may look at anything",
        "edge",
        BLIND,
        "a repair that looks at one mask only",
        calls(
            "attention",
            *some(2, 3, 2, 3, 8, seed=25),
            torch.stack((marks("x..", "xx."), marks("...", "..."))),
        ),
    ),
    Case(
        "One new token for each row of the batch, and each row sees another number of keys",
        "edge",
        MASK,
        "an axis of one query taken for the axis of the heads, as many heads as rows assumed",
        rows_of_one,
    ),
    Case(
        "Scores near 1000, and near -1000",
        "edge",
        LARGE,
        "exponentials of the scores as they are",
        calls(
            "attention",
            along([40.0, -40.0, 40.0], 16),
            along([100.0, 99.9375, 99.5, -3.0], 16),
            normal(1, 1, 4, 16, seed=28),
            marks("xxxx", "xxx.", "...x"),
        ),
    ),
    Case(
        "A hidden key with by far the largest score; the one key in sight with by far the smallest",
        "edge",
        HIDDEN,
        "a mask that comes after the exponentials, a number in place of minus infinity",
        calls(
            "attention",
            along([40.0, 400.0], 16),
            along([0.0, 0.0625, 20.0, -200.0], 16),
            normal(1, 1, 4, 16, seed=29),
            marks("xx..", "...x"),
        ),
    ),
    Case(
        "Heads and tokens transposed in memory",
        "edge",
        INPUTS,
        "view() where the layout does not allow it",
        calls(
            "attention",
            *(t.transpose(1, 2).contiguous().transpose(1, 2) for t in some(2, 3, 4, 4, 8, 30)),
            causal(4, 4),
        ),
    ),
    Case(
        "As many keys as a head has components",
        "edge",
        SCORE,
        "keys that are not transposed",
        calls("attention", *some(2, 3, 2, 8, 8, seed=33), causal(2, 8)),
    ),
    Case(
        "q, k, v and mask are afterwards what they were",
        "inputs",
        INPUTS,
        "work in place: q.float() of a float32 tensor is q itself",
        unchanged,
    ),
    Case(
        "Gradients flow to q, k and v",
        "gradient",
        FLOW,
        "detach(), .data, no_grad(), item()",
        gradients("attention", *some(1, 2, 3, 4, 8, seed=50), causal(3, 4)),
        tolerance=LOOSE,
    ),
    Case(
        "Gradients stay numbers where one query may look at nothing",
        "gradient",
        BLIND,
        "NaN that a repair at the end hides from the result, and not from the gradient",
        blind_gradients,
        tolerance=LOOSE,
    ),
)  # fmt: skip

AXIS = """    if mask.dim() == 3:
        mask = mask.unsqueeze(1)"""
SEES = "mask.any(dim=-1, keepdim=True)"
SCALE = " / math.sqrt(q.shape[-1])"
SCORES = "q.float() @ k.float().transpose(-2, -1)"
FILL = "scores.masked_fill(~mask & sees, -math.inf)"
SOFT = "torch.softmax(scores, dim=-1)"
OUT = "weights @ v.float()"
RESULT = "out.masked_fill(~sees, 0.0).to(q.dtype)"
INFINITE = "scores.masked_fill(~mask, -math.inf)"
TABLE = "torch.ones(q.shape[-2], k.shape[-2])"
EXPS = "torch.exp(scores - scores.amax(dim=-1, keepdim=True))"


def short(
    scores: str = SCORES + SCALE,
    fill: str = INFINITE,
    soft: str = SOFT,
    out: str = OUT,
    result: str = "out.to(q.dtype)",
) -> str:
    """The function as most people write it first: no thought of queries that see nothing."""
    return f"""
def attention(q, k, v, mask):
    if mask.dim() == 3:
        mask = mask.unsqueeze(1)
    scores = {scores}
    scores = {fill}
    weights = {soft}
    out = {out}
    return {result}
"""


def also(**changes: str) -> tuple[str, ...]:
    """A mistake in the short function, with either of its usual fillings: named all the same."""
    return (short(**changes), short(fill="scores.masked_fill(~mask, -1e9)", **changes))


def normalised(exponentials: str, guard: str = "") -> str:
    """A softmax from exponentials."""
    return f"{exponentials} / ({exponentials}).sum(dim=-1, keepdim=True){guard}"


NARROW = "q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])"
AFTER = "(torch.softmax(scores, dim=-1) * mask)"

MISTAKES = (
    Mistake(
        "no scale",
        "The scores are not divided by the root of head_dim. They grow with the width of a head, "
        "and the softmax turns into a choice of one key.",
        (edit(SCALE, ""), *also(scores=SCORES)),
        "By hand: which score gives e to its power 3?",
    ),
    Mistake(
        "scale by d",
        "The scores are divided by head_dim itself, or by its root twice, once for q and once for "
        "k; the root once is enough.",
        (edit(SCALE, " / q.shape[-1]"), *also(scores=SCORES + " / q.shape[-1]")),
        "What is q.k / sqrt(4) for q.k = 2, and what q.k / 4?",
    ),
    Mistake(
        "multiplied by the root",
        "The scores are multiplied by the root of head_dim, which makes large scores larger.",
        (edit(SCALE, " * math.sqrt(q.shape[-1])"),
         short(scores=SCORES + " * math.sqrt(q.shape[-1])")),
        "Should a wider head have larger scores in the end, or not?",
    ),
    Mistake(
        "power before division",
        "Python takes a power before a division: d ** 1 / 2 is d / 2, and d ** -1 / 2 is 1 / (2 "
        "d). The root is d ** 0.5.",
        (
            edit(SCALE, " / q.shape[-1] ** 1 / 2"),
            edit(SCALE, " / (q.shape[-1] ** 1 / 2)"),
            short(scores=SCORES + " * q.shape[-1] ** -1 / 2"),
        ),
        "Print the number that you divide by, for heads of 16.",
    ),
    Mistake(
        "scale from the model's width",
        "The root is that of the whole width, heads * head_dim; a dot product has head_dim terms.",
        (
            edit(SCALE, " / math.sqrt(q.shape[1] * q.shape[-1])"),
            short(scores=SCORES + " / math.sqrt(q.shape[1] * q.shape[-1])"),
        ),
        "How many products does one score add up?",
    ),
    Mistake(
        "scale from another axis",
        "The root is that of another size: the number of heads, of queries or of keys.",
        tuple(
            edit(SCALE, f" / math.sqrt({size})")
            for size in ("q.shape[1]", "q.shape[-2]", "k.shape[-2]")
        ),
        "Which axis of (batch, heads, q_len, head_dim) does the dot product sum over?",
    ),
    Mistake(
        "scale after the softmax",
        "The weights are divided by the root, and not the scores: they no longer sum to one.",
        (edit(SCALE, "", SOFT, f"{SOFT} / math.sqrt(q.shape[-1])"),
         short(scores=SCORES, soft=f"{SOFT} / math.sqrt(q.shape[-1])")),
        "What do the weights of one query sum to?",
    ),
    Mistake(
        "mask after softmax",
        "Hidden keys lose their weight after the softmax. What is left sums to less than one: the "
        "hidden keys have taken part in the sum.",
        (
            edit(FILL, "scores", SOFT, AFTER),
        ),
        "What do the weights of the first of three tokens sum to?",
    ),
    Mistake(
        "hidden scores in the maximum",
        "The largest score, which every exponential is measured against, may be a hidden one: the "
        "maximum is taken before the mask, or hidden keys are taken out after the softmax and the "
        "rest is divided by its own sum. That is right on paper; but where a hidden score is far "
        "larger than the others, nothing but zeros is left to divide.",
        (
            edit(FILL, "scores", SOFT, normalised(f"{EXPS}.masked_fill(~mask & sees, 0.0)")),
            edit(FILL, "scores", SOFT, f"{AFTER} / {AFTER}.sum(dim=-1, keepdim=True)"),
            edit(FILL, "scores", SOFT,
                 f"{AFTER} / {AFTER}.sum(dim=-1, keepdim=True).clamp(min=1e-9)"),
            edit(FILL, "scores", SOFT, f"({AFTER} / {AFTER}.sum(dim=-1, keepdim=True)).nan_to_num()"
                 ),
            short(fill="scores", soft=f"{AFTER} / {AFTER}.sum(dim=-1, keepdim=True)"),
        ),
        "What is left of e to the power of 0 when the largest score, a hidden one, is 200?",
    ),
    Mistake(
        "mask multiplied to the scores",
        "Hidden scores become 0, and e to the power of 0 is 1: a hidden key counts like any key "
        "with score 0.",
        (
            edit(FILL, "scores * mask"),
            short(fill="scores.masked_fill(~mask, 0.0)"),
        ),
        "Which score has the weight 0?",
    ),
    Mistake(
        "mask added as 0 and 1",
        "The mask is added to the scores, which raises those in sight by 1 and hides nothing; an "
        "additive mask has 0 and minus infinity.",
        (edit(FILL, "scores + mask"), short(fill="scores + mask")),
        "Which number, added to any score, gives the weight 0?",
    ),
    Mistake(
        "NaN everywhere",
        "Every number is NaN, also where all keys are in sight: 0 times infinity is no number, and "
        "so a mask of 0 and 1 cannot be multiplied by minus infinity. Choose with masked_fill or "
        "where.",
        (
            edit(FILL, "scores + (~mask) * -math.inf"),
            edit(FILL, "scores * mask + (~mask) * -math.inf"),
            short(fill="scores + (~mask) * -math.inf"),
        ),
        "What is 0 times minus infinity?",
    ),
    Mistake(
        "number beyond float16",
        "Hidden scores get a number that their dtype does not have, such as -1e9 in float16, which "
        "ends at 65,504. Minus infinity is in every dtype; or widen the scores first.",
        (
            edit(FILL, "torch.where(mask, scores, torch.full_like(k[:, :, None, :, 0], -1e9))"),
            *(
                form
                for out in ("weights @ v", OUT)
                for form in (
                    edit(SCORES + SCALE, NARROW, FILL, "scores.masked_fill(~mask, -1e9)", OUT, out),
                    short(scores=NARROW, fill="scores.masked_fill(~mask, -1e9)", out=out),
                )
            ),
        ),
        "Look at torch.finfo(torch.float16).min.",
    ),
    Mistake(
        "mask inverted",
        "The mask is read the wrong way round: keys that the query may look at are hidden, and the "
        "others are seen. Here True means: may look.",
        (
            edit(SEES, "(~mask).any(dim=-1, keepdim=True)", FILL,
                 "scores.masked_fill(mask & sees, -math.inf)"),
            edit(FILL, "scores.masked_fill(mask, -math.inf)"),
            short(fill="scores.masked_fill(mask, -math.inf)"),
            short(fill="scores.masked_fill(mask, -1e9)"),
        ),
        "masked_fill fills where its mask is True. What should be filled?",
    ),
    Mistake(
        "mask ignored",
        "The mask is not used: every query looks at every key, as in an encoder.",
        (edit(FILL, "scores"), short(fill="scores")),
        "Which argument does your function never read?",
    ),
    Mistake(
        "mask made inside",
        "A triangle is made inside the function, and the mask that is given is not used; it knows "
        "of chunks, batches and empty slots, and a triangle does not.",
        tuple(
            form
            for triangle in (f"{TABLE}.tril().bool()",
                             f"{TABLE}.tril(k.shape[-2] - q.shape[-2]).bool()")
            for form in (
                edit(FILL, f"scores.masked_fill(~{triangle}, -math.inf)"),
                short(fill=f"scores.masked_fill(~{triangle}, -math.inf)"),
            )
        ),
        "Which argument does your function never read?",
    ),
    Mistake(
        "fully masked row not zero",
        "A query that may look at nothing has only minus infinities in its row. Its softmax is 0 "
        "over 0, which is NaN, and NaN spreads; the contract asks for zeros.",
        (
            edit(FILL, INFINITE, RESULT, "out.to(q.dtype)"),
            short(fill="scores + torch.where(mask, 0.0, -math.inf)"),
        ),
        "What is e to the power of minus infinity, and what is a sum of such numbers?",
    ),
    Mistake(
        "fully masked row looks at everything",
        "A query that may look at nothing gets a mix of values that it must not see. So it comes "
        "out where hidden scores get a large negative number in place of minus infinity: the "
        "softmax of equal numbers is uniform, however small they are.",
        (
            edit(FILL, "scores.masked_fill(~mask, -1e9)", RESULT, "out.to(q.dtype)"),
            short(fill="scores.masked_fill(~mask, -1e4)"),
            short(fill="scores.masked_fill(~mask & sees, -math.inf)".replace(
                "sees", "mask.any(dim=-1, keepdim=True)")),
            short(fill="scores + (~mask) * -1e9"),
            short(fill="scores + (~mask) * -1e6"),
            short(fill="scores + (~mask) * -1e5"),
            short(fill="scores + (~mask) * -1e4"),
        ),
        "A row whose every score is -1e9: what is its softmax?",
    ),
    Mistake(
        "zeros, and NaN in the gradient",
        "The result is repaired at the end, and the gradient still goes through the softmax of a "
        "row of minus infinities: 0 times NaN is NaN. Repair what goes into the softmax.",
        (
            edit(FILL, INFINITE),
            edit(FILL, "scores + torch.where(mask, 0.0, -math.inf)"),
            short(fill="scores + torch.where(mask, 0.0, -math.inf)", soft=f"{SOFT}.nan_to_num()"),
        ),
        "Which row goes into your softmax when nothing is in sight?",
    ),
    Mistake(
        "hidden scores not low enough",
        "Hidden scores get a number that real scores can fall below; a hidden key then gets "
        "weight. Minus infinity is below every score.",
        tuple(
            form
            for low in ("-1e4", "-1e3", "-100.0", "-10.0")
            for form in (
                edit(FILL, f"scores.masked_fill(~mask & sees, {low})"),
                short(fill=f"scores.masked_fill(~mask, {low})", soft=f"{SOFT} * mask"),
                *(() if low == "-1e4" else (short(fill=f"scores.masked_fill(~mask, {low})"),)),
            )
        ),
        "Which score has the weight 0, whatever the others are?",
    ),
    Mistake(
        "softmax over queries",
        "The softmax runs over the queries, so that the weights of each key sum to one; those of "
        "each query should.",
        (
            edit(SOFT, "torch.softmax(scores, dim=-2)"),
            edit(FILL, INFINITE, SOFT, "torch.softmax(scores, dim=-2)"),
            *also(soft="torch.softmax(scores, dim=-2)"),
        ),
        "Which axis of (batch, heads, q_len, k_len) should sum to one?",
    ),
    Mistake(
        "softmax over heads",
        "The softmax runs over axis 1, the heads, as if they competed for a key.",
        (
            edit(SOFT, "torch.softmax(scores, dim=1)"),
            edit(FILL, INFINITE, SOFT, "torch.softmax(scores, dim=1)"),
            *also(soft="torch.softmax(scores, dim=1)"),
        ),
        "Which axis of (batch, heads, q_len, k_len) should sum to one?",
    ),
    Mistake(
        "one softmax for all queries",
        "One softmax runs over all queries and keys together; each query needs its own.",
        (
            edit(SOFT, "torch.softmax(scores.flatten(-2), dim=-1).view_as(scores)"),
            short(soft="torch.softmax(scores.flatten(-2), dim=-1).view_as(scores)"),
        ),
        "What do the weights of one query sum to?",
    ),
    Mistake(
        "softmax in low precision",
        "An exponential, the sum or the quotient is rounded to 16 bits on the way. In bfloat16 a "
        "sum has three digits: 256 and 1 are 256. Widen the scores first.",
        tuple(
            edit(SCORES + SCALE, NARROW, SOFT, soft, OUT, out)
            for soft, out in (
                (normalised(EXPS), "weights @ v"),
                (EXPS, "weights @ v / weights.sum(dim=-1, keepdim=True)"),
                ("torch.log_softmax(scores, dim=-1).exp()", "weights @ v"),
                ("(scores - torch.logsumexp(scores, dim=-1, keepdim=True)).exp()", "weights @ v"),
            )
        )
        + tuple(
            edit(SOFT, soft, OUT, out)
            for soft, out in (
                (f"{EXPS}.to(q.dtype)",
                 "(weights @ v).float() / weights.float().sum(dim=-1, keepdim=True)"),
            )
        ),
        "Which dtype has each step between the scores and the weights?",
    ),
    Mistake(
        "overflow without the maximum",
        "The exponentials are taken of the scores as they are: e to the power of 1000 is infinite, "
        "and to the power of -1000 it is 0. Subtract the largest score in sight first.",
        (
            edit(SOFT, normalised("scores.exp()")),
            edit(SOFT, f"({normalised('scores.exp()')}).nan_to_num()"),
            short(soft=normalised("scores.exp()")),
            short(fill="scores", soft=normalised("(scores.exp() * mask)")),
            short(fill="scores", soft=f"({normalised('(scores.exp() * mask)')}).nan_to_num()"),
        ),
        "What can you subtract from all scores of a query without changing their softmax?",
    ),
    Mistake(
        "maximum over another axis",
        "The largest score is taken over everything, or over the queries; each query has its own. "
        "Less a number that is far larger than all of its scores, its exponentials are all 0.",
        (
            short(soft=normalised("torch.exp(scores - scores.max())")),
            *(
                edit(SOFT, normalised(f"torch.exp(scores - scores.{largest})", guard))
                for largest in ("max()", "amax(dim=-2, keepdim=True)")
                for guard in ("", ".clamp(min=1e-9)")
            ),
        ),
        "Whose largest score do you subtract from which scores?",
    ),
    Mistake(
        "k not transposed",
        "q is multiplied with k as it is; the shapes only fit where there are as many keys as a "
        "head has components, and then the numbers are wrong.",
        (
            edit(SCORES, "q.float() @ k.float()"),
        ),
        "The scores are (q_len, k_len). Which of k's axes has to meet q's last?",
    ),
    Mistake(
        "k reshaped for transposed",
        "k is given the shape (head_dim, k_len) by reshape or view, which keeps the numbers in "
        "their order in memory; its axes have to change places.",
        (
            edit(SCORES, "q.float() @ k.float().reshape(*k.shape[:2], k.shape[3], k.shape[2])"),
            short(scores="q.float() @ k.float().reshape(*k.shape[:2], k.shape[3], k.shape[2])"
                  + SCALE),
        ),
        "Which numbers should stand in the first column of k transposed?",
    ),
    Mistake(
        "q and k exchanged",
        "The scores are k times q transposed, so rows are keys and columns are queries, and a "
        "query gets the weights of a key.",
        (
            edit(SCORES, "k.float() @ q.float().transpose(-2, -1)"),
            short(scores=f"k.float() @ q.float().transpose(-2, -1){SCALE}"),
        ),
        "The scores are (q_len, k_len). Which of the two comes first in the product?",
    ),
    Mistake(
        "keys and values mixed up",
        "k and v are exchanged, or one of them stands in both places: scores are made with keys, "
        "and what is summed are values.",
        (
            edit(SCORES, "q.float() @ v.float().transpose(-2, -1)", OUT, "weights @ k.float()"),
            edit(OUT, "weights @ k.float()"),
            edit(SCORES, "q.float() @ v.float().transpose(-2, -1)"),
            short(scores=f"q.float() @ v.float().transpose(-2, -1){SCALE}",
                  out="weights @ k.float()"),
            short(out="weights @ k.float()"),
        ),
        "Which of k and v decides how much, and which decides what?",
    ),
    Mistake(
        "softmax forgotten",
        "The scores themselves are the weights: they can be negative, and do not sum to one.",
        (
            edit(SOFT, "scores"),
            edit(FILL, "scores.masked_fill(~mask, 0.0)", SOFT, "scores"),
            short(soft="scores"),
        ),
        "Can a weight be negative?",
    ),
    Mistake(
        "softmax after the values",
        "The scores are multiplied with the values first, and the softmax is taken of the result, "
        "over the components of a value; it belongs between the scores and the values.",
        tuple(
            short(fill=fill, soft="scores", out="torch.softmax(weights @ v.float(), dim=-1)")
            for fill in (INFINITE, "scores.masked_fill(~mask, 0.0)")
        ),
        "What do the components of your result sum to?",
    ),
    Mistake(
        "not divided by the sum",
        "The exponentials are not divided by their sum, so that a query with many keys in sight "
        "gets a long vector.",
        (
            edit(SOFT, EXPS),
            edit(SOFT, "scores.exp()"),
            short(soft=EXPS),
        ),
        "What do the weights of one query sum to?",
    ),
    Mistake(
        "batch of masks along the heads",
        "The rows of a mask (batch, q_len, k_len) are laid along the heads. So it comes out where "
        "the mask is used as it is, since broadcasting aligns axes at the right, and where it is "
        "repeated as a whole and then cut into rows and heads.",
        (
            edit(AXIS, "    pass"),
            edit(AXIS, "    if mask.dim() == 3:\n        mask = mask.repeat(q.shape[1], 1, 1)"
                       ".view(*q.shape[:2], *mask.shape[1:])"),
            short().replace(AXIS + "\n", ""),
        ),
        "Write the shapes of scores and mask below each other, aligned at the right.",
    ),
    Mistake(
        "right for one kind of mask only",
        "An axis is added to every mask, or axes are counted from the left, so that one of the "
        "three shapes that a mask may have is right and the others are not.",
        (
            edit(AXIS, "    if True:\n        mask = mask[:, None]"),
            edit(AXIS, "    if True:\n        mask = mask[None, None]"),
            short().replace(AXIS, "    mask = mask[:, None]"),
            short().replace(AXIS, "    mask = mask[None, None]"),
        ),
        "Look at mask.dim() before you add an axis.",
    ),
    Mistake(
        "first row's mask for all",
        "Of a mask for a batch only the first row is used; each row has a mask of its own.",
        (
            edit("mask = mask.unsqueeze(1)", "mask = mask[:1].unsqueeze(1)"),
            edit(AXIS, "    if mask.dim() > 2:\n        mask = mask.reshape(-1, *mask.shape[-2:])"
                       "[0]"),
            short().replace(AXIS, "    if mask.dim() > 2:\n        mask = mask.reshape(-1, "
                                  "*mask.shape[-2:])[0]"),
        ),
        "Look for [0] in your function.",
    ),
    Mistake(
        "heads and tokens exchanged",
        "The numbers are right, but the result is (batch, q_len, heads, head_dim), or the heads "
        "are merged already; that is merge_heads' task.",
        (
            edit(RESULT, "out.masked_fill(~sees, 0.0).to(q.dtype).transpose(1, 2)"),
            edit(RESULT, "out.masked_fill(~sees, 0.0).to(q.dtype).transpose(1, 2).flatten(-2)"),
            short(result="out.to(q.dtype).transpose(1, 2)"),
            short(result="out.to(q.dtype).transpose(1, 2).flatten(-2)"),
        ),
        "Compare the shape of the result with that of q.",
    ),
    Mistake(
        "weights returned",
        "The weights come back, alone or beside the result; only the result is asked for.",
        (
            edit(RESULT, "weights"),
            edit(RESULT, "(out.masked_fill(~sees, 0.0).to(q.dtype), weights)"),
            short(result="weights"),
            short(result="(out.to(q.dtype), weights)"),
        ),
        "Which shape should come out?",
    ),
    Mistake(
        "dropout left in",
        "Some weights are dropped at random and the others enlarged. LLaMA is trained without "
        "dropout, and a function that is called as it is drops in use, too.",
        (
            edit(OUT, "torch.nn.functional.dropout(weights, 0.1) @ v.float()"),
            short(out="torch.nn.functional.dropout(weights, 0.1) @ v.float()"),
            short(out="torch.nn.functional.dropout(weights) @ v.float()"),
        ),
        "Call it twice with the same arguments. Do you get the same numbers?",
    ),
    Mistake(
        "result left in float32",
        "The numbers are right, but for 16-bit inputs the result comes back in float32.",
        (edit(".to(q.dtype)", ""), short(result="out")),
        "q.dtype is where you came from; .to(q.dtype) brings you back.",
    ),
    Mistake(
        "works on its arguments in place",
        "An operation that ends in an underscore, an assignment to a part of a tensor, and /=, *= "
        "or |= change the caller's tensor: the mask, or q, since q.float() of a float32 q is q "
        "itself.",
        (
            edit(SCORES + SCALE,
                 "q.float().div_(math.sqrt(q.shape[-1])) @ k.float().transpose(-2, -1)"),
            edit(FILL, "scores.masked_fill(mask.logical_not_() & sees, -math.inf)"),
            edit(SEES, f"{SEES}\n    mask |= ~sees"),
            short(scores="q.float().div_(math.sqrt(q.shape[-1])) @ k.float().transpose(-2, -1)"),
            short(fill="scores.masked_fill(mask.logical_not_(), -math.inf)"),
            short(fill="scores.masked_fill(mask.logical_not_(), -1e9)"),
        ),
        "Write a = a / b or mask = mask | b: a new tensor is made, and the old one stays.",
    ),
)  # fmt: skip

EXERCISE = Exercise(
    name="attention",
    lesson="06",
    title="Attention",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="Five steps: products, scale, mask, softmax, sum of the values. What is the shape "
        "after each? And what does the softmax of a row make of it, when every score is hidden?",
        outline="Give a three-axis mask an axis for the heads. Multiply q with k transposed, in "
        "float32, and divide by the root of head_dim. Put minus infinity where the mask is False, "
        "but not in rows that are all False. Softmax over the last axis, times v. Set the results "
        "of those rows to 0, and cast back.",
    ),
    difficulty="hard",
    importance="It is the only place in the model where one token learns of another.",
    minutes=24,
    setup="import math\n\nimport torch\nimport torch.nn.functional as F\nfrom torch import Tensor",
    forbidden=("*attention*", "transformers.*", "torch.nn.attention.*"),
)
