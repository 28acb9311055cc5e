"""Second part: one pair becomes one id, wherever it stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llama_course.checks.exercise import EXACT, Case, Mistake, edit
from llama_course.checks.scripts import calls

STARTER = '''
def merge_pair(ids: tuple[int, ...], pair: tuple[int, int], new_id: int) -> tuple[int, ...]:
    """Replace every occurrence of a pair by one new id.

    ids: a tuple or a list of ids, with any number of them. pair: a tuple of two ids, which may be
    the same. new_id: an id that does not occur in ids or in pair.

    Occurrences are found from left to right, and an id belongs to one of them only:
    (7, 7, 7) with the pair (7, 7) becomes (new_id, 7).
    All other ids stay as they are and in their order.
    Return a new tuple, so that it can be the key of a dict.
    ids is not changed.
    """
    raise NotImplementedError
'''

SOLUTION = """
def merge_pair(ids: tuple[int, ...], pair: tuple[int, int], new_id: int) -> tuple[int, ...]:
    merged = []
    i = 0
    while i < len(ids):
        if i + 1 < len(ids) and (ids[i], ids[i + 1]) == pair:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return tuple(merged)
"""

EVERY = "Replace every occurrence of a pair by one new id."
LEFT = "Occurrences are found from left to right, and an id belongs to one of them only:"
STAY = "All other ids stay as they are and in their order."
NEW = "Return a new tuple, so that it can be the key of a dict."
ANY = "ids: a tuple or a list of ids, with any number of them."

T = "the result of merge_pair"
BANANA = tuple(b"banana")
ROW = tuple(int(d) for d in "1122121121112212221121")


def case(title: str, level: str, says: str, catches: str, *args: object, **more: object) -> Case:
    """One call of merge_pair."""
    script = calls("merge_pair", *args)
    return Case(
        *(title, level, says, catches, script),
        dtype=None, tolerance=EXACT, part="merge_pair", **more,  # type: ignore[arg-type]
    )  # fmt: skip


def as_key(answer: Any) -> Iterator[tuple[str, Any]]:
    """The result is put into a dict, as train_bpe does it."""
    for ids in (BANANA, list(BANANA)):
        yield "a dict with the result as its key", {answer.merge_pair(ids, (97, 110), 256): 1}


def many_pairs(answer: Any) -> Iterator[tuple[str, Any]]:
    """Each pair of two ids, in a row that has all of them side by side."""
    for pair in ((1, 1), (1, 2), (2, 1), (2, 2)):
        yield f"the row with {pair} merged", answer.merge_pair(ROW, pair, 3)


CASES = (
    case("A pair alone becomes one id", "shape", NEW, "another kind of result",
         (3, 5), (3, 5), 256, expect={T: (256,)}),
    case("By hand: banana, with an merged to 256", "example", EVERY, "only the first occurrence",
         BANANA, (97, 110), 256, expect={T: (98, 256, 256, 97)}),
    case("By hand: (7, 7, 7) becomes (9, 7)", "example", LEFT, "an id merged twice, or from the "
         "right", (7, 7, 7), (7, 7), 9, expect={T: (9, 7)}),
    case("By hand: two sevens become (9), four (9, 9), five (9, 9, 7)", "example", LEFT,
         "an id merged twice", (7, 7, 1, 7, 7, 7, 7, 1, 7, 7, 7, 7, 7), (7, 7), 9,
         expect={T: (9, 1, 9, 9, 1, 9, 9, 7)}),
    case("At the beginning, in the middle and at the end", "property", EVERY,
         "the last pair not reached", (1, 2, 5, 1, 2, 6, 1, 2), (1, 2), 300),
    case("At odd places, and right after one another", "property", EVERY,
         "steps of two, a pair after a pair not seen", (5, 1, 2, 1, 2, 1, 2, 5, 5, 1, 2), (1, 2),
         300),
    case("(2, 1) is not (1, 2), and half a pair is none", "property", STAY,
         "pairs as sets, one id compared", (2, 1, 2, 2, 1, 1, 3, 1, 0, 3, 0), (1, 2), 300),
    Case("Every pair of 1 and 2 in a row of 22", "property", LEFT, "anything else", many_pairs,
         dtype=None, tolerance=EXACT, part="merge_pair"),
    case("The new id is the one that is given", "property", EVERY, "an id of its own choice",
         (256, 257, 256, 257, 4), (256, 257), 100000),
    case("Ids whose digits look alike", "property", STAY, "numbers put into a text and replaced",
         (197, 98, 97, 98, 97, 981, 97, 98), (97, 98), 256),
    case("Nothing to merge", "edge", STAY, "a step that is taken anyway", (1, 2, 3), (2, 1), 9),
    case("No ids", "edge", ANY, "an index beyond the end", (), (1, 2), 9, expect={T: ()}),
    case("One id", "edge", ANY, "an index beyond the end", (1,), (1, 2), 9, expect={T: (1,)}),
    case("A list of ids in place of a tuple", "edge", ANY, "a slice of a list beside a tuple",
         list(BANANA), (97, 110), 256, expect={T: (98, 256, 256, 97)}),
    case("The first id of the pair stands last, and its second first", "edge", STAY,
         "a word closed to a ring, an index beyond the end", (2, 3, 1), (1, 2), 9),
    Case("The result can be the key of a dict", "edge", NEW, "a list", as_key, dtype=None,
         tolerance=EXACT, part="merge_pair"),
    case("A list of ids is afterwards what it was", "inputs", "ids is not changed.",
         "work in place", [1, 2, 3, 1, 2], (1, 2), 9),
)  # fmt: skip

TEST = "if i + 1 < len(ids) and (ids[i], ids[i + 1]) == pair:"
ROOM = "while i < len(ids):"


def whole(*lines: str) -> str:
    """A whole merge_pair, where an edit of the solution would be hard to read."""
    return "\n".join(["def merge_pair(ids, pair, new_id):", *(f"    {line}" for line in lines)])


MISTAKES = (
    Mistake(
        "overlapping merge",
        "An id is used in two occurrences: both pairs of (7, 7, 7) are replaced, and the result is "
        "(new_id, new_id). That stands for four sevens.",
        (
            whole("merged, last = [], len(ids) - 1", "for i, one in enumerate(ids):",
                  "    if i < last and (one, ids[i + 1]) == pair:",
                  "        merged.append(new_id)",
                  "    elif not (i and (ids[i - 1], one) == pair):",
                  "        merged.append(one)", "return tuple(merged)"),
        ),
        "After a match at i, which is the next id that is still free?",
    ),
    Mistake(
        "merged from the right",
        "Occurrences are found from right to left, so (7, 7, 7) becomes (7, new_id): another token "
        "than training saw.",
        (
            whole("merged, i = [], len(ids) - 1", "while i >= 0:",
                  "    if i and (ids[i - 1], ids[i]) == pair:", "        merged.append(new_id)",
                  "        i -= 2", "    else:", "        merged.append(ids[i])",
                  "        i -= 1", "return tuple(merged[::-1])"),
        ),
        "Which two of three sevens does a reader from left to right meet first?",
    ),
    Mistake(
        "only the first occurrence",
        "The first occurrence is merged, and the others are left: the function stops, or searches "
        "only once.",
        (edit("        if i + 1 < len(ids) and", "        if len(merged) == i and i + 1 < len(ids) "
              "and"),),
        "What should banana become when an is merged?",
    ),
    Mistake(
        "second id kept",
        "The new id is put in, and the second id of the pair stays behind it: after a match the "
        "index goes one step where it should go two.",
        (edit("i += 2", "i += 1"),),
        "After a match, which id have you not looked at yet?",
    ),
    Mistake(
        "first id kept",
        "The first id of the pair is kept, and the new one is put in place of the second only.",
        (edit("merged.append(new_id)", "merged.extend((ids[i], new_id))"),),
        "How long should (3, 5) be after its only pair is merged?",
    ),
    Mistake(
        "one step too many after a match",
        "After a match the index goes three steps, and the id behind the pair is lost.",
        (edit("i += 2", "i += 3"),),
        "A pair has two ids.",
    ),
    Mistake(
        "pair after a pair not seen",
        "The id behind a match is copied without a look at it, so a second occurrence right after "
        "the first is missed.",
        (edit("            i += 2", "            merged.extend(ids[i + 2 : i + 3])\n"
              "            i += 3"),),
        "What should banana become when an is merged?",
    ),
    Mistake(
        "only even places",
        "The ids are taken in blocks of two, so a pair that begins at an odd place is not found.",
        (edit(TEST, "if i % 2 == 0 and i + 1 < len(ids) and (ids[i], ids[i + 1]) == pair:"),
         whole("merged = []", "for i in range(0, len(ids), 2):",
               "    block = tuple(ids[i : i + 2])",
               "    merged.extend((new_id,) if block == pair else block)",
               "return tuple(merged)")),
        "In banana, at which places does an begin?",
    ),
    Mistake(
        "last id lost",
        "The loop ends at the last id but one, as it would to look for pairs; an id that stands "
        "alone at the end is not copied.",
        (edit(ROOM, "while i < len(ids) - 1:"),),
        "What happens to the last a of banana?",
    ),
    Mistake(
        "last pair missed",
        "A pair at the very end is not found: the comparison stops one place early.",
        (edit("i + 1 < len(ids)", "i + 2 < len(ids)"),),
        "For which values of i is there an ids[i + 1]?",
    ),
    Mistake(
        "order of the pair lost",
        "(2, 1) is merged like (1, 2): the two ids are compared as a set.",
        (edit(TEST, "if i + 1 < len(ids) and (ids[i], ids[i + 1]) in (pair, pair[::-1]):"),),
        "Are no and on one token?",
    ),
    Mistake(
        "only the first id compared",
        "Wherever the pair's first id stands, it is merged with whatever follows.",
        (edit(TEST, "if i + 1 < len(ids) and ids[i] == pair[0]:"),),
        "A match needs two equal ids.",
    ),
    Mistake(
        "only the second id compared",
        "Wherever the pair's second id follows, it is merged with whatever stands before it.",
        (edit(TEST, "if i + 1 < len(ids) and ids[i + 1] == pair[1]:"),),
        "A match needs two equal ids.",
    ),
    Mistake(
        "either id is enough",
        "One of the two ids is enough for a match: `or` stands where `and` should.",
        (edit(TEST, "if i + 1 < len(ids) and (ids[i] == pair[0] or ids[i + 1] == pair[1]):"),),
        "A match needs two equal ids.",
    ),
    Mistake(
        "new id of its own",
        "The new id is made up inside the function; the one that is given is not used.",
        (edit("merged.append(new_id)", "merged.append(256)"),
         edit("merged.append(new_id)", "merged.append(max(max(ids) + 1, 256))"),
         edit("merged.append(new_id)", "merged.append(max(ids) + 1)")),
        "Which of the three arguments does your function never read?",
    ),
    Mistake(
        "numbers joined as text",
        "The ids are written into one text and the pair is replaced there, so that 197 98 loses "
        "its last digits to 97 98.",
        (
            whole("row = ' '.join(str(i) for i in ids)",
                  "row = row.replace(f'{pair[0]} {pair[1]}', str(new_id))",
                  "return tuple(int(i) for i in row.split())"),
        ),
        "Compare numbers, not their digits.",
    ),
    Mistake(
        "last with first",
        "The last id and the first are taken for neighbours: an index of -1 is the last element, "
        "and no error.",
        (edit("    merged = []\n    i = 0\n", "    merged = []\n    i = 0\n"
              "    if len(ids) > 1 and (ids[-1], ids[0]) == pair:\n"
              "        merged, ids, i = [new_id], ids[:-1], 1\n"),),
        "What is ids[i - 1] for i = 0?",
    ),
    Mistake(
        "a list for a tuple",
        "The result is a list, and a list cannot be the key of a dict, which is what words are.",
        (edit("return tuple(merged)", "return merged"),),
        "tuple(...) makes a tuple of a list.",
    ),
    Mistake(
        "a slice beside a tuple",
        "A slice of ids is compared with the pair: a slice of a tuple is a tuple, a slice of a "
        "list is a list, and a list never equals a tuple. So for one of the two nothing is merged.",
        (
            edit(TEST, "if ids[i : i + 2] == pair:"),
            edit(TEST, "if ids[i : i + 2] == list(pair):"),
        ),
        "What is [1, 2] == (1, 2)? tuple(...) or list(...) around the slice makes them alike.",
    ),
    Mistake(
        "works on ids in place",
        "The caller's own list is changed: del, pop and assignment to a slice work on the list "
        "itself.",
        (
            whole("i = 0", "merged = ids if isinstance(ids, list) else list(ids)",
                  "while i + 1 < len(merged):",
                  "    if (merged[i], merged[i + 1]) == pair:",
                  "        merged[i : i + 2] = [new_id]", "    i += 1", "return tuple(merged)"),
        ),
        "Build a new list, or work on list(ids), which is a copy.",
    ),
)  # fmt: skip
