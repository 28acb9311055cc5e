"""Lesson 02's decoder: what passes, what fails, and what each failure is called."""

from __future__ import annotations

import random
from typing import ClassVar

import sentencepiece

from llama_course.checks.exercise import edit
from llama_course.checks.spm_decode import (
    BYTE,
    CUT,
    END,
    EXERCISE,
    LOOP,
    PIECE,
    READ,
    SILENT,
    TAKEN,
    each_byte,
    read_as,
)
from llama_course.checks.testing import ExerciseTests
from llama_course.tokenizers.scratch import ScratchSentencePiece
from llama_course.toy import FOLDER

HANDLER = """
import codecs
import itertools

codecs.register_error("test.one_each", lambda error: ("\\ufffd", error.start + 1))

def spm_decode(ids, pieces):
    # By runs: bytes together, and everything else one by one.
    out = []
    for kind, run in itertools.groupby(ids, lambda i: 2 < i < 259):
        if kind:
            out.append(bytes(i - 3 for i in run).decode("utf-8", "test.one_each"))
            continue
        for i in run:
            if i == 0:
                out.append(" \\u2047 ")
            elif i > 2:
                piece = pieces[i]
                if not out and piece.startswith("\\u2581"):
                    out.append("")
                    piece = piece[1:]
                out.append(piece.replace("\\u2581", " "))
    return "".join(out)
"""

OWN_UTF8 = """
def spm_decode(ids, pieces):
    # UTF-8 by hand, with the well-formed ranges of the Unicode standard.
    def size(data):
        b = list(data[:4]) + [0] * 4
        tail = [0x80 <= x <= 0xBF for x in b]
        if b[0] < 0x80:
            return 1
        if 0xC2 <= b[0] <= 0xDF and tail[1]:
            return 2
        low = {0xE0: 0xA0, 0xF0: 0x90}.get(b[0], 0x80)
        high = {0xED: 0x9F, 0xF4: 0x8F}.get(b[0], 0xBF)
        inside = low <= b[1] <= high
        if 0xE0 <= b[0] <= 0xEF and inside and tail[2]:
            return 3
        if 0xF0 <= b[0] <= 0xF4 and inside and tail[2] and tail[3]:
            return 4
        return 0

    def read(data):
        text = []
        while data:
            n = size(data)
            text.append(bytes(data[:n]).decode() if n else chr(0xFFFD))
            data = data[n or 1:]
        return "".join(text)

    shown = [i for i in ids if i not in (1, 2)]
    names = {**{i: p.replace("\\u2581", " ") for i, p in enumerate(pieces)}, 0: " \\u2047 "}
    text, data = "", []
    for i in ids:
        if i in range(3, 259):
            data.append(i - 3)
        else:
            text, data = text + read(data), []
            text += "" if i in (1, 2) else names[i]
    text += read(data)
    return text[1:] if shown and shown[0] > 258 and pieces[shown[0]][0] == "\\u2581" else text
"""

POPPING = """
def spm_decode(ids, pieces):
    rest, parts = list(ids), []
    while rest:
        i = rest.pop(0)
        if i in (1, 2):
            parts.append(None)
        elif i == 0:
            parts.append(" \\u2047 ")
        elif i < 259:
            data = bytearray([i - 3])
            while rest and 3 <= rest[0] <= 258:
                data.append(rest.pop(0) - 3)
            good = ""
            while data:
                try:
                    good += str(data, "utf8")
                    break
                except UnicodeDecodeError as error:
                    good += str(data[:error.start], "utf8") + "\\N{REPLACEMENT CHARACTER}"
                    data = data[error.start + 1:]
            parts.append(good)
        elif all(part is None for part in parts):
            parts.append(pieces[i].removeprefix("\\u2581").replace("\\u2581", " "))
        else:
            parts.append(" ".join(pieces[i].split("\\u2581")))
    return "".join(part for part in parts if part is not None)
"""


