"""Fourth part: the merges are applied to a new word, in the order in which they were learned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llama_course.checks.bpe.text import STORY, babble, babbled, counted
from llama_course.checks.exercise import EXACT, Case, Mistake, edit
from llama_course.checks.scripts import calls

STARTER = '''
def bpe_encode(ids: tuple[int, ...], ranks: dict[tuple[int, int], int]) -> tuple[int, ...]:
    """Encode one word: apply the learned merges to its bytes.

    ids: a tuple or a list with the word's bytes, as whole numbers from 0 to 255; there may be none.
    ranks: the list of train_bpe as a dict, from each merged pair to its place in the list, from 0.
    The items of the dict may stand in any order.

    As long as two neighbours are a pair that has a rank, the pair with the lowest rank is merged,
    in all its occurrences, from left to right as in merge_pair.
    What was merged may be merged again.
    The pair of rank r becomes the id 256 + r.
    Return the ids that are left, as a tuple or a list.
    Neither ids nor ranks is changed.
    """
    raise NotImplementedError
'''

SOLUTION = """
def bpe_encode(ids: tuple[int, ...], ranks: dict[tuple[int, int], int]) -> tuple[int, ...]:
    row = tuple(ids)
    while True:
        known = [p for p in zip(row, row[1:]) if p in ranks]
        if not known:
            return row
        lowest = min(known, key=ranks.get)
        row = merge_pair(row, lowest, 256 + ranks[lowest])
"""

LOWEST = (
    "As long as two neighbours are a pair that has a rank, the pair with the lowest rank is "
    "merged, in all its occurrences, from left to right as in merge_pair."
)
AGAIN = "What was merged may be merged again."
BECOMES = "The pair of rank r becomes the id 256 + r."
ORDER = "The items of the dict may stand in any order."
NONE = (
    "ids: a tuple or a list with the word's bytes, as whole numbers from 0 to 255; there may be "
    "none."
)

T = "the result of bpe_encode"
# on, he, her, the: "there" is t her e, though "the" stands further left and is as long.
FOUR = [(111, 110), (104, 101), (257, 114), (116, 257)]


def ranks(*merges: tuple[int, int]) -> dict[tuple[int, int], int]:
    """The ranks of merges, in their order."""
    return {pair: i for i, pair in enumerate(merges)}


def trained(words: dict[tuple[int, ...], int], n: int) -> dict[tuple[int, int], int]:
    """The ranks that training gives; this course's own way of training is in train.py."""
    from llama_course.tokenizers.bpe_steps import train_bpe

    return ranks(*train_bpe(words, n))


def shuffled(given: dict[tuple[int, int], int]) -> dict[tuple[int, int], int]:
    """The same ranks in another order: every third pair, then the others, from the end."""
    pairs = list(given)
    return {pair: given[pair] for pair in reversed(pairs[::3] + pairs[1::3] + pairs[2::3])}


def case(title: str, level: str, says: str, catches: str, *args: object, **more: object) -> Case:
    """One call of bpe_encode."""
    script = calls("bpe_encode", *args)
    return Case(
        *(title, level, says, catches, script),
        dtype=None, tolerance=EXACT, part="bpe_encode", **more,  # type: ignore[arg-type]
    )  # fmt: skip


OWN = trained(counted(STORY), 120)
UNSEEN = "there weatherbutter shellshe bananananas whitest λάμψη Überübel 羊羊羊羊羊 🦙🦙🦙 zzzzzzz"
ABC = trained(babbled(3, 40), 60)  # of three letters: nearly every word has several ways to go
ABC_WORDS = babble(4, 25, 12)


def many_words(answer: Any) -> Iterator[tuple[str, Any]]:
    """Words that the training has not seen."""
    for word in UNSEEN.split():
        yield f"the ids of {word}", answer.bpe_encode(tuple(word.encode()), OWN)


def of_three_letters(answer: Any) -> Iterator[tuple[str, Any]]:
    """Words in which the order of the merges decides almost everywhere."""
    for word in ABC_WORDS:
        yield f"the ids of {word}", answer.bpe_encode(tuple(word.encode()), ABC)


def any_order(answer: Any) -> Iterator[tuple[str, Any]]:
    """The same ranks, their items in another order."""
    mixed = shuffled(ABC)
    for word in ABC_WORDS[:8]:
        yield f"the ids of {word}", answer.bpe_encode(tuple(word.encode()), mixed)


