"""Lesson 02's encoder: what passes, what fails, and what each failure is called."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import ClassVar

from llama_course.checks.exercise import edit
from llama_course.checks.spm_encode import (
    EMPTY,
    EXERCISE,
    FRONT,
    IDS,
    KNOWN,
    MERGED,
    SPELL,
    SYMBOLS,
)
from llama_course.checks.testing import ExerciseTests
from llama_course.tokenizers.model_proto import (
    BPE,
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    ModelProto,
    Piece,
)
from llama_course.tokenizers.scratch import ScratchSentencePiece
from llama_course.tokenizers.sentencepiece import SentencePieceTokenizer
from llama_course.toy import FOLDER

HEAP = """
import heapq

def spm_encode(text, pieces, scores):
    index = dict(zip(pieces[259:], range(259, len(pieces))))
    symbols = [c if c != " " else "\\u2581" for c in " " + text] if len(text) else []
    last = len(symbols)
    prev, next_ = [i - 1 for i in range(last)], [i + 1 for i in range(last)]
    agenda = []

    def add(i, j):
        if 0 <= i and j < last and symbols[i] + symbols[j] in index:
            piece = symbols[i] + symbols[j]
            heapq.heappush(agenda, (-scores[index[piece]], i, j, piece))

    for i in range(last - 1):
        add(i, i + 1)
    while agenda:
        _, i, j, piece = heapq.heappop(agenda)
        if not symbols[i] or not symbols[j] or symbols[i] + symbols[j] != piece:
            continue
        symbols[i], symbols[j] = piece, ""
        next_[i] = next_[j]
        if next_[i] < last:
            prev[next_[i]] = i
        add(prev[i], i)
        add(i, next_[i])
    out = []
    for s in filter(None, symbols):
        out.extend([index[s]] if s in index else [pieces.index(f"<0x{b:02X}>") for b in s.encode()])
    return out
"""

LLAMA2C = """
def spm_encode(text, pieces, scores):
    # In the way of llama2.c: ids from the start, and a loop for the best pair.
    def look_up(piece):
        try:
            return pieces.index(piece, 259)
        except ValueError:
            return -1

    tokens = []
    if text != "":
        tokens.append(look_up("\\u2581") if "\\u2581" in pieces else (229, 153, 132))
        for character in text:
            token = look_up("\\u2581" if character == " " else character)
            if token == -1:
                character = "\\u2581" if character == " " else character
                tokens.append(tuple(byte + 3 for byte in character.encode()))
            else:
                tokens.append(token)
    while True:
        best_score, best_id, best_at = -float("inf"), -1, -1
        for at in range(len(tokens) - 1):
            if isinstance(tokens[at], tuple) or isinstance(tokens[at + 1], tuple):
                continue
            token = look_up(pieces[tokens[at]] + pieces[tokens[at + 1]])
            if token != -1 and scores[token] > best_score:
                best_score, best_id, best_at = scores[token], token, at
        if best_at == -1:
            break
        tokens[best_at] = best_id
        del tokens[best_at + 1]
    return [i for t in tokens for i in (t if isinstance(t, tuple) else (t,))]
"""

RECURSIVE = """
def spm_encode(text, pieces, scores):
    table = {p: (s, i) for i, (p, s) in enumerate(zip(pieces, scores))}
    for special in pieces[:259]:
        table.pop(special)

    def merge(symbols):
        options = [(table[a + b][0], -at) for at, (a, b) in enumerate(zip(symbols, symbols[1:]))
                   if a + b in table]
        while options:
            at = -max(options)[1]
            symbols = symbols[:at] + (symbols[at] + symbols[at + 1],) + symbols[at + 2:]
            options = [(table[a + b][0], -n) for n, (a, b) in enumerate(zip(symbols, symbols[1:]))
                       if a + b in table]
        return symbols

    def spell(symbol):
        if symbol in table:
            return [table[symbol][1]]
        return list(map((3).__add__, bytearray(symbol, "utf-8")))

    shown = "\\u2581".join(("" if not text else " " + text).split(" "))
    return sum(map(spell, merge(tuple(shown))), [])
