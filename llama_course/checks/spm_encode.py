"""Lesson 02: encoding as LLaMA's SentencePiece tokenizer does, by merges of the best score."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llama_course.checks.exercise import EXACT, Case, Exercise, Hints, Mistake, apply, edit
from llama_course.checks.scripts import calls

STARTER = '''
def spm_encode(text: str, pieces: list[str], scores: list[float]) -> list[int]:
    """Encode a text as LLaMA's SentencePiece tokenizer does.

    text: a string without U+2581 and without halves of characters (surrogates).
    pieces: the vocabulary; pieces[i] is the piece of id i. Ids 0, 1, 2 are "<unk>", "<s>", "</s>".
    Ids 3 to 258 stand for the bytes 0 to 255: "<0x00>" to "<0xFF>". All other ids are pieces of
    text, each a different one, with "\\u2581" for a space. Each character of a piece of text is a
    piece too.
    scores: scores[i] is the score of piece i. Those of ids 0 to 258 mean nothing.

    The result is a list of ids. An empty text has none.
    Any other text gets one space in front, also where it begins with a space already.
    Then each space becomes "\\u2581". No space is added or dropped besides, and no other character
    is changed.
    The text begins as single characters. Two neighbours may merge where both together are a piece
    of text.
    Of all such pairs, the one whose piece has the highest score is merged, once; of equal scores,
    the leftmost. Then all pairs are looked at anew, until none is left.
    What is left and is a piece of text gives its id. A character without a piece is spelled in its
    UTF-8 bytes, in their order, an id for each.
    The names of ids 0 to 258 mean nothing in a text: "<s>" is three characters there.
    Digits have no rule of their own: what merges them, or keeps them apart, is the vocabulary.
    pieces and scores are not changed.
    """
    raise NotImplementedError
'''

SOLUTION = """
def spm_encode(text: str, pieces: list[str], scores: list[float]) -> list[int]:
    if not text:
        return []
    ids = {piece: i for i, piece in enumerate(pieces) if i > 258}
    symbols = list((" " + text).replace(" ", "\\u2581"))
    while True:
        pairs = [left + right for left, right in zip(symbols, symbols[1:])]
        known = [i for i, pair in enumerate(pairs) if pair in ids]
        if not known:
            break
        best = max(known, key=lambda i: scores[ids[pairs[i]]])
        symbols[best : best + 2] = [pairs[best]]
    result = []
    for symbol in symbols:
        if symbol in ids:
            result.append(ids[symbol])
        else:
            result.extend(3 + byte for byte in symbol.encode("utf-8"))
    return result