AT_ONCE = """
def spm_decode(ids, pieces):
    data, at_start = b"", True
    for i in [i for i in ids if i not in (1, 2)]:
        if 3 <= i < 259:
            data += bytes([i - 3])
        else:
            piece = " \\u2047 " if i == 0 else pieces[i].replace("\\u2581", " ")
            data += piece[at_start and i > 0 and piece[0] == " " :].encode()
        at_start = False
    return data.decode("utf-8", "replace")
"""

NAMES_AND_PATTERN = """
import re

def spm_decode(ids, pieces):
    text = "".join(pieces[i] for i in ids if i not in (1, 2)).replace("<unk>", " \\u2047 ")
    text = re.sub("(<0x[0-9A-F]{2}>)+", lambda run: bytes(
        int(byte, 16) for byte in re.findall("<0x(..)>", run[0])).decode("utf-8", "replace"), text)
    text = text.replace("\\u2581", " ")
    return text[1:] if text[:1] == " " else text
"""

NOT_RESET = """
import codecs

def spm_decode(ids, pieces):
    reader, text, at_start = codecs.getincrementaldecoder("utf-8")("replace"), "", True
    for i in [i for i in ids if i not in (1, 2)]:
        if 3 <= i < 259:
            text += reader.decode(bytes([i - 3]))
        else:
            piece = " \\u2047 " if i == 0 else pieces[i].replace("\\u2581", " ")
            text += piece[at_start and i > 0 and piece[0] == " " :]
        at_start = False
    return text + reader.decode(b"", True)
"""

REMEMBERED = f"""
known = {{}}
{EXERCISE.solution.replace("def spm_decode", "def read")}
def spm_decode(ids, pieces):
    return known.setdefault(tuple(ids), read(ids, pieces))
"""


ONE_BY_ONE = "bytes of a character decoded one by one"
CODE_POINT, NAMES = "byte for a code point", "names of bytes as text"
RUNS = (
    *("bytes at the end forgotten", "bytes joined across a special id"),
    *("one sign for several bytes", "one sign for all bytes", "one sign for each byte of the run"),
    *("bad bytes dropped", "bad bytes raise", "surrogates let through"),
)
BEGIN, AGAIN = "prefix kept after the begin token", "prefix taken again after a special id"
FIRST = "prefix taken from the first piece of text"
OTHERS, NO_TEXT = "prefix kept after other special ids", "prefix taken until there is text"
THROWN, ALL_SPACES = "ids 0 to 2 thrown away first", "all spaces at the start taken away"
AT_ANY_RATE = ("a space taken from what has no prefix", "first character dropped")
SPELLED = "spelled sign turned into a space"
NOT_WAITING = "the bytes never wait, so what happens to waiting bytes cannot show"
NOT_LOOKED = "where the prefix may stand is not looked at any more"