"""

SORTED = """
def spm_encode(text, pieces, scores):
    # By walking through the vocabulary from the best score down, again after each merge.
    order = sorted(range(259, len(pieces)), key=lambda i: scores[i], reverse=True)
    levels = {}
    for i in order:
        levels.setdefault(scores[i], set()).add(pieces[i])
    symbols = list("\\u2581" + text.replace(" ", "\\u2581")) if text else []
    pieces_of_text = set(pieces[259:])
    done = False
    while not done:
        done = True
        present = {a + b for a, b in zip(symbols, symbols[1:])} & pieces_of_text
        if not present:
            break
        for score, names in levels.items():
            if present & names:
                at = next(n for n in range(len(symbols) - 1)
                          if symbols[n] + symbols[n + 1] in names)
                symbols = symbols[:at] + [symbols[at] + symbols[at + 1]] + symbols[at + 2:]
                done = False
                break
    ids = []
    for symbol in symbols:
        if symbol in pieces_of_text:
            ids.append(pieces.index(symbol, 259))
        else:
            for byte in symbol.encode():
                ids.append(byte + 3)
    return ids
"""


GROUPS = """
def spm_encode(text, pieces, scores):
    # A run of spaces stays with the word behind it, and no piece may reach beyond that word.
    import re
    ids = {p: i for i, p in enumerate(pieces) if i > 258}
    out = []
    for word in re.findall("\\u2581+[^\\u2581]*", "\\u2581" + text.replace(" ", "\\u2581")):
        symbols = list(word) if text else []
        while True:
            pairs = [(scores[ids[a + b]], -i) for i, (a, b) in enumerate(zip(symbols, symbols[1:]))
                     if a + b in ids]
            if not pairs:
                break
            i = -max(pairs)[1]
            symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]
        for s in symbols:
            out += [ids[s]] if s in ids else [3 + b for b in s.encode()]
    return out
"""

SWEEP = """
def spm_encode(text, pieces, scores):
    ids = {p: i for i, p in enumerate(pieces) if i > 258}
    symbols, merged = list("\\u2581" + text.replace(" ", "\\u2581")) if text else [], True
    while merged:
        merged, i = False, 0
        while i < len(symbols) - 1:
            if symbols[i] + symbols[i + 1] in ids:
                symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]
                merged = True
            i += 1
    return [i for s in symbols for i in ([ids[s]] if s in ids else [3 + b for b in s.encode()])]