"""

RESULT = "The result is a list of ids. An empty text has none."
PREFIX = "Any other text gets one space in front, also where it begins with a space already."
SPACES = "No space is added or dropped besides, and no other character is changed."
HIGHEST = (
    "Of all such pairs, the one whose piece has the highest score is merged, once; of equal "
    "scores, the leftmost."
)
ANEW = "Then all pairs are looked at anew, until none is left."
NEIGHBOURS = "Two neighbours may merge where both together are a piece of text."
BYTES = "A character without a piece is spelled in its UTF-8 bytes, in their order, an id for each."
NAMES = 'The names of ids 0 to 258 mean nothing in a text: "<s>" is three characters there.'
DIGITS = (
    "Digits have no rule of their own: what merges them, or keeps them apart, is the vocabulary."
)

SPECIAL = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
Vocabulary = tuple[list[str], list[float]]


def vocabulary(characters: str, **scores: float) -> Vocabulary:
    """Pieces and scores: single characters, then longer pieces, each with its score; `_` stands
    for U+2581. Scores need not go down where ids go up."""
    longer = {text.replace("_", "\u2581"): score for text, score in scores.items()}
    single = list(characters.replace("_", "\u2581"))
    pieces = [*SPECIAL, *single, *longer]
    assert set("".join(longer)) <= set(single), "a character without a piece of its own"
    # In LLaMA's file, too, only the runs of spaces have a worse score than single characters.
    below = min((score for score in scores.values() if score > -1e9), default=0.0)
    # The first 259 mean nothing; zero, as in LLaMA's file, would hide who reads them.
    values = [
        *(float(i * 7 % 11 - 5) for i in range(259)),
        *(below - 1 - i for i in range(len(single))),
        *longer.values(),
    ]
    return pieces, values


def texts(vocabulary: Vocabulary, *several: str) -> Any:
    """A script that encodes several texts, one after the other."""

    def script(answer: Any) -> Iterator[tuple[str, Any]]:
        held = [answer.hold(values) for values in vocabulary]  # copied once, not for each text
        for text in several:
            shown = ascii(text) if len(text) < 40 else f"{text[:20]!a} and so on"
            yield f"the ids of {shown}", answer.spm_encode(text, *held)

    return script


def case(title: str, level: str, says: str, catches: str, script: Any, **more: Any) -> Case:
    """A case whose transcript has lists of ids only."""
    return Case(title, level, says, catches, script, dtype=None, tolerance=EXACT, **more)


T = "the result of spm_encode"
# the = t he, not th e; hat has no way of its own, since neither ha nor at is the best.
WORDS = vocabulary("_aehtx", th=-9.0, he=-1.0, _t=-2.0, at=-3.0, _the=-4.0, _h=-8.0, _ha=-5.0,
                   hat=-6.0)  # fmt: skip
# As in LLaMA's file: runs of spaces come early in the ids and last in the scores.
RUNS = vocabulary("abx_", __=-1e9, _a=-1.0, ____=-1e9, ___=-1e9, _b=-2.0, ab=-3.0, x_=-0.5,
                  _____=-1e9, ________=-1e9, **{"_" * 16: -1e9})  # fmt: skip
TIES = vocabulary("a_bcdx", ab=-1.0, bc=-1.0, cd=-1.0, aa=-5.0, aaa=-5.0, aaaa=-5.0, bcd=-0.5)
# Of equal scores the left one has the greater id, the later letters, or another length.
# In kmpsy the pair psy is there before kmp, in kmsya sya before kmsy: age does not count either.
TIED = vocabulary("gbpdasceyrfkm_", bc=-1.0, ab=-1.0, de=-1.0, ef=-1.0, ga=-1.0, rr=-0.5, pr=-9.0,
                  yp=-1.0, prr=-1.0, rrp=-1.0, ps=-1.0, bd=-1.0, km=-0.25, sy=-0.125, kmp=-1.0,
                  psy=-1.0, kmsy=-1.0, sya=-1.0, arr=-1.0)  # fmt: skip
# Fractions, ranks that no half-precision float holds, scores above zero, and zero itself: the first
# piece that a training finds has it.
SCORED = vocabulary("abcdefghi_", ab=-0.375, bc=-0.25, cd=-4098.0, de=-4097.0, ef=1.5, fg=2.5,
                    _a=-4099.0, hi=0.0, gh=-0.5, ih=-0.5)  # fmt: skip
# aba has a better score than ab, so it matters whether the second ab is merged at once.
ANEW_WORDS = vocabulary("abcd_", ab=-5.0, aba=-1.0, cd=-2.0, abc=-4.0, dc=-3.0, dca=-7.0, cdc=-40.0)
# Pieces that no pair makes, and long ones that better pairs pass by.
FAR = vocabulary("opr_stu", port=-1.0, _sport=-2.0, st=-3.0, op=-4.0, _s=-5.0, stop=-9.0, _st=-8.0,
                 _stop=-7.0, tro=-1.5, ro=-6.0, _t=-10.0, po=-11.0)  # fmt: skip
NAMED = vocabulary("<>s/_x014AFunk", **{"<s": -2.0, "s>": -1.0, "</": -3.0, "</s": -4.0, "<0": -5.0,
                   "<0x": -6.0, "<0x4": -7.0, "<0x41": -8.0, "<0xF": -12.0,
                   "<0xFF": -13.0, "un": -9.0, "unk": -10.0, "<unk": -11.0})  # fmt: skip
NUMBERS = vocabulary(
    "0_124a", **{"20": -1.0, "24": -2.0, "2024": -3.0, "_1": -4.0, "a2": -5.0, "__": -6.0}
)
PLAIN = vocabulary("_abdeéfilnt", fi=-1.0, _e=-2.0, le=-3.0, file=-4.0, éa=-5.0)
# Not as keywords: Python would make one character of each.
ACCENT = vocabulary("ae\u0301_", **{"e\u0301": -1.0, "a\u0301": -2.0})  # noqa: PIE804

# English, German, Greek, Chinese and code, with pieces for some of it.
MIXED = vocabulary(
    "etaoinshrdlucmfwypvbgkjqxz_äöü.,()=:0123456789αλο\n你好",
    **{"__": -1e9, "____": -1e9, "in": -3.0, "er": -2.0, "_t": -1.0, "th": -15.0, "he": -8.0,
       "_the": -9.0, "on": -5.0, "re": -6.0, "_re": -14.0, "ret": -17.0, "urn": -20.0, "ur": -19.0,
       "_a": -4.0, "_b": -7.0, "en": -10.0, "_d": -11.0, "ef": -12.0, "_def": -13.0, "def": -16.0,
       "_re_": -30.0, "_return": -21.0, "return": -22.0, "ret_": -31.0, "ng": -23.0, "ing": -18.0,
       "über": -24.0, "üb": -25.0, "_ü": -26.0, "λο": -27.0, "你好": -28.0, "ou": -29.0},
)  # fmt: skip
SENTENCES = (
    "the thing on the other end",
    "def f(x):\n    return  x * 2024",
    "Übel über üben, en bloc und nur heiter",
    "λόγος ο καλός, λο λο",
    "你好, 世界! 你 好",
    "naïve 🦙🦙 e\u0301tude \u200d 12345",
)

CASES = (
    case("No text gives no ids; a letter gives a list of whole numbers", "shape", RESULT,
         "a prefix for nothing, a tensor, text in place of numbers", texts(WORDS, "", "a", "ax")),
    case("By hand: \"the\" is t he, then a space and t, then both", "example", HIGHEST,
         "another order of merges", calls("spm_encode", "the", *WORDS),
         expect={T: [WORDS[0].index("\u2581the")]}),
    case("By hand: a llama is a space and four bytes", "example", BYTES,
         "id 0, a code point, bytes without their offset",
         calls("spm_encode", "\N{LLAMA}", *WORDS), expect={T: [259, 243, 162, 169, 156]}),
    case("By hand: two spaces before an a are three, and the last of them joins the a", "example",
         PREFIX, "no prefix, spaces that are joined, ids for an order",
         calls("spm_encode", "  a", *RUNS),
         expect={T: [RUNS[0].index("\u2581\u2581"), RUNS[0].index("\u2581a")]}),
    case("The best score merges first, wherever the piece stands in the list", "property", HIGHEST,
         "the order of the ids, of the text or of the lengths",
         texts(WORDS, "hat", "that hat", "a hat at the that", "thehat", "ththehe")),
    case("Spaces at the start, at the end, in runs, and nothing but spaces", "property", SPACES,
         "spaces that are joined or dropped, words encoded one by one",
         texts(RUNS, " a", "a ", "a  b", "   ab   x", " ", "      ", "a b", " a  b  ", "x a x  b",
               " " * 7, " " * 40 + "a")),
    case("Equal scores: the leftmost pair, and then all pairs anew", "property", HIGHEST,
         "the rightmost of equal scores",
         texts(TIES, "abc", "xabcd", "aaa", "xaaaaaaa", "bcdab", "aaaaaaaaab")),
    case("Equal scores: the ids, the letters and the lengths of the pieces do not matter",
         "property", HIGHEST, "scores made into ranks, a heap with anything before the place",
         texts(TIED, "abc", "def", "gab", "yprr", "rrps", "abd", "abcabc", "defgab", "kmpsy",
               "kmsya", "arrp")),
    case("Scores are any numbers: fractions, great ones, above zero", "property", HIGHEST,
         "scores that are cut to whole numbers or to half precision, lose their sign, or "
         "are taken for none where they are zero",
         texts(SCORED, "abc", "cde", "efg", "abcdefg", "def", "bcd", "hi", "ghi", "ab ihia")),
    case("A merge makes new pairs, and one of them may be the best", "property", ANEW,
         "pairs that are listed once, all places of a pair merged together",
         texts(ANEW_WORDS, "abab", "xababab", "cdabab", "abcdab", "dcdcabcab", "cdcd", "dcab",
               "cdcdb")),
    case("A piece that no pair leads to is not used, however good its score", "property",
         NEIGHBOURS, "words looked up whole, the longest piece that fits, the best sum of scores",
         texts(FAR, "port", "stop", "sport", "top stop", "trot", "a port", "post", "sports")),
    case("Digits merge where the vocabulary has a piece for them, and nowhere else", "property",
         DIGITS, "digits that are cut apart by a rule",
         texts(NUMBERS, "2024", "12", "a2024 1 0", "20  24", "2", "\u0662\u0664", "1a2")),
    case("Names of special ids in a text are characters", "property", NAMES,
         "control pieces and byte pieces that are matched in a text",
         texts(NAMED, "<s>", "</s>", "<unk>", "x<s>x", "<0x41>", "s>A", "A<0x41>A", "<s> </s>",
               "<0xFF>")),
    case("No character is changed: ligatures, accents, other spaces, tabs, capitals", "property",
         SPACES, "a text that is normalised",
         texts(PLAIN, "\ufb01le", "file", "e\u0301a", "\u00e9a", "\uff46", "a\u00a0e", "a\tl\ne",
               "File", "\u3000e", "\u00bd", "ea\r\n", "\ufeffa",
               "\u200be\u2028")),
    case("Accents that stand by themselves", "property", SPACES,
         "a text that is normalised, characters that are taken with their accents",
         texts(ACCENT, "e\u0301", "\u00e9", "\u0301a", "a\u0301e\u0301")),
    case("The reference's ids for sentences in several scripts", "float32", HIGHEST,
         "anything else", texts(MIXED, *SENTENCES)),
    case("Characters of one, two, three and four bytes, the last of Unicode among them", "edge",
         BYTES, "surrogates, byte orders, a range that is too small",
         texts(RUNS, "\0", "\x7f", "\u00ff", "\u07ff", "\u0800", "\uffff", "\U00010000",
               "\U0010ffff", "a\u20acb", "\u4e16\u754c\ufffd")),
    case("A vocabulary of single characters, and one without any", "edge", NEIGHBOURS,
         "a merge that is taken for granted",
         lambda answer: (
             pair
             for words in (vocabulary("ab_"), (SPECIAL, [0.0] * 259))
             for pair in texts(words, "ab ba", " ")(answer)
         )),
    case("A hundred characters without a space", "edge", ANEW, "a limit on the number of merges",
         texts(TIES, "abcdaab" * 14 + "xx", "a" * 100)),
    case("pieces and scores are afterwards what they were", "inputs",
         "pieces and scores are not changed.", "sorting in place, deleting from the lists",
         calls("spm_encode", "the hat", *WORDS)),
)  # fmt: skip

EMPTY = "if not text:\n        return []"
IDS = "{piece: i for i, piece in enumerate(pieces) if i > 258}"
FRONT = '(" " + text)'
SIGN = '.replace(" ", "\\u2581")'
SYMBOLS = 'list((" " + text).replace(" ", "\\u2581"))'
KNOWN = "[i for i, pair in enumerate(pairs) if pair in ids]"
BEST = "max(known, key=lambda i: scores[ids[pairs[i]]])"
MERGED = "symbols[best : best + 2] = [pairs[best]]"
SPELL = 'result.extend(3 + byte for byte in symbol.encode("utf-8"))'

WORD_BY_WORD = """
def spm_encode(text, pieces, scores):
    if not text:
        return []
    ids = {piece: i for i, piece in enumerate(pieces) if i > 258}
    result = []
    for word in text.split(" "):
        symbols = list("\\u2581" + word)
        while True:
            pairs = [a + b for a, b in zip(symbols, symbols[1:])]
            known = [i for i, pair in enumerate(pairs) if pair in ids]
            if not known:
                break
            best = max(known, key=lambda i: scores[ids[pairs[i]]])
            symbols[best : best + 2] = [pairs[best]]
        for symbol in symbols:
            result += [ids[symbol]] if symbol in ids else [3 + b for b in symbol.encode()]
    return result
