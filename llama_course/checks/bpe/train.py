"""Third part: learning the merges, and what to do when two pairs are equally frequent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llama_course.checks.bpe.text import STORY, babbled, counted, words_of
from llama_course.checks.exercise import EXACT, Case, Mistake, edit
from llama_course.checks.scripts import calls

STARTER = '''
def train_bpe(words: dict[tuple[int, ...], int], n_merges: int) -> list[tuple[int, int]]:
    """Learn up to n_merges merges from words of bytes.

    words: a dict from each distinct word, a tuple of bytes as whole numbers from 0 to 255, to how
    often it occurs. n_merges is 0 or more.

    Each step counts the pairs in the words as they are now, takes the most frequent pair, and
    merges it in all words. The first new id is 256, the next is 257, and so on.
    Each id stands for a byte string: 97 for b"a", a new id for those of its pair, joined.
    Of several pairs that are equally frequent, take the one with the greater byte strings: compare
    those of the first ids, and where these are equal those of the second ids. b"b" > b"ab" > b"a".
    A pair that occurs only once is merged too; when no pair is left, stop early.
    Return the list of merged pairs of ids, in the order in which they were merged.
    words is not changed.
    """
    raise NotImplementedError
'''

SOLUTION = """
def train_bpe(words: dict[tuple[int, ...], int], n_merges: int) -> list[tuple[int, int]]:
    vocab = {i: bytes([i]) for i in range(256)}
    merges = []
    for new_id in range(256, 256 + n_merges):
        now = pair_counts(words)
        if not now:
            break
        best = max(now, key=lambda p: (now[p], vocab[p[0]], vocab[p[1]]))
        words = {merge_pair(word, best, new_id): times for word, times in words.items()}
        vocab[new_id] = vocab[best[0]] + vocab[best[1]]
        merges.append(best)
    return merges
