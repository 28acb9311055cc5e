"""Lesson 01: byte-pair encoding in four functions that call one another."""

from __future__ import annotations

from llama_course.checks.bpe import encode, merge, pairs, train
from llama_course.checks.exercise import Exercise, Hints

PARTS = (pairs, merge, train, encode)

EXERCISE = Exercise(
    name="bpe",
    lesson="01",
    title="Byte-pair encoding",
    starter="\n".join(part.STARTER for part in PARTS),
    solution="\n".join(part.SOLUTION for part in PARTS),
    cases=tuple(case for part in PARTS for case in part.CASES),
    mistakes=tuple(mistake for part in PARTS for mistake in part.MISTAKES),
    hints=Hints(
        nudge="Write the three words no (5 times), not (2) and tee (3) on paper, letter by letter, "
        "and merge by hand. What did you count, how did you mark what was merged, and what did you "
        "count the second time?",
        outline="pair_counts: two loops, over words and over neighbours; add how often the word "
        "occurs. merge_pair: walk through the ids with an index, and go two steps after a match. "
        "train_bpe: count, take the maximum of (count, first byte string, second byte string), "
        "merge it in every word, remember its byte string, repeat. bpe_encode: of the neighbours "
        "that have a rank take the one with the lowest, merge it, repeat until none has one.",
    ),
    difficulty="medium",
    importance="Llama 3's tokenizer is these four functions, made fast; LLaMA 1's is a cousin.",
    minutes=35,
    setup="",
)