"""

LONGEST_MATCH = """
def spm_encode(text, pieces, scores):
    ids = {piece: i for i, piece in enumerate(pieces) if i > 258}
    text = "\\u2581" + text.replace(" ", "\\u2581") if text else ""
    result = []
    while text:
        fits = [text[:n] for n in range(len(text), 0, -1) if text[:n] in ids]
        piece = fits[0] if fits else text[0]
        result += [ids[piece]] if fits else [3 + byte for byte in piece.encode()]
        text = text[len(piece):]
    return result
"""

BEST_SUM = """
def spm_encode(text, pieces, scores):
    ids = {piece: i for i, piece in enumerate(pieces) if i > 258}
    text = "\\u2581" + text.replace(" ", "\\u2581") if text else ""
    best = [(0.0, [])]
    for end in range(1, len(text) + 1):
        ways = [
            (best[start][0] + scores[ids[text[start:end]]], [*best[start][1], ids[text[start:end]]])
            for start in range(end)
            if text[start:end] in ids
        ]
        spelled = [3 + byte for byte in text[end - 1].encode()]
        if text[end - 1] not in ids:
            ways.append((best[end - 1][0] + min(scores) - 10, best[end - 1][1] + spelled))
        best.append(max(ways, key=lambda way: way[0]))
    return best[-1][1]