class TestSpmDecode(ExerciseTests):
    exercise = EXERCISE
    right = (HANDLER, OWN_UTF8, POPPING)
    wrong = (
        AT_ONCE,
        AT_ONCE.replace('"replace"', '"ignore"'),
        NAMES_AND_PATTERN,
        NOT_RESET,
        REMEMBERED,
        edit(END, 'return text.replace("\\ufeff", "")'),
        edit(END, 'return text.replace("\\r", "")'),
        edit('waiting[:length].decode("utf-8")', 'waiting[:length].decode("utf-8-sig")'),
        edit("range(1, 5)", "(1, 2, 4)"),
        edit('text += "\\ufffd"', 'text += "" if text[-1:] == "\\ufffd" else "\\ufffd"'),
        edit(TAKEN, "if False:", END, "first = [i for i in ids if i > 2][:1]\n    return text[1:] "
             'if first and pieces[first[0]][0] == "\\u2581" else text'),
        edit(TAKEN, 'if at_start and i != 0 and piece[0] == " " and len(ids) > 1:'),
        edit(END, "return text.rstrip()"),
        edit(END, 'return text.rstrip(" ")'),
        edit(END, 'return " ".join(text.split())'),
        edit(END, 'return text.replace("  ", " ")'),
        edit(END, "return text.lower()"),
        edit(END, "return text.encode()"),
        edit(END, "return [text]"),
        edit(END, "return text.split(' ')"),
        edit(END, "return text[:-1]"),
        edit(END, "return text or None"),
        edit(END, "print(text)"),
        edit(END, 'return text.replace("\\ufffd", "?")'),
        edit(END, 'return __import__("unicodedata").normalize("NFC", text)'),
        edit(END, 'return text.replace("\\n", " ")'),
        edit(LOOP, "for i in [*ids, 2][::-1]:"),
        edit(LOOP, "for i in [*dict.fromkeys(ids), 2]:"),
        edit(LOOP, "for i in [*[i for i in ids if i != 0], 2]:"),
        edit("3 <= i < 259", "3 <= i < 258"),
        edit("3 <= i < 259", "4 <= i < 259"),
        edit("3 <= i < 259", "3 <= i < 131"),
        edit("3 <= i < 259", "pieces[i].startswith('<0x')"),
        edit(BYTE, "bytes([258 - i])"),
        edit(BYTE, "bytes([max(i - 4, 0)])"),
        edit(READ, '        waiting = b""\n'),
        read_as('waiting.decode("utf-8", "backslashreplace")'),
        read_as('waiting.decode("utf-16-le", "replace")'),
        read_as("repr(waiting)"),
        read_as("waiting.hex()"),
        read_as('waiting.decode("utf-8", "replace").rstrip("\\ufffd")'),
        each_byte('f"<{i - 3}>"'),
        edit('text += "\\ufffd"', 'text += "?"'),
        edit('text += "\\ufffd"', 'text += " "'),
        edit('text += "\\ufffd"', 'text += "\\ufffd\\ufffd"'),
        edit("range(1, 5)", "range(1, 4)"),
        edit("range(1, 5)", "range(1, 3)"),
        edit("waiting = waiting[length:]", 'waiting = b""'),
        edit(SILENT, "        if i == 1:\n            continue\n", LOOP, "for i in [*ids, 1]:"),
        edit(SILENT, '        if i in (1, 2):\n            text += " "\n            continue\n'),
        edit(SILENT, '        if i in (1, 2):\n            text = "" if i == 1 else text\n'
             "            continue\n"),
        edit(PIECE, 'piece = "?" if i == 0 else pieces[i].replace("\\u2581", " ")'),
        edit(PIECE, 'piece = "\\ufffd" if i == 0 else pieces[i].replace("\\u2581", " ")'),
        edit(PIECE, 'piece = " \\u2047 " if i == 0 else pieces[i].replace("\\u2581", "_")'),
        edit(PIECE, 'piece = " \\u2047 " if i == 0 else pieces[i].replace("\\u2581", " ", 1)'),
        edit(PIECE, 'piece = " \\u2047 " if i == 0 else pieces[i].replace("\\u2581", " ")'
             '.strip("<")'),
        edit(PIECE, 'piece = " \\u2047 " if i == 0 else pieces[i - 1].replace("\\u2581", " ")'),
        edit(CUT, "piece = piece[:-1]"),
        edit(CUT, 'piece = piece.replace(" ", "")'),
        edit(TAKEN, 'if i != 0 and len(piece) > 1 and piece[0] == " " and at_start:'),
        edit(TAKEN, 'if at_start and i != 0 and piece == " ":'),
        edit(TAKEN, "if at_start and i != 0 and piece[-1] == ' ':"),
        "def spm_decode(ids, pieces):\n    return ''",
        "def spm_decode(ids, pieces):\n    return ''.join(map(chr, ids))",
        "def spm_decode(ids, pieces):\n    return ''.join(pieces[i] for i in ids)",
        "def spm_decode(ids, pieces):\n    return bytes(i - 3 for i in ids if i in range(3, 259)"
        ").decode()",
    )  # fmt: skip
    equivalent: ClassVar = {
        "2 -> 1": "the id behind the list ends it, and 1 gives nothing as 2 does",
        "5 -> 6": "no character has five bytes",
    }
    masked: ClassVar = {
        **{(one, run): NOT_WAITING for one in (ONE_BY_ONE, CODE_POINT, NAMES) for run in RUNS},
        (ONE_BY_ONE, CODE_POINT): NOT_WAITING,
        (CODE_POINT, NAMES): NOT_WAITING,
        **{("prefix space kept", place): "nothing is taken away, wherever it may stand"
           for place in (BEGIN, AGAIN, "all spaces at the start taken away")},
        **{(place, rate): NOT_LOOKED for place in (BEGIN, AGAIN)
           for rate in (*AT_ANY_RATE, "space taken from each piece")},
        **{("all spaces at the start taken away", rate): NOT_LOOKED for rate in AT_ANY_RATE},
        ("prefix space kept", FIRST): "nothing is taken away, whatever comes before",
        ("prefix space kept", OTHERS): "nothing is taken away, whatever comes before",
        **{pair: NOT_LOOKED for pair in (
            (BEGIN, NO_TEXT), (AGAIN, NO_TEXT), (OTHERS, NO_TEXT), (OTHERS, ALL_SPACES),
            (OTHERS, FIRST), (BEGIN, OTHERS), (AGAIN, OTHERS), (NO_TEXT, FIRST),
            *((OTHERS, rate) for rate in (*AT_ANY_RATE, "space taken from each piece")),
        )},
        (NO_TEXT, ALL_SPACES): "all spaces are taken, so no other piece is left to lose one",
        **{(place, THROWN): "no special id is left to be looked at" for place in (BEGIN, AGAIN)},
        **{(THROWN, sign): "id 0 gives nothing, so its sign is not seen" for sign in (
            "name of the unknown id shown", "unknown id silent",
            "unknown sign without its spaces")},
        **{(FIRST, rate): NOT_LOOKED for rate in (*AT_ANY_RATE, "space taken from each piece")},
        ("all spaces at the start taken away", "sign left in the text"): (
            "no piece has a space at its start, all have signs there"
        ),
        ("space taken from each piece", "text tidied"): "no space is left before a full stop",
        ("text tidied", "sign left in the text"): "no space is left before a full stop",
        ("sign left in the text", SPELLED): "no sign is turned into a space, spelled or not",
        **{(SPELLED, reading): "read like this, no bytes spell the sign"
           for reading in (ONE_BY_ONE, CODE_POINT, NAMES, "byte order", "id for the byte")},
        ("bytes joined across a special id", "byte order"): (
            "a character's bytes in reverse are none, on either side of the special id"
        ),
        **{(one, "surrogates let through"): "no three bytes spell half of a character then"
           for one in ("byte order", "id for the byte", "bytes at the end forgotten")},
        **{pair: "id 0 gives nothing, so neither its name nor its sign is seen" for pair in (
            ("name of the unknown id shown", "unknown id silent"),
            ("unknown id silent", "unknown sign without its spaces"),
        )},
    }  # fmt: skip

    def test_the_reference_is_the_library(self) -> None:
        """The solution on the toy's vocabulary, against sentencepiece, for ids of every kind."""
        toy = ScratchSentencePiece(FOLDER / "model" / "tokenizer.model")
        library = sentencepiece.SentencePieceProcessor(model_proto=toy.model_proto)
        pieces = [p.text for p in toy.proto.pieces]
        decode, chance = self.exercise.truth["spm_decode"], random.Random(0)
        for _ in range(3000):
            ids: list[int] = []
            for _ in range(chance.randrange(7)):
                ids += chance.choice(
                    (
                        [chance.randrange(toy.vocab_size)],
                        [chance.randrange(3, 259)],
                        [3 + byte for byte in chr(chance.randrange(0xD800)).encode()],
                        [chance.randrange(3)],
                    )
                )
            assert decode(ids, pieces) == library.decode(ids), ids