"""

STEP = (
    "Each step counts the pairs in the words as they are now, takes the most frequent pair, and "
    "merges it in all words."
)
NEXT = "The first new id is 256, the next is 257, and so on."
TIES = (
    "Of several pairs that are equally frequent, take the one with the greater byte strings: "
    "compare those of the first ids, and where these are equal those of the second ids."
)
STOP = "A pair that occurs only once is merged too; when no pair is left, stop early."
RETURN = "Return the list of merged pairs of ids, in the order in which they were merged."

T = "the result of train_bpe"


def case(title: str, level: str, says: str, catches: str, *args: object, **more: object) -> Case:
    """One call of train_bpe."""
    script = calls("train_bpe", *args)
    return Case(
        *(title, level, says, catches, script),
        dtype=None, tolerance=EXACT, part="train_bpe", **more,  # type: ignore[arg-type]
    )  # fmt: skip


def ties(answer: Any) -> Iterator[tuple[str, Any]]:
    """Words in which two pairs are equally frequent, in both orders."""
    for one, other in (("ab", "cd"), ("ab", "ac"), ("ba", "ca"), ("az", "ba"), ("Za", "ab")):
        for words in (words_of(**{one: 3, other: 3}), words_of(**{other: 3, one: 3})):
            first = bytes(next(iter(words))).decode()
            yield (
                f"the merge of {one} and {other}, {first} coming first",
                answer.train_bpe(words, 1),
            )


CASES = (
    case("One merge: a list with one pair", "shape", RETURN, "another kind of result",
         words_of(ab=1), 1, expect={T: [(97, 98)]}),
    case("By hand: no 5 times, not 2 times, tee 3 times; four merges", "example", STEP,
         "anything that shows on paper", words_of(no=5, tee=3, **{"not": 2}), 4,
         expect={T: [(110, 111), (116, 101), (257, 101), (256, 116)]}),
    case("By hand: a frequent word weighs more than three rare ones", "example", STEP,
         "counts without the words' own counts", words_of(ox=4, at=1, cat=1, hat=1), 1,
         expect={T: [(111, 120)]}),
    Case("Two pairs equally frequent: the greater byte strings win", "example", TIES,
         "the smaller, the first seen, the last seen", ties, dtype=None, tolerance=EXACT,
         part="train_bpe"),
    case("A tie of an old letter and a new token: b\"b\" is greater than b\"ab\"", "property", TIES,
         "ids compared, or lengths", words_of(ab=9, abz=2, by=2), 2,
         expect={T: [(97, 98), (98, 121)]}),
    case("A tie of (a, z) and (ab, a): b\"ab\" is greater than b\"a\"", "property", TIES,
         "the joined byte strings compared", words_of(ab=9, aba=2, az=2), 2,
         expect={T: [(97, 98), (256, 97)]}),
    case("A tie of (a, z) and (a with a line end, b): the longer b\"a\\n\" is greater than b\"a\"",
         "property", TIES, "byte strings compared with something put between them",
         {(97, 10): 9, (97, 10, 98): 2, (97, 122): 2}, 2, expect={T: [(97, 10), (256, 98)]}),
    case("A tie of three pairs with the same first byte string", "property", TIES,
         "the second byte string not compared", words_of(qa=2, qc=2, qb=2), 3,
         expect={T: [(113, 99), (113, 98), (113, 97)]}),
    case("A tie of second ids that are tokens: b\"b\" is greater than b\"ab\"", "property", TIES,
         "ids compared, or lengths", words_of(ab=9, xab=2, xb=2), 2),
    case("A tie of bytes that are no characters: letters of Greek, and zz", "property", TIES,
         "text or print compared where bytes should be", words_of(zz=2, α=2, γ=2, β=2), 2,
         expect={T: [(0xCE, 0xB3), (0xCE, 0xB2)]}),
    case("Counts are taken anew after each merge", "property", STEP,
         "the counts of the beginning", words_of(abc=5, bd=4, ce=3), 4),
    case("Tokens grow: a merge may join two merged tokens", "property", NEXT,
         "merges of bytes only", words_of(abab=5, ababab=2), 4),
    case("aaaa and its like", "property", STEP, "overlapping merges", words_of(aaaaaaa=4, aaa=1),
         3),
    case("Twelve merges of a small text", "property", STEP, "anything else", counted(STORY), 12),
    case("Twenty merges of words of a, b and c, with many ties", "property", TIES, "anything else",
         babbled(1, 24), 20),
    case("No merges asked for", "edge", RETURN, "a loop that runs once", words_of(ab=3), 0,
         expect={T: []}),
    case("A pair that occurs once", "edge", STOP, "a least count of two", words_of(abc=1), 2,
         expect={T: [(98, 99), (97, 256)]}),
    case("More merges asked for than there are pairs", "edge", STOP,
         "a maximum of nothing, a merge of nothing", words_of(ab=3, ac=1), 9,
         expect={T: [(97, 98), (97, 99)]}),
    case("400 merges asked for where there are fewer pairs", "edge", STOP,
         "a number that counts the bytes too", babbled(2, 12), 400),
    case("Words without pairs", "edge", STOP, "a maximum of nothing", {(97,): 5, (): 2}, 3),
    case("No words", "edge", STOP, "a maximum of nothing", {}, 3),
    case("The bytes 0, 128 and 255", "edge", STEP, "bytes taken for characters",
         {(0, 255): 3, (128, 129): 3, (255, 0): 3, (255, 255): 1}, 3),
    case("words is afterwards what it was", "inputs", "words is not changed.",
         "merging in the caller's dict", words_of(abab=2, bab=1), 3),
)  # fmt: skip

BEST = "max(now, key=lambda p: (now[p], vocab[p[0]], vocab[p[1]]))"
RANGE = "range(256, 256 + n_merges)"
WORDS = "words = {merge_pair(word, best, new_id): times for word, times in words.items()}"


def best(key: str) -> tuple[str, ...]:
    """The maximum taken by another key."""
    return edit(BEST, f"max(now, key=lambda p: {key})")


MISTAKES = (
    Mistake(
        "tie-break reversed",
        "Of equally frequent pairs the one with the smaller byte strings is taken; it should be "
        "the greater.",
        (
            edit(BEST, "min(now, key=lambda p: (-now[p], vocab[p[0]], vocab[p[1]]))"),
            edit(BEST, "sorted(now, key=lambda p: (-now[p], vocab[p[0]], vocab[p[1]]))[0]"),
        ),
        "ab and cd each occur three times. Which comes later in a dictionary?",
    ),
    Mistake(
        "tie by ids",
        "Of equally frequent pairs the one with the greater ids is taken. A new id is greater than "
        "every byte, but its byte string need not be: b\"b\" is greater than b\"ab\".",
        (best("(now[p], p)"),),
        "Which is greater, b\"ab\" or b\"b\"? And their ids, 256 and 98?",
    ),
    Mistake(
        "tie by smaller ids",
        "Of equally frequent pairs the one with the smaller ids is taken; what counts are the byte "
        "strings, and the greater ones.",
        (edit(BEST, "min(now, key=lambda p: (-now[p], p))"),),
        "ab and cd each occur three times. Which comes later in a dictionary?",
    ),
    Mistake(
        "first seen wins a tie",
        "Of equally frequent pairs the one that was met first is taken, as max and most_common do; "
        "it then depends on the order of the words.",
        (edit(BEST, "max(now, key=now.get)"),),
        "max returns the first of several greatest items. What could the key hold besides the "
        "count?",
    ),
    Mistake(
        "last seen wins a tie",
        "Of equally frequent pairs the one that was met last is taken, as a loop with >= does; it "
        "then depends on the order of the words.",
        (edit(BEST, "max(reversed(list(now)), key=now.get)"),),
        "What should happen when a count equals the best so far?",
    ),
    Mistake(
        "tie by the joined byte strings",
        "Of equally frequent pairs the one with the greater new token is compared: the two byte "
        "strings joined. They are compared one after the other.",
        (best("(now[p], vocab[p[0]] + vocab[p[1]])"),
         best("(now[p], vocab[p[0]] + vocab[p[1]], vocab[p[0]])")),
        "b\"a\" + b\"z\" is greater than b\"ab\" + b\"a\". And (b\"a\", b\"z\")?",
    ),
    Mistake(
        "tie by the first byte string alone",
        "The byte strings of the first ids decide a tie, and where they are equal nothing does.",
        (best("(now[p], vocab[p[0]])"),),
        "ab and ac are equally frequent. What makes one greater?",
    ),
    Mistake(
        "tie by the second byte string first",
        "The byte strings of the second ids are compared before those of the first.",
        (best("(now[p], vocab[p[1]], vocab[p[0]])"),),
        "az and ba are equally frequent. Which comes later in a dictionary?",
    ),
    Mistake(
        "tie by length",
        "Of equally frequent pairs the one that makes the longer token is taken.",
        (best("(now[p], len(vocab[p[0]] + vocab[p[1]]), vocab[p[0]], vocab[p[1]])"),),
        "Which is greater, b\"b\" or b\"ab\"?",
    ),
    Mistake(
        "tie by decoded text",
        "Byte strings are decoded to text before they are compared. Half a character has no text: "
        "all halves become one and the same sign.",
        (best("(now[p], vocab[p[0]].decode(errors='replace'), "
              "vocab[p[1]].decode(errors='replace'))"),),
        "What is bytes([0xB1]).decode(errors='replace'), and bytes([0xB2])?",
    ),
    Mistake(
        "tie by the printed bytes",
        "Byte strings are compared as text that spells a byte out as print does, \\xce with a "
        "backslash, and a backslash comes before every small letter.",
        (best("(now[p], str(vocab[p[0]]), str(vocab[p[1]]))"),
         best("(now[p], repr(vocab[p[0]]), repr(vocab[p[1]]))")),
        "Which is greater, b\"\\xce\" or b\"z\"? And str of them?",
    ),
    Mistake(
        "least frequent pair",
        "The rarest pair is merged; it should be the most frequent.",
        (edit(BEST, "min(now, key=lambda p: (now[p], vocab[p[0]], vocab[p[1]]))"),
         edit(BEST, "max(now, key=lambda p: (-now[p], vocab[p[0]], vocab[p[1]]))")),
        "min or max?",
    ),
    Mistake(
        "counted only once",
        "The pairs are counted before the loop, and the most frequent are all taken from that one "
        "list. Each merge breaks some pairs up and makes new ones.",
        (
            edit("    merges = []\n    for new_id in",
                 "    merges = []\n    now = pair_counts(words)\n    for new_id in",
                 "        now = pair_counts(words)\n        if not now:", "        if not now:",
                 "        merges.append(best)", "        merges.append(best)\n        del now[best]"
                 ),
        ),
        "abc occurs five times. After ab is merged, how often is there a pair (b, c)?",
    ),
    Mistake(
        "words never merged",
        "The pair is noted, but the words stay as they are, so the same pair is the most frequent "
        "again and again.",
        (edit(WORDS, "pass"),
         edit(WORDS, "[merge_pair(word, best, new_id) for word in words]")),
        "merge_pair returns a new tuple. Where does yours go?",
    ),
    Mistake(
        "frequencies lost after a merge",
        "The merged words get the count 1, or a count of other words: from the second step on, "
        "rare words weigh as much as frequent ones.",
        (edit("merge_pair(word, best, new_id): times for", "merge_pair(word, best, new_id): 1 for"),
         ),
        "What is the count of a word after it was merged?",
    ),
    Mistake(
        "words without the pair lost",
        "Only the words that were merged are kept; a word that does not hold the pair is gone.",
        (edit("times for word, times in words.items()}",
              "times for word, times in words.items()\n                 if best in zip(word, "
              "word[1:])}"),),
        "What becomes of a word that the merge does not touch?",
    ),
    Mistake(
        "new ids from 255",
        "The first new id is 255, which is a byte already: two things with one name.",
        (edit(RANGE, "range(255, 255 + n_merges)"),),
        "The bytes are 0 to 255. Which number is free?",
    ),
    Mistake(
        "new ids from 257",
        "The first new id is 257; 256 is free.",
        (edit(RANGE, "range(257, 257 + n_merges)"),),
        "The bytes are 0 to 255. Which number is free?",
    ),
    Mistake(
        "new ids from 0",
        "The new ids are the numbers of the merges, 0, 1, 2 ..., and these are bytes already.",
        (edit(RANGE, "range(n_merges)"),),
        "The bytes are 0 to 255. Which number is free?",
    ),
    Mistake(
        "new ids from 1",
        "The new ids are 1, 2, 3 ..., and these are bytes already.",
        (edit(RANGE, "range(1, 1 + n_merges)"),),
        "The bytes are 0 to 255. Which number is free?",
    ),
    Mistake(
        "n_merges taken for the vocabulary's size",
        "The loop makes n_merges - 256 merges, as if n_merges counted the bytes too.",
        (edit(RANGE, "range(256, n_merges)"),),
        "How many merges should n_merges = 1 give?",
    ),
    Mistake(
        "one merge too few",
        "The loop ends one step early.",
        (edit(RANGE, "range(256, 255 + n_merges)"),),
        "How many merges should n_merges = 1 give?",
    ),
    Mistake(
        "one merge too many",
        "The loop runs one step too far.",
        (edit(RANGE, "range(256, 257 + n_merges)"),),
        "How many merges should n_merges = 0 give?",
    ),
    Mistake(
        "goes on when no pair is left",
        "When every word is a single token there is no pair to take the maximum of.",
        (edit("        if not now:\n            break\n", ""),),
        "What does max say of an empty dict? And what should train_bpe do then?",
    ),
    Mistake(
        "stops at pairs that occur once",
        "The training ends where the best pair occurs only once; such pairs are merged too.",
        (edit("if not now:", "if not now or max(now.values()) < 2:"),),
        "A text of one word still has pairs.",
    ),
    Mistake(
        "bytes for ids",
        "The merges are returned as byte strings; the result holds pairs of ids.",
        (edit("merges.append(best)", "merges.append((vocab[best[0]], vocab[best[1]]))"),),
        "What is in the list that the docstring describes, ids or bytes?",
    ),
    Mistake(
        "new tokens returned",
        "The byte strings of the new tokens are returned; the result holds the pairs of ids that "
        "were merged.",
        (edit("merges.append(best)", "merges.append(vocab[new_id])"),),
        "What is in the list that the docstring describes?",
    ),
    Mistake(
        "words changed in place",
        "The merged words are put into the caller's own dict.",
        (
            edit(WORDS, "for word in list(words):\n"
                 "            words[merge_pair(word, best, new_id)] = words.pop(word)"),
        ),
        "Make a new dict in each step.",
    ),
)  # fmt: skip