"""

ALL_PLACES = """
def spm_encode(text, pieces, scores):
    if not text:
        return []
    ids = {piece: i for i, piece in enumerate(pieces) if i > 258}
    symbols = list((" " + text).replace(" ", "\\u2581"))
    while True:
        pairs = [pair for pair in zip(symbols, symbols[1:]) if "".join(pair) in ids]
        if not pairs:
            break
        best = max(pairs, key=lambda pair: scores[ids["".join(pair)]])
        merged, i = [], 0
        while i < len(symbols):
            two = tuple(symbols[i : i + 2]) == best
            merged.append("".join(best) if two else symbols[i])
            i += 2 if two else 1
        symbols = merged
    result = []
    for symbol in symbols:
        result += [ids[symbol]] if symbol in ids else [3 + byte for byte in symbol.encode()]
    return result
"""

HEAP = """
import heapq

def spm_encode(text, pieces, scores):
    ids = {piece: i for i, piece in enumerate(pieces) if i > 258}
    symbols = list("\\u2581" + text.replace(" ", "\\u2581")) if text else []
    end = len(symbols)
    before, after = list(range(-1, end - 1)), list(range(1, end + 1))
    heap = []

    def push(i, j):
        pair = symbols[i] + symbols[j] if i >= 0 and j < end else None
        if pair in ids:
            heapq.heappush(heap, (-scores[ids[pair]], i, j, pair))

    for i in range(end - 1):
        push(i, i + 1)
    while heap:
        _, i, j, pair = heapq.heappop(heap)
        if symbols[i] + symbols[j] != pair:
            continue
        symbols[i], symbols[j] = pair, ""
        after[i] = after[j]
        if after[i] < end:
            before[after[i]] = i
        push(before[i], i)
        push(i, after[i])
    result = []
    for symbol in filter(None, symbols):
        result += [ids[symbol]] if symbol in ids else [3 + byte for byte in symbol.encode()]
    return result
