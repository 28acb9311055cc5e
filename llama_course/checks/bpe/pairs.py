"""First part: counting the pairs of neighbours in words that occur often or rarely."""

from __future__ import annotations

from llama_course.checks.bpe.text import STORY, counted, words_of
from llama_course.checks.exercise import EXACT, Case, Mistake, edit
from llama_course.checks.scripts import calls

STARTER = '''
def pair_counts(words: dict[tuple[int, ...], int]) -> dict[tuple[int, int], int]:
    """Count how often each pair of neighbouring ids occurs.

    words: a dict from each distinct word, a tuple of ids, to how often that word occurs. An id is a
    whole number from 0; it may be larger than 255. A word may have one id or none.

    A pair of neighbours counts once for each occurrence of its word.
    Every two neighbours count, also where pairs overlap: (7, 7, 7) has the pair (7, 7) twice.
    A pair has an order, and lies inside one word.
    Return a dict from each pair that occurs, a tuple of two ids, to its count.
    words is not changed.
    """
    raise NotImplementedError
'''

SOLUTION = """
def pair_counts(words: dict[tuple[int, ...], int]) -> dict[tuple[int, int], int]:
    counts = {}
    for word, times in words.items():
        for i in range(len(word) - 1):
            pair = (word[i], word[i + 1])
            counts[pair] = counts.get(pair, 0) + times
    return counts
"""

ONCE = "A pair of neighbours counts once for each occurrence of its word."
OVERLAP = (
    "Every two neighbours count, also where pairs overlap: (7, 7, 7) has the pair (7, 7) twice."
)
INSIDE = "A pair has an order, and lies inside one word."
RETURN = "Return a dict from each pair that occurs, a tuple of two ids, to its count."
SHORT = "A word may have one id or none."

T = "the result of pair_counts"


def case(title: str, level: str, says: str, catches: str, *words: object, **more: object) -> Case:
    """One call of pair_counts."""
    script = calls("pair_counts", *words)
    return Case(
        *(title, level, says, catches, script),
        dtype=None, tolerance=EXACT, part="pair_counts", **more,  # type: ignore[arg-type]
    )  # fmt: skip


CASES = (
    case("A word of two ids, once", "shape", RETURN, "another kind of result", {(3, 5): 1},
         expect={T: {(3, 5): 1}}),
    case("By hand: no occurs 5 times, not 2 times, tee 3 times", "example", ONCE,
         "counts without the words' own counts", words_of(no=5, tee=3, **{"not": 2}),
         expect={T: {(110, 111): 7, (111, 116): 2, (116, 101): 3, (101, 101): 3}}),
    case("By hand: (7, 7, 7) has the pair twice, (7, 7, 7, 7, 7) four times", "example", OVERLAP,
         "occurrences that may not overlap", {(7, 7, 7): 1, (7, 7, 7, 7, 7): 10},
         expect={T: {(7, 7): 42}}),
    case("By hand: banana has an twice and na twice", "example", ONCE,
         "a pair counted once a word", words_of(banana=3),
         expect={T: {(98, 97): 3, (97, 110): 6, (110, 97): 6}}),
    case("Nothing is counted across two words", "property", INSIDE, "all words in a row",
         {(1, 2): 3, (4, 5): 2, (6, 7, 8): 1}),
    case("(1, 2) and (2, 1) are two pairs", "property", INSIDE, "pairs as sets",
         {(1, 2, 1): 4, (2, 1, 3): 1, (9, 9): 2}),
    case("Only neighbours, and not the last with the first", "property", INSIDE,
         "all pairs of a word, a word closed to a ring", {(1, 2, 3, 4): 2, (5, 6, 1): 1}),
    case("Ids of merged tokens, beyond 255", "property", RETURN, "words taken for bytes",
         {(256, 300, 256, 300): 2, (100000, 256): 1}),
    case("The reference's counts for a small text", "property", ONCE, "anything else",
         counted(STORY)),
    case("Words of one id or none have no pair", "edge", SHORT, "an index beyond the end",
         {(): 4, (7,): 9, (7, 8): 1}),
    case("No pair at all", "edge", SHORT, "a maximum of nothing", {(7,): 2, (): 1}),
    case("No words", "edge", RETURN, "a loop that needs a word", {}),
    case("words is afterwards what it was", "inputs", "words is not changed.",
         "words taken out while they are counted", words_of(butter=2, better=1)),
)  # fmt: skip

ADD = "counts[pair] = counts.get(pair, 0) + times"
LOOP = "for i in range(len(word) - 1):"
PAIR = "pair = (word[i], word[i + 1])"


def whole(*lines: str) -> str:
    """A whole pair_counts, where an edit of the solution would be hard to read."""
    return "\n".join(["def pair_counts(words):", *(f"    {line}" for line in lines)])