CASES = (
    case("One merge", "shape", BECOMES, "another kind of result", (97, 98), ranks((97, 98)),
         expect={T: (256,)}),
    case("By hand: there, with the merges on, he, her, the", "example", LOWEST,
         "left to right, the longest token first", tuple(b"there"), ranks(*FOUR),
         expect={T: (116, 258, 101)}),
    case("By hand: note, with the merges no, te, tee, not", "example", LOWEST,
         "the highest rank first", tuple(b"note"),
         ranks((110, 111), (116, 101), (257, 101), (256, 116)), expect={T: (256, 257)}),
    case("By hand: every occurrence is merged", "example", LOWEST, "only the first occurrence",
         tuple(b"onions on"), ranks(*FOUR),
         expect={T: (256, 105, 256, 115, 32, 256)}),
    case("aaa becomes aa and a, aaaaaaa grows in three steps", "property", AGAIN,
         "overlapping merges, or merges from the right", tuple(b"aaaaaaa"),
         ranks((97, 97), (256, 256), (257, 256)), expect={T: (258, 97)}),
    case("aaa alone", "property", LOWEST, "merges from the right", tuple(b"baaa"),
         ranks((97, 97))),
    case("The most frequent pair of the word is not the one of the lowest rank", "property",
         LOWEST, "training once more, on the word", tuple(b"abbcbcb"),
         ranks((97, 98), (98, 99))),
    case("The pair of the smallest ids is not the one of the lowest rank", "property", LOWEST,
         "min without a key", tuple(b"abcab"), ranks((98, 99), (97, 98))),
    case("The longest token is not the one of the lowest rank", "property", LOWEST,
         "merges applied by length", tuple(b"abcde"),
         ranks((97, 98), (99, 100), (256, 99), (257, 101))),
    case("Nor is it always the one that stands further left", "property", LOWEST,
         "merges applied by length, left to right", tuple(b"abqxyab"),
         ranks((97, 98), (120, 121), (121, 256))),
    case("The merge of rank 0 counts like any other", "property", BECOMES,
         "a rank of 0 taken for none", tuple(b"xonx"), ranks(*FOUR)),
    Case("Ranks whose items stand in another order", "property", ORDER,
         "the order of the dict taken for the ranks", any_order, dtype=None, tolerance=EXACT,
         part="bpe_encode"),
    Case("Words that the training has not seen, with 120 merges", "property", LOWEST,
         "anything else", many_words, dtype=None, tolerance=EXACT, part="bpe_encode"),
    Case("Words of a, b and c, with 60 merges", "property", LOWEST, "anything else",
         of_three_letters, dtype=None, tolerance=EXACT, part="bpe_encode"),
    case("No pair has a rank: the bytes stay", "edge", LOWEST, "a loop that never ends",
         tuple(b"xyz"), ranks(*FOUR), expect={T: tuple(b"xyz")}),
    case("No ids", "edge", NONE, "a minimum of nothing", (), ranks(*FOUR), expect={T: ()}),
    case("One byte", "edge", NONE, "a minimum of nothing", (255,), ranks(*FOUR)),
    case("No ranks", "edge", LOWEST, "a minimum of nothing", (97, 98), {}),
    case("The bytes 0 and 255", "edge", NONE, "a byte 0 taken for none", (0, 0, 255, 255, 0),
         ranks((255, 255), (0, 256), (0, 257))),
    case("A list of ids is afterwards what it was, and so are the ranks", "inputs",
         "Neither ids nor ranks is changed.", "work in place", list(b"otherwise"), OWN),
)  # fmt: skip

PICK = "lowest = min(known, key=ranks.get)"
DO = "row = merge_pair(row, lowest, 256 + ranks[lowest])"


def whole(*lines: str) -> str:
    """A whole bpe_encode, where an edit of the solution would be hard to read."""
    return "\n".join(["def bpe_encode(ids, ranks):", *(f"    {line}" for line in lines)])


VOCAB = (
    "vocab = {i: bytes([i]) for i in range(256)}",
    "for (a, b), r in sorted(ranks.items(), key=lambda item: item[1]):",
    "    vocab[256 + r] = vocab[a] + vocab[b]",
)