"""

GONE = "a text never begins with a space then"
NO_BYTES = "no bytes are given, in whatever order"


class TestSpmEncode(ExerciseTests):
    exercise = EXERCISE
    right = (HEAP, LLAMA2C, RECURSIVE, SORTED)
    wrong = (
        # the front of the text
        GROUPS,
        SWEEP,
        edit(FRONT, '(" " + text.replace("\\n", "\\n "))'),
        edit(FRONT, '(" " + text.strip("\\n"))'),
        edit(FRONT, '(" " + text.replace("\\ufeff", ""))'),
        edit(FRONT, '(" " + text.replace("\\u200d", ""))'),
        edit(FRONT, '(text if text[0].isspace() else " " + text)'),
        edit(FRONT, '("  " + text)'),
        edit(FRONT, '(text + " ")'),
        edit(FRONT, '(" " + text + " ")'),
        edit(FRONT, '(" " + text.lower())'),
        edit(FRONT, '(" " + text.replace("\\r\\n", "\\n"))'),
        edit(FRONT, '(" " + text.replace("\\t", "    "))'),
        edit(FRONT, '(" " + text.replace("\\u00a0", " "))'),
        edit(FRONT, '(" " + text[:64])'),
        edit(FRONT, '(" " + text.expandtabs())'),
        edit(FRONT, '(" " + "\\n".join(text.splitlines()))'),
        edit(SYMBOLS, 'list((" " + text).replace(" ", "_"))'),
        edit(SYMBOLS, 'list((" " + text).replace("  ", "\\u2581"))'),
        edit(SYMBOLS, '(" " + text).replace(" ", " \\u2581").split(" ")'),
        edit(SYMBOLS, '[chr(b) for b in (" " + text).replace(" ", "\\u2581").encode()]'),
        edit(
            SYMBOLS,
            '__import__("re").findall(r".[\\u0300-\\u036f]*", (" " + text).replace(" ", '
            '"\\u2581"), 16)',
        ),
        edit(EMPTY, "if not text.strip():\n        return []"),
        edit(EMPTY, "if len(text) < 2:\n        return []"),
        edit(EMPTY, "if not text:\n        return None"),
        edit(EMPTY, 'if not text:\n        return ""'),
        # the vocabulary
        edit(IDS, "{piece: i for i, piece in enumerate(pieces) if i > 259}"),
        edit(IDS, "{piece: i for i, piece in enumerate(pieces) if i > 258 and piece[0] != '<'}"),
        edit(IDS, "{piece: i for i, piece in enumerate(pieces) if i > 258 and len(piece) < 4}"),
        edit(IDS, "{piece.lower(): i for i, piece in enumerate(pieces) if i > 258}"),
        edit(IDS, "{piece.strip('\\u2581'): i for i, piece in enumerate(pieces) if i > 258}"),
        edit("scores[ids[pairs[i]]]", "round(scores[ids[pairs[i]]] / 4)"),
        edit("scores[ids[pairs[i]]]", "ids[pairs[i]]"),
        edit("scores[ids[pairs[i]]]", "int(scores[ids[pairs[i]]])"),
        edit("scores[ids[pairs[i]]]", "round(scores[ids[pairs[i]]])"),
        edit("scores[ids[pairs[i]]]", "-abs(scores[ids[pairs[i]]])"),
        edit("scores[ids[pairs[i]]]", '__import__("numpy").float16(scores[ids[pairs[i]]])'),
        edit(
            "scores[ids[pairs[i]]]",
            '__import__("torch").tensor(scores[ids[pairs[i]]]).bfloat16().item()',
        ),
        edit("scores[ids[pairs[i]]]", "(scores[ids[pairs[i]]], -ids[pairs[i]], i)"),
        edit(
            "scores[ids[pairs[i]]]",
            "(scores[ids[pairs[i]]], ids[symbols[i]] if symbols[i] in ids else 0)",
        ),
        edit("scores[ids[pairs[i]]]", "scores[ids[pairs[i]]] / len(pairs[i])"),
        edit("scores[ids[pairs[i]]]", "scores[ids[pairs[i]] - 259]"),
        edit("scores[ids[pairs[i]]]", "scores[i]"),
        edit("scores[ids[pairs[i]]]", "sum(scores[ids[s]] for s in symbols[i : i + 2])"),
        edit("scores[ids[pairs[i]]]", "(scores[ids[pairs[i]]], len(symbols[i]))"),
        edit("scores[ids[pairs[i]]]", "(scores[ids[pairs[i]]], -len(symbols[i]))"),
        edit("scores[ids[pairs[i]]]", "(scores[ids[pairs[i]]], len(symbols[i + 1]))"),
        edit("scores[ids[pairs[i]]]", "(scores[ids[pairs[i]]], -len(symbols[i + 1]))"),
        edit("scores[ids[pairs[i]]]", "scores[min(ids[pairs[i]] + 1, len(scores) - 1)]"),
        # the loop
        edit("while True:", "for _ in range(20):"),
        edit("while True:", "for _ in range(1):"),
        edit(MERGED, "symbols[best : best + 2] = [pairs[best].strip()[::-1]]"),
        edit(
            MERGED,
            "symbols[best : best + 2] = [pairs[best]]\n        if best > 8:\n            break",
        ),
        edit(KNOWN, "[i for i, pair in enumerate(pairs) if pair in ids and len(pair) <= 4]"),
        edit(KNOWN, "[i for i, pair in enumerate(pairs) if pair in ids and len(pair) <= 8]"),
        edit(KNOWN, "[i for i, pair in enumerate(pairs) if pair in ids and scores[ids[pair]] < 0]"),
        edit(KNOWN, "[i for i, pair in enumerate(pairs) if pair in ids and i]"),
        edit("max(known, key=lambda i: scores[ids[pairs[i]]])", "known[len(known) // 2]"),
        edit(
            KNOWN,
            "[i for i, pair in enumerate(pairs) if pair in ids and not pair.isspace() and "
            "set(pair) != {'\\u2581'}]",
        ),
        edit(KNOWN, "[i for i, pair in enumerate(pairs) if pair in ids and pair.isascii()]"),
        edit(KNOWN, "[i for i, pair in enumerate(pairs) if pair in ids and '\\u2581' not in pair]"),
        # what is left
        edit(SPELL, "result.extend(259 + byte for byte in symbol.encode())"),
        edit(SPELL, "result.extend(4 + byte for byte in symbol.encode())"),
        edit(SPELL, "result.append(3 + symbol.encode()[0])"),
        edit(SPELL, "result.append(3 + symbol.encode()[-1])"),
        edit(SPELL, "result.append(tuple(3 + byte for byte in symbol.encode()))"),
        edit(SPELL, "result.extend(3 + byte for byte in symbol.encode('utf-8-sig'))"),
        edit(SPELL, "result.extend(3 + byte for byte in symbol.encode('ascii', 'replace'))"),
        edit(SPELL, "result.extend(3 + byte for byte in symbol.encode('ascii', 'ignore'))"),
        edit(SPELL, "result.extend(3 + byte for byte in symbol.encode('latin-1', 'replace'))"),
        edit(SPELL, "result.extend(3 + byte for byte in symbol.encode() if byte)"),
        edit(SPELL, "result.extend(pieces[3 + byte] for byte in symbol.encode())"),
        edit("result.append(ids[symbol])", "result.append(symbol)"),
        edit("result.append(ids[symbol])", "result.append(ids[symbol] - 259)"),
        edit("result.append(ids[symbol])", "result.append(259)"),
        edit("return result", "return result[:-1]"),
        edit("return result", "return sorted(result)"),
        edit("return result", "return result + [2]"),
        edit("return result", "return [1] + result + [2]"),
        edit("return result", "return symbols"),
        edit("return result", "return ' '.join(map(str, result))"),
        edit("return result", "scores.sort()\n    return result"),
        edit("return result", "del pieces[:259]\n    return result"),
        "def spm_encode(text, pieces, scores):\n    return [ord(c) for c in text]",
        "def spm_encode(text, pieces, scores):\n    return [3 + b for b in text.encode()]",
        "def spm_encode(text, pieces, scores):\n    return []",
    )
    equivalent: ClassVar = {}
    masked: ClassVar = {
        ("no dummy prefix", "empty text gets the prefix"): "there is no prefix to get",
        ("prefix only where the text has no space", "spaces collapsed"): GONE,
        ("prefix only where the text has no space", "spaces at the ends dropped"): GONE,
        ("spaces collapsed", "spaces at the ends dropped"): "the ends are collapsed already",
        ("spaces collapsed", "every kind of white space becomes a space"): (
            "split() without an argument has turned them into spaces already"
        ),
        ("spaces collapsed", "worst scores never win"): "only runs of spaces have such scores",
        ("spaces left as they are", "worst scores never win"): (
            "no run of spaces is written as a piece"
        ),
        ("longest pair first", "pairs listed once"): "all pairs of characters are of one length",
        ("pairs listed once", "special names matched in the text"): (
            "special names have three characters or more"
        ),
        ("unknown for a character without a piece", "byte order"): NO_BYTES,
        ("characters without a piece dropped", "byte order"): NO_BYTES,
    }

    def test_the_reference_is_the_library(self) -> None:
        """The solution on the toy's vocabulary and on odd ones, against sentencepiece."""
        toy = ScratchSentencePiece(FOLDER / "model" / "tokenizer.model")
        chance = random.Random(0)
        encode = self.exercise.truth["spm_encode"]
        kinds = {0: UNKNOWN, 1: CONTROL, 2: CONTROL}
        for _ in range(25):
            letters = "ab\u2581" + chance.choice(("c1<", "é2", "\u0301s>"))
            longer = {"".join(chance.choices(letters, k=chance.randrange(2, 6))) for _ in range(9)}
            texts = [*toy.proto.pieces[:259], *map(piece_of(chance), [*letters, *sorted(longer)])]
            pieces = tuple(
                Piece(p.text, p.score, kinds.get(i, BYTE if i < 259 else NORMAL))
                for i, p in enumerate(texts)
            )
            model = ModelProto(pieces, BPE, True, remove_extra_whitespaces=False)
            library = SentencePieceTokenizer.from_bytes(model.to_bytes())
            names, scores = [p.text for p in pieces], [p.score for p in pieces]
            for _ in range(20):
                text = "".join(chance.choices("ab c1é2\u0301s<>\n🦙", k=chance.randrange(12)))
                assert encode(text, names, scores) == library.encode(text), (text, names[259:])
        names = [p.text for p in toy.proto.pieces]
        scores = [p.score for p in toy.proto.pieces]
        for text in ("", " ", "First Citizen:\nBefore we proceed", "naïve  12345 🦙\u200d <s>"):
            assert encode(text, names, scores) == toy.encode(text)


def piece_of(chance: random.Random) -> Callable[[str], Piece]:
    """A maker of pieces with scores of few values, so that there are ties."""
    return lambda text: Piece(text, -float(chance.randrange(6)))