MISTAKES = (
    Mistake(
        "not weighted by word frequency",
        "Each distinct word counts once, however often it occurs: the second number of each item "
        "of words is never read.",
        (edit(ADD, "counts[pair] = counts.get(pair, 0) + 1"),),
        "no occurs five times. How often does the pair (n, o) occur in those five?",
    ),
    Mistake(
        "pairs across words",
        "The words are laid in a row before pairs are counted, so the last id of one word and the "
        "first of the next come out as a pair.",
        (
            whole("row = [i for word, n in words.items() for _ in range(n) for i in word]",
                  "counts = {}", "for pair in zip(row, row[1:]):",
                  "    counts[pair] = counts.get(pair, 0) + 1", "return counts"),
            whole("counts, before = {}, None", "for word, n in words.items():",
                  "    for i in word:", "        if before is not None:",
                  "            counts[before, i] = counts.get((before, i), 0) + n",
                  "        before = i", "return counts"),
        ),
        "Start anew with each word: two loops, one inside the other.",
    ),
    Mistake(
        "overlapping pairs counted once",
        "Where a pair overlaps with itself, only every other occurrence is counted, as str.count "
        "does it; here each two neighbours count.",
        (
            edit(LOOP, "taken = None\n        for i in range(len(word) - 1):",
                 f"            {ADD}",
                 "            if taken == (i - 1, pair):\n                continue\n"
                 f"            {ADD}\n            taken = (i, pair)"),
        ),
        "In (7, 7, 7), how many places are there where a 7 has a 7 to its right?",
    ),
    Mistake(
        "once for each word",
        "A pair that occurs twice in one word is counted once there: a set of pairs forgets how "
        "many there were.",
        (edit(LOOP, "for i in sorted({(word[j], word[j + 1]): j for j in range(len(word) - 1)}"
              ".values()):"),),
        "How often does banana have an?",
    ),
    Mistake(
        "every second pair",
        "The word is cut into blocks of two, so neighbours on both sides of a cut are not seen.",
        (edit(LOOP, "for i in range(0, len(word) - 1, 2):"),),
        "How many pairs of neighbours has a word of four ids: two or three?",
    ),
    Mistake(
        "last pair missed",
        "The loop ends one step early, and the last pair of each word is not counted.",
        (edit(LOOP, "for i in range(len(word) - 2):"),),
        "For a word of two ids, which values should i take?",
    ),
    Mistake(
        "first pair missed",
        "The loop starts one step late, and the first pair of each word is not counted.",
        (edit(LOOP, "for i in range(1, len(word) - 1):"),),
        "For a word of two ids, which values should i take?",
    ),
    Mistake(
        "order of the pair lost",
        "(1, 2) and (2, 1) are counted as one: a pair is sorted, or made a set, before it is "
        "counted.",
        (edit(PAIR, "pair = (min(word[i], word[i + 1]), max(word[i], word[i + 1]))"),
         edit(PAIR, "pair = (max(word[i], word[i + 1]), min(word[i], word[i + 1]))")),
        "Are no and on one token?",
    ),
    Mistake(
        "pair turned round",
        "The right neighbour comes first in each pair.",
        (edit(PAIR, "pair = (word[i + 1], word[i])"),),
        "Which pair has the word (3, 5)?",
    ),
    Mistake(
        "last with first",
        "The word is closed to a ring: its last id and its first are counted as neighbours. An "
        "index of -1 is the last element, and no error.",
        (edit(LOOP, "for i in range(-1, len(word) - 1):"),
         edit(LOOP, "for i in range(len(word)):", PAIR,
              "pair = (word[i], word[(i + 1) % len(word)])")),
        "What is word[i] for i = -1?",
    ),
    Mistake(
        "pairs that are not neighbours",
        "Every id is paired with every later one; only neighbours count.",
        (edit(LOOP, "for i, j in [(i, j) for j in range(len(word)) for i in range(j)]:", PAIR,
              "pair = (word[i], word[j])"),),
        "How many pairs of neighbours has a word of four ids: three or six?",
    ),
    Mistake(
        "count replaced",
        "A pair that is met again gets a new count in place of a larger one.",
        (edit(ADD, "counts[pair] = times"),),
        "What does = do with the count that is already there?",
    ),
    Mistake(
        "counts of the last word",
        "The counts start anew with each word, so only the last word's are returned.",
        (edit("    counts = {}\n    for word, times in words.items():",
              "    counts = {}\n    for word, times in words.items():\n        counts = {}"),),
        "Where is the empty dict made, before the loop or inside it?",
    ),
    Mistake(
        "counts of the first word",
        "The function returns from inside the loop, after the first word.",
        (edit("+ times\n    return counts", "+ times\n        return counts\n    return counts"),),
        "How far is your return indented?",
    ),
    Mistake(
        "words used up",
        "The words are taken out of the caller's dict while they are counted.",
        (edit("for word, times in words.items():",
              "while words:\n        word, times = words.popitem()"),
         edit("for word, times in words.items():",
              "for word in list(words):\n        times = words.pop(word)")),
        "pop and popitem change the dict that was handed in.",
    ),
)  # fmt: skip
