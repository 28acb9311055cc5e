"""Lesson 03, third part: a loss that tokenizers of any vocabulary share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from llama_course.checks.exercise import RELATIVE, Case, Exercise, Hints, Mistake, Tolerance, edit
from llama_course.checks.scripts import calls

STARTER = '''
def bits_per_byte(nats: float, n_tokens: int, n_bytes: int) -> float:
    """How many bits a model needs for each byte of a text, on average.

    nats: the model's mean loss per token of this text, in nats; 0 or more.
    n_tokens: how many tokens that mean is over; 1 or more.
    n_bytes: how many bytes of UTF-8 the same text has; 1 or more.

    One bit is ln 2 nats (0.693...), with all of a float's digits.
    The surprise of the whole text is its mean per token times the number of tokens.
    The result is the surprise of the whole text in bits, divided by its bytes: a Python float.
    The same three numbers always give the same result.
    """
    raise NotImplementedError
'''

SOLUTION = """
def bits_per_byte(nats: float, n_tokens: int, n_bytes: int) -> float:
    bits = nats / math.log(2)
    whole = bits * n_tokens
    return whole / n_bytes
"""

BIT = "One bit is ln 2 nats (0.693...), with all of a float's digits."
WHOLE = "The surprise of the whole text is its mean per token times the number of tokens."
RESULT = (
    "The result is the surprise of the whole text in bits, divided by its bytes: a Python float."
)
SAME = "The same three numbers always give the same result."
DIGITS = Tolerance(1e-9, 0.0, "float64: three operations in any order")


def is_float(answer: Any) -> Iterator[tuple[str, Any]]:
    """What kind of thing comes back; its value is other cases' task."""
    result = answer.bits_per_byte(2.0, 3, 7)
    yield "the result of bits_per_byte", 0.0 if isinstance(result, float | int) else result


def twice(answer: Any) -> Iterator[tuple[str, Any]]:
    """Other numbers in between."""
    yield "the first result", answer.bits_per_byte(2.5, 1000, 3700)
    yield "the result for other numbers", answer.bits_per_byte(1.5, 10, 31)
    yield "the first result again", answer.bits_per_byte(2.5, 1000, 3700)


def cut_in_two(answer: Any) -> Iterator[tuple[str, Any]]:
    """The same text in twice as many tokens, each half as surprising."""
    yield "100 tokens of 4 nats", answer.bits_per_byte(4.0, 100, 400)
    yield "200 tokens of 2 nats", answer.bits_per_byte(2.0, 200, 400)


CASES = (
    Case("The result is a Python float", "shape", RESULT, "a tensor, a whole number",
         is_float, dtype=None, tolerance=RELATIVE),
    Case("By hand: 10 tokens of one bit each stand for 20 bytes", "example", RESULT,
         "a base of the logarithm, tokens and bytes swapped",
         calls("bits_per_byte", math.log(2), 10, 20), dtype=None, tolerance=DIGITS,
         expect={"the result of bits_per_byte": 0.5}),
    Case("By hand: 8 bits for every byte is what a blind guess over 256 bytes needs", "example",
         BIT, "a conversion that is forgotten or made the wrong way round",
         calls("bits_per_byte", math.log(256), 50, 50), dtype=None, tolerance=DIGITS,
         expect={"the result of bits_per_byte": 8.0}),
    Case("Twice as many tokens of half the surprise come to the same", "property", WHOLE,
         "a mean per token that is taken for the sum", cut_in_two, dtype=None, tolerance=DIGITS),
    Case("A loss of 1.8 nats, 4 bytes a token", "float32", RESULT, "anything else in the formula",
         calls("bits_per_byte", 1.8, 2048, 8192), dtype=None, tolerance=DIGITS),
    Case("A loss of 6.93 nats, more tokens than bytes", "float32", RESULT,
         "quotients turned round where they are above one",
         calls("bits_per_byte", 6.93, 1200, 1000), dtype=None, tolerance=DIGITS),
    Case("Nine right digits", "float32", BIT, "0.69 or 0.693 for ln 2, a float32 in between",
         calls("bits_per_byte", 1.0, 1, 1), dtype=None, tolerance=DIGITS,
         expect={"the result of bits_per_byte": 1.44269504}),
    Case("A perfect prediction needs no bits", "edge", WHOLE, "a logarithm of the loss",
         calls("bits_per_byte", 0.0, 5, 20), dtype=None, tolerance=DIGITS),
    Case("A book of a billion bytes", "edge", RESULT, "whole numbers where fractions are needed",
         calls("bits_per_byte", 1.83, 271_828_182, 1_000_000_007), dtype=None, tolerance=DIGITS),
    Case("A single byte, in one token", "edge", RESULT, "one subtracted from a count",
         calls("bits_per_byte", 3.0, 1, 1), dtype=None, tolerance=DIGITS),
    Case("The result does not depend on what was asked before", "inputs", SAME,
         "something kept between calls", twice, dtype=None, tolerance=DIGITS),
)  # fmt: skip