MISTAKES = (
    Mistake(
        "merge order ignored",
        "The word is read from left to right and the first pair that has a rank is merged; ranks "
        "are only asked whether a pair is there, and not when it was learned.",
        (
            edit(PICK, "lowest = known[0]"),
            whole("row, i = list(ids), 0", "while i + 1 < len(row):",
                  "    p = (row[i], row[i + 1])", "    if p in ranks:",
                  "        row[i : i + 2] = [256 + ranks[p]]", "        i = max(i - 1, 0)",
                  "    else:", "        i += 1", "return tuple(row)"),
            whole("row = list(ids)", "while True:", "    for i in range(len(row) - 1):",
                  "        p = (row[i], row[i + 1])", "        if p in ranks:",
                  "            row[i : i + 2] = [256 + ranks[p]]", "            break",
                  "    else:", "        return tuple(row)"),
            whole("row = []", "for i in ids:", "    row.append(i)",
                  "    while len(row) > 1 and (row[-2], row[-1]) in ranks:",
                  "        row[-2:] = [256 + ranks[row[-2], row[-1]]]", "return tuple(row)"),
        ),
        "In there, both the and her could be made. Which was learned first?",
    ),
    Mistake(
        "highest rank first",
        "The pair that was learned last is merged first; the lowest rank goes first.",
        (
            edit(PICK, "lowest = max(known, key=ranks.get)"),
            edit("    row = tuple(ids)\n    while True:\n"
                 "        known = [p for p in zip(row, row[1:]) if p in ranks]\n"
                 "        if not known:\n            return row\n"
                 f"        {PICK}\n        {DO}",
                 "    row = tuple(ids)\n"
                 "    for p, r in sorted(ranks.items(), key=lambda item: -item[1]):\n"
                 "        row = merge_pair(row, p, 256 + r)\n    return row"),
        ),
        "Which of on (rank 0) and the (rank 3) did training merge first?",
    ),
    Mistake(
        "merges applied by length",
        "The pair that makes the longest token is merged first; the rank decides, not the length.",
        (
            whole(*VOCAB, "row = tuple(ids)", "while True:",
                  "    known = [p for p in zip(row, row[1:]) if p in ranks]",
                  "    if not known:", "        return row",
                  "    p = max(known, key=lambda p: (len(vocab[256 + ranks[p]]), -ranks[p]))",
                  "    row = merge_pair(row, p, 256 + ranks[p])"),
            whole(*VOCAB, "row = tuple(ids)", "while True:",
                  "    known = [p for p in zip(row, row[1:]) if p in ranks]",
                  "    if not known:", "        return row",
                  "    p = max(known, key=lambda p: len(vocab[256 + ranks[p]]))",
                  "    row = merge_pair(row, p, 256 + ranks[p])"),
        ),
        "ranks says when a merge was learned. Where does a length come from?",
    ),
    Mistake(
        "longest match",
        "From the left, the longest token that fits is taken, as WordPiece does it. BPE replays "
        "the merges, and can end in other tokens.",
        (
            whole(*VOCAB, "known = {text: i for i, text in vocab.items()}",
                  "rest, row = bytes(ids), []", "while rest:",
                  "    n = max(n for n in range(1, len(rest) + 1) if rest[:n] in known)",
                  "    row.append(known[rest[:n]])", "    rest = rest[n:]", "return tuple(row)"),
        ),
        "Does your function make a token of bytes at once, or of two neighbours?",
    ),
    Mistake(
        "by frequency in the word",
        "The most frequent pair of this word is merged, as if the word were the text to train on; "
        "encoding counts nothing.",
        (edit(PICK, "lowest = max(known, key=lambda p: (known.count(p), -ranks[p]))"),
         edit(PICK, "lowest = max(known, key=known.count)")),
        "What was counted was counted in training. What is left of it in ranks?",
    ),
    Mistake(
        "smallest ids first",
        "min is called without the key, so the pair with the smallest ids is taken and not the one "
        "with the lowest rank.",
        (edit(PICK, "lowest = min(known)"),),
        "min(pairs) compares the pairs. By what should they be compared?",
    ),
    Mistake(
        "order of the dict",
        "The merges are tried in the order in which they stand in the dict; their rank is the "
        "number that the dict gives.",
        (
            edit(PICK, "lowest = next(p for p in ranks if p in known)"),
            whole("row = tuple(ids)", "for p, r in ranks.items():",
                  "    row = merge_pair(row, p, 256 + r)", "return row"),
        ),
        "A dict promises nothing about ranks by its order. What does ranks[pair] say?",
    ),
    Mistake(
        "rank 0 taken for none",
        "The very first merge is never applied: its rank is 0, and 0 counts as false.",
        (edit("if p in ranks]", "if ranks.get(p)]"),),
        "What is bool(ranks.get(pair)) for the first merge?",
    ),
    Mistake(
        "rank for the id",
        "A merged pair becomes its rank, without the 256 of the bytes before it.",
        (edit("256 + ranks[lowest]", "ranks[lowest]"),),
        "The bytes have the ids 0 to 255. Which id has the merge of rank 0?",
    ),
    Mistake(
        "new ids from 255",
        "A merged pair becomes 255 + r; the merge of rank 0 is 256.",
        (edit("256 + ranks[lowest]", "255 + ranks[lowest]"),),
        "The bytes have the ids 0 to 255. Which id has the merge of rank 0?",
    ),
    Mistake(
        "new ids from 257",
        "A merged pair becomes 257 + r; the merge of rank 0 is 256.",
        (edit("256 + ranks[lowest]", "257 + ranks[lowest]"),),
        "The bytes have the ids 0 to 255. Which id has the merge of rank 0?",
    ),
    Mistake(
        "one merge only",
        "One merge is made, and the function returns; it goes on until no pair has a rank.",
        (edit(DO, "return merge_pair(row, lowest, 256 + ranks[lowest])"),),
        "After one merge there are new neighbours.",
    ),
    Mistake(
        "pairs of the beginning only",
        "The pairs are listed once, before anything is merged, so what was merged is never merged "
        "again.",
        (
            whole("row = tuple(ids)",
                  "known = {p for p in zip(row, row[1:]) if p in ranks}",
                  "for p in sorted(known, key=ranks.get):",
                  "    row = merge_pair(row, p, 256 + ranks[p])", "return row"),
        ),
        "After one merge there are new neighbours. Look again.",
    ),
    Mistake(
        "each merge once",
        "Each merge is applied to its first occurrence only.",
        (
            whole("row = list(ids)",
                  "for p, r in sorted(ranks.items(), key=lambda item: item[1]):",
                  "    for i in range(len(row) - 1):",
                  "        if (row[i], row[i + 1]) == p:",
                  "            row[i : i + 2] = [256 + r]", "            break",
                  "return tuple(row)"),
        ),
        "How many on are there in onions on?",
    ),
    Mistake(
        "equal pairs from the right",
        "Of several occurrences the last is merged first, so aaa becomes a and aa.",
        (
            whole("row = list(ids)", "while True:",
                  "    known = [i for i in range(len(row) - 1) if (row[i], row[i + 1]) in ranks]",
                  "    if not known:", "        return tuple(row)",
                  "    i = min(known, key=lambda i: (ranks[row[i], row[i + 1]], -i))",
                  "    row[i : i + 2] = [256 + ranks[row[i], row[i + 1]]]"),
        ),
        "Which two of three letters does merge_pair join?",
    ),
    Mistake(
        "an unknown pair ends it",
        "The function ends as soon as it meets a pair without a rank, though other pairs have one. "
        "ranks.get(pair, 0) does so too: the pair that has no rank comes out lowest.",
        (
            edit("        if not known:\n            return row",
                 "        if not row[1:] or row[:2] not in ranks:\n            return row"),
            edit("        known = [p for p in zip(row, row[1:]) if p in ranks]\n"
                 "        if not known:\n            return row",
                 "        known = list(zip(row, row[1:]))\n"
                 "        if any(p not in ranks for p in known) or not known:\n"
                 "            return row"),
            *(edit("if p in ranks]\n        if not known:", "]\n        if not known:",
                   PICK, f"lowest = min(known, key=lambda p: ranks.get(p, {least}))\n"
                   "        if lowest not in ranks:\n            return row")
              for least in (-1, 0)),
        ),
        "xon: what should become of it?",
    ),
    Mistake(
        "a minimum of nothing",
        "A single id has no neighbours, and min is called all the same; of nothing it has none.",
        (
            edit("        known = [p for p in zip(row, row[1:]) if p in ranks]\n"
                 "        if not known:\n            return row\n"
                 f"        {PICK}\n",
                 "        lowest = min(zip(row, row[1:]), key=lambda p: ranks.get(p, 10**9))\n"
                 "        if lowest not in ranks:\n            return row\n"),
        ),
        "What is left of a word when all of it is one token? What does min say of an empty row?",
    ),
    Mistake(
        "byte strings for ids",
        "The tokens come back as byte strings; the result holds their ids.",
        (
            edit("    row = tuple(ids)", "\n".join(f"    {line}" for line in VOCAB)
                 + "\n    row = tuple(ids)", "            return row",
                 "            return tuple(vocab[i] for i in row)"),
        ),
        "What does the embedding look up, ids or bytes?",
    ),
    Mistake(
        "works on ids in place",
        "The caller's own list is changed: del, pop and assignment to a slice work on the list "
        "itself.",
        (
            whole("row = ids if isinstance(ids, list) else list(ids)", "while True:",
                  "    known = [i for i in range(len(row) - 1) if (row[i], row[i + 1]) in ranks]",
                  "    if not known:", "        return tuple(row)",
                  "    i = min(known, key=lambda i: ranks[row[i], row[i + 1]])",
                  "    row[i : i + 2] = [256 + ranks[row[i], row[i + 1]]]"),
        ),
        "Work on list(ids) or tuple(ids), which are the function's own.",
    ),
)  # fmt: skip