"""

STEP_BY_STEP = """
def spm_encode(text, pieces, scores):
    ids = {piece: i for i, piece in enumerate(pieces) if i > 258}
    symbols = list("\\u2581" + text.replace(" ", "\\u2581")) if text else []
    for wanted in sorted(ids, key=lambda piece: -scores[ids[piece]]):
        i = 0
        while i < len(symbols) - 1:
            if symbols[i] + symbols[i + 1] == wanted:
                symbols[i : i + 2] = [wanted]
            i += 1
    result = []
    for symbol in symbols:
        result += [ids[symbol]] if symbol in ids else [3 + byte for byte in symbol.encode()]
    return result
"""

WHOLE_WORDS = "[s for w in (' ' + text).replace(' ', ' \\u2581').split(' ')[1:] for s in {}]"

MISTAKES = (
    Mistake(
        "no dummy prefix",
        "Nothing is put in front of the text, so a word at its start gets other ids than the same "
        "word behind a space.",
        (edit(FRONT, "text"),),
        "What are the ids of \"a\", and which of them stands for a space?",
    ),
    Mistake(
        "prefix only where the text has no space",
        "A space is put in front only if there is none yet; the prefix comes before every text, "
        "or decoding could not know whether to take it away.",
        (edit(FRONT, '(text if text[0] == " " else " " + text)'),),
        "How many U+2581 has the text \" a\"?",
    ),
    Mistake(
        "empty text gets the prefix",
        "The prefix is put in front of nothing; an empty text has no ids.",
        (edit(EMPTY, "pass"), edit(EMPTY, "pass", "return result", "return result or [0]")),
        "What does your function give for \"\"?",
    ),
    Mistake(
        "spaces collapsed",
        "Runs of spaces become one space, as many text tools and SentencePiece's own default do; "
        "in LLaMA's tokenizer each space counts, or code would lose its indentation.",
        (
            edit(FRONT, '(" " + " ".join(text.split()))'),
            edit(FRONT, '" ".join([""] + text.split())'),
            edit(FRONT, '(" " + " ".join(word for word in text.split(" ") if word))'),
            edit(FRONT, '(" " + __import__("re").sub(" +", " ", text))'),
            edit(FRONT, '(" " + __import__("re").sub(r"\\s+", " ", text))'),
            edit(FRONT, '__import__("re").sub(" +", " ", " " + text)'),
            edit(FRONT, '__import__("re").sub(r"\\s+", " ", " " + text)'),
            edit(EMPTY, 'text = " ".join(text.split())\n    if not text:\n        return []'),
            edit(EMPTY, 'text = " ".join(w for w in text.split(" ") if w)\n    if not text:\n'
                 '        return []'),
        ),
        "split() without an argument forgets how many spaces there were.",
    ),
    Mistake(
        "spaces at the ends dropped",
        "strip() takes the spaces at the start or the end of the text away; they are text too.",
        (
            edit(FRONT, '(" " + text.strip())'),
            edit(FRONT, '(" " + text.strip(" "))'),
            edit(FRONT, '(" " + text.lstrip())'),
            edit(FRONT, '(" " + text.lstrip(" "))'),
            edit(FRONT, '(" " + text.rstrip())'),
            edit(FRONT, '(" " + text.rstrip(" "))'),
            edit(EMPTY, "text = text.strip()\n    if not text:\n        return []"),
            edit(EMPTY, 'text = text.strip(" ")\n    if not text:\n        return []'),
        ),
        "Encode \" a \" and count the spaces in what you get.",
    ),
    Mistake(
        "spaces left as they are",
        "Only the prefix is written as U+2581, and the spaces inside the text stay spaces: no "
        "piece has those.",
        (edit(SYMBOLS, 'list("\\u2581" + text)'), edit(SYMBOLS, 'list(" " + text)')),
        "Which character do the pieces of the vocabulary have for a space?",
    ),
    Mistake(
        "every kind of white space becomes a space",
        "Tabs, newlines and other white space are written as U+2581 too; only the space is.",
        (
            edit(SYMBOLS, '["\\u2581" if c.isspace() else c for c in " " + text]'),
            edit(SYMBOLS, 'list(__import__("re").sub(r"\\s", "\\u2581", " " + text))'),
        ),
        "What should become of a newline?",
    ),
    Mistake(
        "text normalised",
        "The text is brought to a normal form of Unicode first, which is SentencePiece's default "
        "and not LLaMA's setting: its tokenizer changes no character.",
        (
            edit(FRONT, '(" " + __import__("unicodedata").normalize("NFKC", text))'),
            edit(FRONT, '(" " + __import__("unicodedata").normalize("NFC", text))'),
            edit(FRONT, '(" " + __import__("unicodedata").normalize("NFKD", text))'),
            edit(FRONT, '(" " + __import__("unicodedata").normalize("NFD", text))'),
        ),
        "The ligature \\ufb01 is one character, and stays one.",
    ),
    Mistake(
        "id order instead of score",
        "The pair whose piece has the lowest id is merged first. In most files ids follow the "
        "scores, so this looks right; LLaMA's runs of spaces have the lowest score, and most have "
        "early ids.",
        (edit("scores[ids[pairs[i]]]", "-ids[pairs[i]]"),),
        "Which of your arguments do you never read?",
    ),
    Mistake(
        "lowest score first",
        "The pair with the lowest score is merged first. Scores are negative ranks: -1 comes "
        "before -2.",
        (edit("max(known", "min(known"),),
        "Which is higher, -1 or -2? A heap in Python gives the smallest first.",
    ),
    Mistake(
        "leftmost pair instead of best score",
        "The first pair that is a piece is merged, whatever its score; all pairs must be looked "
        "at before one is chosen.",
        (edit(BEST, "known[0]"), edit("scores[ids[pairs[i]]]", "len(pairs[i])")),
        "In t-h-e both t-h and h-e are pieces. Which has the better score?",
    ),
    Mistake(
        "rightmost of equal scores",
        "Of pairs with equal scores the last one is merged; a comparison with >= does that.",
        (edit("max(known, key", "max(reversed(known), key"),),
        "In a-a-a, which two merge?",
    ),
    Mistake(
        "equal scores decided by the piece",
        "Of pairs with equal scores the one with the lower id, the earlier letters or another "
        "length is merged. Scores made into ranks by sorting do that, and a heap whose entries "
        "hold the piece before its place.",
        (
            edit("scores[ids[pairs[i]]]", "(scores[ids[pairs[i]]], -ids[pairs[i]])"),
            edit("scores[ids[pairs[i]]]", "(scores[ids[pairs[i]]], ids[pairs[i]])"),
            edit(BEST, "min(known, key=lambda i: (-scores[ids[pairs[i]]], pairs[i]))"),
            edit("scores[ids[pairs[i]]]", "(scores[ids[pairs[i]]], pairs[i])"),
            edit("scores[ids[pairs[i]]]", "(scores[ids[pairs[i]]], len(pairs[i]))"),
            edit("scores[ids[pairs[i]]]", "(scores[ids[pairs[i]]], -len(pairs[i]))"),
        ),
        "Two pairs have the same score. What do you compare next, and is it the place?",
    ),
    Mistake(
        "oldest of equal scores",
        "Of pairs with equal scores the one that was found first is merged. A heap whose entries "
        "hold a running number before the place does that: a merge may make a new pair to the left "
        "of one that has waited for long.",
        (
            apply(edit("import heapq\n", "import heapq\nimport itertools\n", "heap = []",
                       "heap, number = [], itertools.count()", "ids[pair]], i,",
                       "ids[pair]], next(number), i,", "_, i, j", "_, _, i, j"), HEAP),
        ),
        "Two pairs have the same score. What do you compare next, and is it the place?",
    ),
    Mistake(
        "a score of zero taken for none",
        "To Python the score 0.0 is false, so `if score` or `score or ...` overlooks a piece that "
        "has it: often the first that a training finds, and the best of all.",
        (
            edit("if pair in ids]", "if pair in ids and scores[ids[pair]]]"),
            edit("scores[ids[pairs[i]]]", "(scores[ids[pairs[i]]] or -1e30)"),
            edit("if not known:", "if not any(scores[ids[pairs[i]]] for i in known):"),
            edit(MERGED, f"if not scores[ids[pairs[best]]]:\n            break\n        {MERGED}"),
        ),
        "Ask whether the piece is there, or compare with None: 0.0 is a score like others.",
    ),
    Mistake(
        "place 0 taken for no place",
        "The place of the best pair is tested by its truth, and 0 is false; so as soon as the best "
        "pair stands at the very start, the merging ends.",
        (
            edit(MERGED, f"if not best:\n            break\n        {MERGED}"),
            edit(MERGED, f"if best <= 0:\n            break\n        {MERGED}"),
        ),
        "What do you compare the place with to see that there is none?",
    ),
    Mistake(
        "worst scores never win",
        "The best score so far begins at a number that looks low enough, such as -1e5, and a score "
        "must be above it. LLaMA's runs of spaces have -1e9, and are never merged.",
        (
            edit(KNOWN, "[i for i, pair in enumerate(pairs) if pair in ids and scores[ids[pair]] > "
                 "-1e9]"),
            edit(KNOWN, "[i for i, pair in enumerate(pairs) if pair in ids and scores[ids[pair]] > "
                 "min(scores)]"),
        ),
        "Which number is below every score? Python has float(\"-inf\").",
    ),
    Mistake(
        "last pair left out",
        "The loop over the pairs ends one too early, so the last two symbols never merge.",
        (edit("zip(symbols, symbols[1:])", "zip(symbols, symbols[1:-1])"),),
        "How many pairs of neighbours have three symbols?",
    ),
    Mistake(
        "vocabulary gone through once",
        "Each piece, in the order of the scores, is merged wherever it fits, and then never again. "
        "A merge can make a pair with a better score, which this walk has already passed.",
        (STEP_BY_STEP,),
        "After each merge begin with the best score again.",
    ),
    Mistake(
        "pairs from the heap believed",
        "A pair comes out of the heap and is merged without a look at what its two symbols are by "
        "now: one of them may have grown in the meantime.",
        (
            apply(edit("if symbols[i] + symbols[j] != pair:\n            continue\n        "
                       "symbols[i], symbols[j] = pair, \"\"",
                       "if not symbols[i] or not symbols[j]:\n            continue\n        "
                       "symbols[i], symbols[j] = symbols[i] + symbols[j], \"\""), HEAP),
        ),
        "What has to be true of the two symbols, so that a waiting pair still holds?",
    ),
    Mistake(
        "longest pair first",
        "The pair whose piece is the longest is merged first; only the score decides.",
        (edit("scores[ids[pairs[i]]]", "(len(pairs[i]), scores[ids[pairs[i]]])"),),
        "Look at the key by which you choose: does it ask for a length?",
    ),
    Mistake(
        "longest piece that fits",
        "The text is read from left to right, and the longest piece that fits is taken, as "
        "WordPiece does. Byte-pair encoding builds pieces by merges, and may pass a long one by.",
        (LONGEST_MATCH,),
        "Start with single characters and merge two at a time.",
    ),
    Mistake(
        "best sum of scores",
        "The split with the best sum of scores is searched. That is SentencePiece's other model, "
        "Unigram; LLaMA's is byte-pair encoding, and its scores are an order, not logarithms of "
        "probabilities.",
        (BEST_SUM,),
        "Start with single characters and merge two at a time.",
    ),
    Mistake(
        "whole words looked up first",
        "A word that is a piece is taken at once, without any merge. Llama 3's tokenizer does so; "
        "LLaMA's merges from the characters, and may never arrive at that piece.",
        (
            edit(SYMBOLS, WHOLE_WORDS.format("([w] if w in ids else w)")),
            edit(EMPTY, 'if not text:\n        return []\n    whole = "\\u2581" + '
                 'text.replace(" ", "\\u2581")\n    if whole in pieces[259:]:\n'
                 '        return [pieces.index(whole)]'),
        ),
        "Is every piece of your result reached by merges of two?",
    ),
    Mistake(
        "words encoded one by one",
        "The text is split at its spaces, and each word is encoded alone; so a run of spaces "
        "never merges, though the vocabulary has pieces for it.",
        (WORD_BY_WORD,),
        "What are the neighbours in a text of three spaces?",
    ),
    Mistake(
        "pairs listed once",
        "Only pairs of single characters are merged: what a merge makes new is never looked at "
        "again, so no piece gets longer than two characters.",
        (
            edit(KNOWN, "[i for i, pair in enumerate(pairs) if pair in ids and len(pair) == 2]"),
        ),
        "After t and he have merged with nothing else, which pairs are there?",
    ),
    Mistake(
        "all places of a pair merged at once",
        "The best pair is merged wherever it stands, as in training; a merge can make a better "
        "pair, which must come before the second place.",
        (ALL_PLACES,),
        "Merge one place, then look at all pairs anew.",
    ),
    Mistake(
        "unknown for a character without a piece",
        "A character without a piece gives id 0, and can never come back; LLaMA spells it in "
        "bytes.",
        (
            edit(SPELL, "result.append(0)"),
            edit(SPELL, "result.extend([0] if result[-1:] != [0] else [])"),
            edit(SPELL, "result.extend(0 for byte in symbol.encode())"),
        ),
        "Where in the vocabulary do the 256 bytes stand?",
    ),
    Mistake(
        "characters without a piece dropped",
        "A character without a piece gives nothing, and the text has a hole.",
        (edit(SPELL, "pass"),),
        "How many ids should a llama have?",
    ),
    Mistake(
        "byte order",
        "The bytes of a character come in reverse; UTF-8 has one order, that of encode().",
        (
            edit(SPELL, "result.extend(3 + byte for byte in reversed(symbol.encode()))"),
            edit("return result", "return result[:1] + [i for run in __import__('itertools')"
                 ".groupby(result[1:], lambda i: i < 259) for i in "
                 "(list(run[1])[::-1] if run[0] else run[1])]"),
        ),
        "The first byte of a character of several says how many follow.",
    ),
    Mistake(
        "byte for its id",
        "The byte itself is used as an id; ids 0 to 2 are taken, so byte 0 has id 3.",
        (edit("3 + byte", "byte"),),
        "What is pieces[0x41]?",
    ),
    Mistake(
        "code point for the bytes",
        "The number of the character, its code point, is spelled, or its bytes in another "
        "encoding than UTF-8.",
        (
            edit(SPELL, "result.append(3 + ord(symbol))"),
            edit(SPELL, "result.append(3 + ord(symbol) % 256)"),
            edit(SPELL, 'result.extend(3 + byte for byte in symbol.encode("utf-16-le"))'),
            edit(SPELL, 'result.extend(3 + byte for byte in symbol.encode("utf-16-be"))'),
            edit(SPELL, 'result.extend(3 + byte for byte in symbol.encode("utf-16"))'),
            edit(SPELL, 'result.extend(3 + byte for byte in symbol.encode("utf-32-be"))'),
            edit(SPELL, 'result.extend(3 + byte for byte in symbol.encode("utf-32-le"))'),
        ),
        "\"\\u00e9\".encode(\"utf-8\") has two bytes. How many do you give?",
    ),
    Mistake(
        "special names matched in the text",
        "Names such as \"<s>\" or \"<0x41>\" in a text give the special id. Then whoever writes "
        "the text could end the model's turn; only the program may use those ids.",
        (
            edit(IDS, "{piece: i for i, piece in enumerate(pieces)}"),
            edit(IDS, "{piece: i for i, piece in enumerate(pieces) if i > 2}"),
            edit(IDS, "{piece: i for i, piece in enumerate(pieces) if not 2 < i < 259}"),
            edit(SYMBOLS, '[s for part in __import__("re").split("(<s>|</s>)", (" " + text).replace'
                 '(" ", "\\u2581")) for s in ([part] if part in pieces[:3] else part)]',
                 "if symbol in ids:", "if symbol in pieces[:3]:\n            result.append("
                 "pieces.index(symbol))\n        elif symbol in ids:"),
            edit(SYMBOLS, '[s for part in __import__("re").split("(<s>|</s>|<unk>)", (" " + text)'
                 '.replace(" ", "\\u2581")) for s in ([part] if part in pieces[:3] else part)]',
                 "if symbol in ids:", "if symbol in pieces[:3]:\n            result.append("
                 "pieces.index(symbol))\n        elif symbol in ids:"),
        ),
        "Which pieces may a pair of characters become: all, or those from id 259 on?",
    ),
    Mistake(
        "digits cut apart by a rule",
        "Digits are kept from merging. LLaMA's numbers are split because its vocabulary has no "
        "piece with two of them: that was decided in training, and encoding has no rule for it.",
        (
            edit("if pair in ids]", "if pair in ids and not any(c.isdigit() for c in pair)]"),
            edit("if pair in ids]", "if pair in ids and sum(c.isdigit() for c in pair) < 2]"),
            edit("if pair in ids]", "if pair in ids and not pair.isdigit()]"),
            edit("if pair in ids]", "if pair in ids and not pairs[i][-1].isdigit()]"),
        ),
        "Search your function for isdigit. Who asked for it?",
    ),
    Mistake(
        "begin token added",
        "The begin token stands in front of the ids; encoding a text gives the text's ids, and "
        "the caller adds the begin token.",
        (edit("result = []", "result = [1]"), edit(EMPTY, "if not text:\n        return [1]",
                                                   "result = []", "result = [1]")),
        "The result has one id too many. Which?",
    ),
)  # fmt: skip

EXERCISE = Exercise(
    name="spm_encode",
    lesson="02",
    title="Encode as SentencePiece does",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="Write the text as a list of characters, with \\u2581 for each space and one more in "
        "front. Which neighbours together are a piece, and which of these pieces has the highest "
        "score?",
        outline="Make a dict from piece to id, from id 259 on. Make the list of characters. In a "
        "loop: join every two neighbours, keep the pairs that are in the dict, take the one with "
        "the highest score (max takes the first of equals), put the joined piece in the place of "
        "the two. When no pair is left, look up each symbol; for one that is not in the dict, "
        "give 3 plus each byte of symbol.encode().",
    ),
    difficulty="medium",
    importance="These are the ids that the released LLaMA models were trained on; any others are "
    "noise to them.",
    minutes=25,
    setup="",
)