BITS, SUM, QUOTIENT = "nats / math.log(2)", "bits * n_tokens", "whole / n_bytes"

MISTAKES = (
    Mistake(
        "nats per byte",
        "The loss stays in nats: it is never divided by ln 2, which is what a bit is in nats.",
        (edit(BITS, "nats"),),
        "What is the result for a loss of ln 2 nats? (math.log2(2) is 1, and changes nothing.)",
    ),
    Mistake(
        "multiplied by ln 2",
        "The loss is multiplied by ln 2, so one nat becomes 0.69 bits; a nat is more than a bit.",
        (edit(BITS, "nats * math.log(2)"), edit(BITS, "nats / math.log2(math.e)")),
        "A nat is 1.44 bits. Should the number of bits be larger or smaller than that of nats?",
    ),
    Mistake(
        "base ten",
        "The conversion uses the logarithm to the base 10: log10(2) is 0.30, ln 2 is 0.69.",
        (edit(BITS, "nats / math.log10(2)"), edit(BITS, "nats / math.log(10)")),
        "In Python math.log is the natural logarithm. Which base does yours have?",
    ),
    Mistake(
        "logarithm of the loss",
        "The logarithm of the loss is taken. The loss is a logarithm already; it only has to be "
        "counted in another unit.",
        (
            edit(BITS, "math.log2(max(nats, 1e-300))"),
            edit(BITS, "math.log2(nats) if nats else 0.0"),
            edit(BITS, "math.log2(nats)"),
        ),
        "Metres to feet: do you take a logarithm, or divide?",
    ),
    Mistake(
        "ln 2 written short",
        "ln 2 is written with a few digits only; math.log(2) has sixteen.",
        (
            *(
                edit("math.log(2)", n)
                for n in ("0.69", "0.693", "0.6931", "0.69315", "0.7", "0.693147", "0.6931472")
            ),
            *(edit(BITS, f"nats * {n}") for n in ("1.44", "1.443", "1.4427", "1.442695")),
        ),
        "math.log(2) costs nothing.",
    ),
    Mistake(
        "float32 on the way",
        "A torch tensor is in between, with float32's seven digits; a Python float has sixteen, "
        "and math.log gives one.",
        tuple(
            f"import torch\ndef bits_per_byte(nats, n_tokens, n_bytes):\n    return {text}\n"
            for text in (
                "nats / torch.log(torch.tensor(2.0)).item() * n_tokens / n_bytes",
                "(torch.tensor(nats) / math.log(2) * n_tokens / n_bytes).item()",
                "(torch.tensor(nats) * n_tokens / n_bytes / math.log(2)).item()",
                "(torch.tensor(nats) * n_tokens / n_bytes).item() / math.log(2)",
                "(torch.tensor(nats) * n_tokens / math.log(2) / n_bytes).item()",
            )
        ),
        "How many digits of torch.tensor(2.0).log().item() are right?",
    ),
    Mistake(
        "bits per token",
        "The result is in bits per token: the numbers of tokens and bytes are not used, so two "
        "tokenizers still cannot be compared.",
        # Whole, not an edit: two other mistakes, made at once, come to it.
        ("def bits_per_byte(nats, n_tokens, n_bytes):\n    return nats / math.log(2)\n",),
        "Which arguments does your function never read?",
    ),
    Mistake(
        "tokens and bytes the wrong way round",
        "The loss is multiplied by bytes and divided by tokens; longer tokens then look worse.",
        (edit(SUM, "bits * n_bytes", QUOTIENT, "whole / n_tokens"),),
        "A byte is a part of a token. Is there more or less surprise in the part?",
    ),
    Mistake(
        "mean taken for the sum",
        "The mean loss of one token is divided by all bytes; the surprise of the whole text is "
        "that of all its tokens.",
        (edit(SUM, "bits"),),
        "nats is the loss of one token on average. How many tokens have the n_bytes bytes?",
    ),
    Mistake(
        "not divided by the bytes",
        "The result is the surprise of the whole text, in bits; what is asked for is the share of "
        "one byte.",
        ("def bits_per_byte(nats, n_tokens, n_bytes):\n"
         "    return nats / math.log(2) * n_tokens\n",),
        "Which arguments does your function never read?",
    ),
    Mistake(
        "divided by tokens and bytes",
        "The mean per token is divided by the number of tokens once more, and then by the bytes.",
        (edit(SUM, "bits / n_tokens"),),
        "nats is a mean already. How do you get the sum back?",
    ),
    Mistake(
        "bytes counted in bits",
        "A factor of eight has come in, perhaps from the eight bits that a byte has on a disk. The "
        "bits here are those of the surprise; they are divided by the number of bytes as it is.",
        (edit(QUOTIENT, "whole / (8 * n_bytes)"), edit(QUOTIENT, "8 * whole / n_bytes")),
        "A blind guess over 256 bytes should need 8 bits.",
    ),
    Mistake(
        "perplexity",
        "The exponential is taken, which gives a perplexity: a number of choices, not of bits.",
        (
            edit(QUOTIENT, "2 ** min(whole / n_bytes, 1000)"),
            edit(QUOTIENT, "math.exp(min(whole / n_bytes, 700))"),
            edit(BITS, "math.exp(nats)", SUM, "bits", QUOTIENT, "whole"),
            edit(BITS, "math.exp(nats)"),
        ),
        "How surprising is a perfect prediction: 0 or 1?",
    ),
    Mistake(
        "whole numbers",
        "A division rounds down to a whole number: // drops the fraction.",
        (
            edit(QUOTIENT, "whole // n_bytes"),
            edit(SUM, "bits", QUOTIENT, "whole / max(n_bytes // n_tokens, 1)"),
            edit(SUM, "bits", QUOTIENT, "whole * (n_tokens // n_bytes)"),
            edit(QUOTIENT, "int(whole / n_bytes)"),
        ),
        "In Python / keeps the fraction and // drops it.",
    ),
    Mistake(
        "one token less",
        "One is subtracted from the number of tokens, because a text of n tokens has n - 1 "
        "predictions; n_tokens is the number of predictions already.",
        (edit(SUM, "bits * (n_tokens - 1)"),),
        "Read what n_tokens counts.",
    ),
    Mistake(
        "rounded",
        "The result is rounded to a few digits; round when you print, not when you compute.",
        (
            edit(QUOTIENT, "round(whole / n_bytes)"),
            *(edit(QUOTIENT, f"round(whole / n_bytes, {n})") for n in range(1, 8)),
        ),
        "Where does round stand?",
    ),
)  # fmt: skip

EXERCISE = Exercise(
    name="bits_per_byte",
    lesson="03",
    title="Bits per byte",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="Two questions, one after the other: how much surprise is in the whole text, and in "
        "which unit? Only then: over how many bytes is it spread?",
        outline="Divide nats by ln 2, which is math.log(2): bits per token. Times n_tokens: bits "
        "of the whole text. Divided by n_bytes: bits per byte.",
    ),
    difficulty="easy",
    importance="It is the only loss by which models with different tokenizers can be compared.",
    minutes=8,
    setup="import math",
)
