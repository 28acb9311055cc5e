"""Lesson 02: decoding, with bytes that are collected and one space that is taken away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llama_course.checks.exercise import EXACT, Case, Exercise, Hints, Mistake, edit
from llama_course.checks.scripts import calls
from llama_course.checks.spm_encode import MIXED, SPECIAL

STARTER = '''
def spm_decode(ids: list[int], pieces: list[str]) -> str:
    """Turn ids into text, as LLaMA's SentencePiece tokenizer does.

    ids: any list of ids of the vocabulary, whether encoding ever gives it or not.
    pieces: the vocabulary; pieces[i] is the piece of id i. Ids 0, 1, 2 are "<unk>", "<s>", "</s>".
    Ids 3 to 258 stand for the bytes 0 to 255: "<0x00>" to "<0xFF>". All other ids are pieces of
    text, with "\\u2581" for a space.

    The result is a string; no ids give an empty one.
    A piece of text gives its characters, with a space for each "\\u2581".
    Byte ids that follow one another are collected, and together they are read as UTF-8. Any other
    id, also 1 or 2, ends the collection.
    Where no character can be read, the first byte gives "\\ufffd", and reading goes on at the next
    byte: so each byte that is left over gives one.
    Ids 1 and 2 give nothing. Id 0 gives " \\u2047 ", a sign between two spaces.
    The space of the prefix is taken away: where the first id that is neither 1 nor 2 is a piece of
    text that begins with "\\u2581", this one sign gives nothing. No other space is taken away.
    What bytes spell is left as it is, a space or a "\\u2581" as well.
    ids and pieces are not changed.
    """
    raise NotImplementedError
'''

SOLUTION = """
def spm_decode(ids: list[int], pieces: list[str]) -> str:
    text = ""
    waiting = b""
    at_start = True
    for i in [*ids, 2]:
        if 3 <= i < 259:
            waiting += bytes([i - 3])
            at_start = False
            continue
        while waiting:
            for length in range(1, 5):
                try:
                    text += waiting[:length].decode("utf-8")
                    break
                except UnicodeDecodeError:
                    continue
            else:
                text += "\\ufffd"
                length = 1
            waiting = waiting[length:]
        if i in (1, 2):
            continue
        piece = " \\u2047 " if i == 0 else pieces[i].replace("\\u2581", " ")
        if at_start and i != 0 and piece[0] == " ":
            piece = piece[1:]
        text += piece
        at_start = False
    return text
"""

RESULT = "The result is a string; no ids give an empty one."
CHARACTERS = 'A piece of text gives its characters, with a space for each "\\u2581".'
COLLECTED = (
    "Byte ids that follow one another are collected, and together they are read as UTF-8. Any "
    "other id, also 1 or 2, ends the collection."
)
LEFT_OVER = (
    'Where no character can be read, the first byte gives "\\ufffd", and reading goes on at the '
    "next byte: so each byte that is left over gives one."
)
NOTHING = "Ids 1 and 2 give nothing."
UNKNOWN = 'Id 0 gives " \\u2047 ", a sign between two spaces.'
PREFIX = (
    "The space of the prefix is taken away: where the first id that is neither 1 nor 2 is a piece "
    'of text that begins with "\\u2581", this one sign gives nothing.'
)
ONE = "No other space is taken away."
SPELLED = 'What bytes spell is left as it is, a space or a "\\u2581" as well.'
ANY = "ids: any list of ids of the vocabulary, whether encoding ever gives it or not."

TEXT = ("the", "_", "_the", "__", "cat", "_cat", "s", ".", "\n", "é", "____", "a_b", "<s", "<0x41",
        "_s", "x", "_x_s")  # fmt: skip
PIECES = [*SPECIAL, *(piece.replace("_", "\u2581") for piece in TEXT)]


def ids_of(*parts: str | bytes | int) -> list[int]:
    """Ids: of a piece (`_` for U+2581), of each of some bytes, or as given."""
    out: list[int] = []
    for part in parts:
        if isinstance(part, str):
            out.append(PIECES.index(part.replace("_", "\u2581")))
        else:
            out += [part] if isinstance(part, int) else [3 + byte for byte in part]
    return out


def lists(*several: list[int], pieces: list[str] = PIECES) -> Any:
    """A script that decodes several lists, one after the other."""

    def script(answer: Any) -> Iterator[tuple[str, Any]]:
        held = answer.hold(pieces)  # copied once, not for each list
        for ids in several:
            shown = str(ids) if len(ids) < 10 else f"{str(ids[:6])[:-1]}, and so on]"
            yield f"the text of {shown}", answer.spm_decode(ids, held)

    return script


def case(title: str, level: str, says: str, catches: str, script: Any, **more: Any) -> Case:
    """A case whose transcript has strings only."""
    return Case(title, level, says, catches, script, dtype=None, tolerance=EXACT, **more)


def scattered(step: int, count: int, size: int = len(MIXED[0])) -> list[int]:
    """Ids from all over a vocabulary, bytes that fit together among them."""
    return [(i * step + i * i) % size for i in range(count)]


T = "the result of spm_decode"
LLAMA = "\N{LLAMA}".encode()

CASES = (
    case("No ids give an empty string, and ids give a string", "shape", RESULT,
         "a list of pieces, bytes, None", lists([], ids_of("cat"), ids_of(LLAMA), [1], [2, 2])),
    case("By hand: the cats", "example", PREFIX, "a prefix that is kept, spaces that are lost",
         calls("spm_decode", ids_of("_the", "_cat", "s", "."), PIECES),
         expect={T: "the cats."}),
    case("By hand: four bytes are one llama", "example", COLLECTED,
         "bytes that are decoded one by one, names of bytes",
         calls("spm_decode", ids_of("_", LLAMA, "s"), PIECES), expect={T: "\N{LLAMA}s"}),
    case("By hand: a byte that begins a character, and no other after it", "example", LEFT_OVER,
         "an error, a byte that is dropped",
         calls("spm_decode", ids_of("cat", b"\xf0", "s"), PIECES), expect={T: "cat\ufffds"}),
    case("The space of the prefix, and no other", "property", ONE,
         "all spaces at the start taken away, or none, or the first of each piece",
         lists(ids_of("_", "_cat"), ids_of("__", "_cat"), ids_of("_the", "_", "_cat"),
               ids_of("____", "cat", "__"), ids_of("_x_s"), ids_of("_cat", "_"),
               ids_of("_"), ids_of("_", "_"), ids_of("_cat", "_", ".", "_", "s"))),
    case("Without a prefix nothing is taken away", "property", PREFIX,
         "a first character that is dropped whatever it is",
         lists(ids_of("cat", "_cat"), ids_of("the"), ids_of("\n", "_the"), ids_of("é", "_cat"),
               ids_of("a_b", "_cat"))),
    case("Special ids before the first piece, between pieces, and after", "property", NOTHING,
         "names that are shown, a prefix that is taken away at index 0 only, or after each",
         lists([1, *ids_of("_the", "_cat"), 2], [1, 1, *ids_of("_cat")], [2, *ids_of("_", "_cat")],
               [*ids_of("_the"), 2, 1, *ids_of("_cat")], [*ids_of("_"), 1, *ids_of("_cat")],
               [*ids_of("cat"), 1, *ids_of("_cat")], [1, *ids_of("cat"), 2])),
    case("The unknown id: at the start, alone, between pieces", "property", UNKNOWN,
         "its name, nothing, a space that is taken from it",
         lists([0], [*ids_of("_the"), 0, *ids_of("_cat")], [0, *ids_of("_cat")], [1, 0],
               [0, 0, *ids_of("s")])),
    case("Characters of two, three and four bytes, one after the other", "property", COLLECTED,
         "bytes that are decoded one by one, bytes at the end that are forgotten",
         lists(ids_of("_", "é€\N{LLAMA}".encode()), ids_of("e\u0301".encode(), "s"),
               ids_of("é€".encode(), "é", "é".encode()), ids_of(b"abc \n\0"),
               ids_of(LLAMA, LLAMA), ids_of("\U0010ffff".encode(), "_cat"),
               ids_of("\ufeffa\ufeff".encode(), "s"), ids_of("\u200b\u2028\x85\r\n".encode()))),
    case("Another id between the bytes of a character ends the collection", "property", COLLECTED,
         "bytes that are joined across a special id",
         lists([*ids_of(LLAMA[:2]), 1, *ids_of(LLAMA[2:])], [*ids_of(b"\xc3"), 2, *ids_of(b"\xa9")],
               [*ids_of(b"\xc3"), *ids_of("s"), *ids_of(b"\xa9")], ids_of(b"\xc3", 0, b"\xa9"))),
    case("Bytes that are no UTF-8: one sign for each that is left over", "property", LEFT_OVER,
         "one sign for several bytes, bytes that are dropped, an error",
         lists(ids_of(b"\xff\xfe"), ids_of(LLAMA[:3], "cat"), ids_of(b"\xe2\x82"),
               ids_of(b"\x80\xc3\xa9\x80"), ids_of(b"\xc3\xc3\xa9"),
               ids_of(b"\xe2\x82a\xe2\x82\xac"), ids_of(b"\xf0\x9f\xc3\xa9"), ids_of(LLAMA[1:]))),
    case("Bytes that look like UTF-8 and are not: surrogates, long forms, beyond the end",
         "property", LEFT_OVER, "a reader of one's own that is too generous",
         lists(ids_of(b"\xed\xa0\x80"), ids_of(b"\xc0\xaf"), ids_of(b"\xe0\x80\xaf"),
               ids_of(b"\xf4\x90\x80\x80"), ids_of(b"\xf8\x88\x80\x80\x80"), ids_of(b"\xc1\xbf"),
               ids_of(b"\xf0\x80\x80\x80"))),
    case("A space or a U+2581 that is spelled in bytes", "property", SPELLED,
         "a space that is taken from the text and not from a piece, signs replaced at the end",
         lists(ids_of(b" ", "_cat"), ids_of(b" cat"), ids_of("_the", "\u2581".encode(), "_cat"),
               ids_of("\u2581".encode(), "cat"), [1, *ids_of(b" ")], ids_of(b"<s>"))),
    case("Pieces that look like special names are text", "property", CHARACTERS,
         "special ids that are recognised by a bracket",
         lists(ids_of("<s", "x"), ids_of("_the", "<0x41", "_", "<s"))),
    case("The reference's text for ids from all over a vocabulary", "float32", ANY, "anything else",
         lists(*(scattered(step, 40) for step in (7, 31, 101)), ids_of("_the", "_cat", "s", "."),
               [*range(len(MIXED[0]))],
               [*range(len(MIXED[0]) - 1, -1, -1)], pieces=MIXED[0])),
    case("Each byte alone, and each two bytes next to one another", "edge", LEFT_OVER,
         "anything else that is wrong with bytes",
         lists(*([b] for b in (3, 35, 130, 131, 196, 197, 247, 248, 258)),
               [3 + (i * 37) % 256 for i in range(512)],
               [3 + (i * 3 + 128) % 256 for i in range(256)])),
    case("ids and pieces are afterwards what they were", "inputs",
         "ids and pieces are not changed.", "pop(), remove(), work in place",
         calls("spm_decode", [1, *ids_of("_the", b"\xc3\xa9", "_cat"), 2], PIECES)),
)  # fmt: skip

LOOP = "for i in [*ids, 2]:"
BYTE = "bytes([i - 3])"
START_BYTE = "            at_start = False\n            continue\n"
READ = """        while waiting:
            for length in range(1, 5):
                try:
                    text += waiting[:length].decode("utf-8")
                    break
                except UnicodeDecodeError:
                    continue
            else:
                text += "\\ufffd"
                length = 1
            waiting = waiting[length:]
"""
SILENT = "        if i in (1, 2):\n            continue\n"
PIECE = 'piece = " \\u2047 " if i == 0 else pieces[i].replace("\\u2581", " ")'
TAKEN = 'if at_start and i != 0 and piece[0] == " ":'
CUT = "piece = piece[1:]"
END = "return text"


def read_as(expression: str) -> tuple[str, ...]:
    """The waiting bytes are read by this expression."""
    return edit(READ, f'        text += {expression}\n        waiting = b""\n')


def each_byte(expression: str) -> tuple[str, ...]:
    """Each byte is read at once."""
    return edit(f"waiting += {BYTE}", f"text += {expression}")


MISTAKES = (
    Mistake(
        "prefix space kept",
        "The space of the prefix is still there, so every text comes back with a space in front.",
        (edit(TAKEN, "if False:"),),
        "Decode the ids of \"cat\", and look at the first character.",
    ),
    Mistake(
        "prefix kept after the begin token",
        "The prefix is taken away only where the first piece stands at index 0; with the begin "
        "token in front it is kept.",
        (
            edit(SILENT, "        if i in (1, 2):\n            at_start = False\n            "
                 "continue\n"),
        ),
        "Which id does a model's input begin with?",
    ),
    Mistake(
        "prefix taken again after a special id",
        "After each begin or end token a space is taken away once more; only the first of all "
        "pieces has the prefix.",
        (
            edit(SILENT, "        if i in (1, 2):\n            at_start = True\n            "
                 "continue\n"),
            edit(SILENT, "        if i in (1, 2):\n            at_start = at_start or i == 1\n"
                 "            continue\n"),
            edit(SILENT, "        if i in (1, 2):\n            at_start = at_start or i == 2\n"
                 "            continue\n"),
        ),
        "When is your sign for the start set, and when is it cleared?",
    ),
    Mistake(
        "prefix kept after other special ids",
        "One begin token is expected before the prefix, but not a second one, or an end token; ids "
        "that a model writes may begin with any of them.",
        (
            edit(TAKEN, "if False:", END, "rest = ids[1:] if ids[:1] == [1] else ids\n    "
                 'return text[1:] if rest and rest[0] > 258 and pieces[rest[0]][0] == "\u2581" '
                 "else text"),
            edit(SILENT, "        if i in (1, 2):\n            at_start = at_start and i == 1\n"
                 "            continue\n"),
        ),
        "Decode [2, 1, ...]. Which ids may stand before the prefix, and how many of them?",
    ),
    Mistake(
        "prefix taken until there is text",
        "A space is taken away as long as the text is empty. Where the first piece is the single "
        "sign it gives nothing, and the next piece loses its space too.",
        (
            edit(TAKEN, 'if not text and i != 0 and piece[0] == " ":'),
            edit(TAKEN, 'if not text and piece[0] == " ":'),
        ),
        "Decode the single sign and then a word with its space. How many spaces are left?",
    ),
    Mistake(
        "all spaces at the start taken away",
        "lstrip() or strip() takes every space at the start, though only one of them was added in "
        "encoding.",
        (
            edit(CUT, "piece = piece.lstrip(' ')", "        at_start = False\n    return",
                 "        at_start = at_start and not text\n    return"),
            edit(END, "return text.lstrip(' ')"),
            edit(END, "return text.lstrip()"),
            edit(END, "return text.strip(' ')"),
            edit(END, "return text.strip()"),
            edit(CUT, "piece = piece.lstrip(' ')"),
        ),
        "How many spaces should two spaces and a cat come back with?",
    ),
    Mistake(
        "prefix taken from the first piece of text",
        "The prefix is looked for in the first piece of text, also behind bytes or the unknown id; "
        "those come from inside the text, and then nothing was put in front.",
        (
            edit(START_BYTE, "            continue\n", "        text += piece\n        at_start = "
                 "False\n", "        text += piece\n        at_start = at_start and i == 0\n"),
            edit(START_BYTE, "            continue\n"),
            edit("        text += piece\n        at_start = False\n",
                 "        text += piece\n        at_start = at_start and i == 0\n"),
        ),
        "A byte and then a piece with a space: is anything before the byte?",
    ),
    Mistake(
        "a space taken from what has no prefix",
        "The first character of the text is taken away because it is a space, also where a byte or "
        "the unknown id gave it; only a piece's U+2581 is the prefix.",
        (
            edit(TAKEN, "if False:", END, 'return text[1:] if text[:1] == " " else text'),
        ),
        "The byte 0x20 is a space too. Who put it there?",
    ),
    Mistake(
        "first character dropped",
        "The first character is taken away whatever it is; ids that a model writes need not begin "
        "with a prefix.",
        (
            edit(TAKEN, "if False:", END, "return text[1:]"),
            edit(TAKEN, "if at_start and i != 0:"),
            edit(TAKEN, "if at_start:"),
        ),
        "What is the text of a piece without a space in front?",
    ),
    Mistake(
        "space taken from each piece",
        "The space in front of every piece is taken away, and the words run together.",
        (edit(TAKEN, 'if i != 0 and piece[0] == " ":'),
         edit('.replace("\\u2581", " ")', '.replace("\\u2581", "")', TAKEN, "if False:")),
        "How do you know that a piece is the first?",
    ),
    Mistake(
        "text tidied",
        "The space before a full stop or a comma is taken away, as some libraries do unless they "
        "are told not to. A space that was written is part of the text.",
        (
            edit(END, 'return text.replace(" .", ".")'),
            edit(END, 'return text.replace(" .", ".").replace(" ,", ",")'),
            edit(END, 'return text.replace(" .", ".").replace(" ?", "?").replace(" !", "!")'
                 '.replace(" ,", ",").replace(" \' ", "\'").replace(" n\'t", "n\'t")'),
            edit(END, 'return __import__("re").sub(r" ([.,!?])", r"\1", text)'),
        ),
        "Which line of yours looks at a full stop?",
    ),
    Mistake(
        "joined by spaces",
        "The pieces are joined with spaces between them; the spaces are in the pieces.",
        (edit("text += piece", 'text += (" " if text else "") + piece'),),
        "Which method of a string joins, and what stands before its dot?",
    ),
    Mistake(
        "sign left in the text",
        "U+2581 is left as it is; it stands for a space.",
        (edit('.replace("\\u2581", " ")', "", 'piece[0] == " "', 'piece[0] == "\\u2581"'),
         edit('.replace("\\u2581", " ")', "", TAKEN, "if False:")),
        "Print repr() of your result.",
    ),
    Mistake(
        "spelled sign turned into a space",
        "U+2581 is replaced in the finished text, also where bytes spelled that very character; "
        "replace it in the pieces only.",
        (edit(END, 'return text.replace("\\u2581", " ")'),),
        "Replace in the piece, before you add it.",
    ),
    Mistake(
        "bytes of a character decoded one by one",
        "Each byte is read by itself, but a character outside ASCII has two to four; collect them "
        "until another id comes, and read them together.",
        (
            each_byte(f'{BYTE}.decode("utf-8", "replace")'),
            each_byte(f'{BYTE}.decode("utf-8", "ignore")'),
            each_byte(f'{BYTE}.decode("utf-8")'),
            each_byte('(chr(i - 3) if i < 131 else "\\ufffd")'),
        ),
        "How many bytes does the llama have, and how many characters?",
    ),
    Mistake(
        "byte for a code point",
        "chr() is given a byte; a byte of 128 or more is a part of a character, not a character.",
        (each_byte("chr(i - 3)"), read_as('waiting.decode("latin-1")'),
         read_as('waiting.decode("cp1252", "replace")')),
        "bytes([...]).decode(\"utf-8\") reads several bytes together.",
    ),
    Mistake(
        "names of bytes as text",
        "The name of a byte, such as <0x0A>, is put into the text as it is.",
        (edit(f"            waiting += {BYTE}\n{START_BYTE}", "            text += pieces[i]\n"
              "            at_start = False\n            continue\n"),),
        "What does pieces[13] stand for?",
    ),
    Mistake(
        "bytes at the end forgotten",
        "Bytes are put into the text when another id comes, and at the end none comes: what waits "
        "there is lost.",
        (edit(LOOP, "for i in ids:"),),
        "What is left over after your loop?",
    ),
    Mistake(
        "bytes joined across a special id",
        "A begin or end token between two bytes is skipped before the bytes are read, so that "
        "halves of characters on both sides become one.",
        (edit(SILENT, "", LOOP, "for i in [i for i in ids if i not in (1, 2)] + [2]:",
              PIECE, PIECE + ' if i != 2 else "."',
              "        text += piece\n",
              "        if i == 2:\n            continue\n        text += piece\n"),),
        "Read the bytes first, then skip the id.",
    ),
    Mistake(
        "ids 0 to 2 thrown away first",
        "All three special ids are thrown away before the reading begins. Then id 0 shows no sign, "
        "and bytes on either side of such an id become one character.",
        (edit(LOOP, "for i in [*[i for i in ids if i > 2], 2]:"),),
        "Which of the three has a text? And what does an id between two bytes do?",
    ),
    Mistake(
        "stopped at the end token",
        "Reading stops at the first id 2. Whoever generates text stops there; decoding gives the "
        "text of all ids.",
        (edit(LOOP, "for i in [*(ids[: ids.index(2)] if 2 in ids else ids), 2]:"),),
        "What does the docstring say that id 2 gives?",
    ),
    Mistake(
        "byte order",
        "The bytes of a run are read in reverse; they stand in their order.",
        (edit(f"waiting += {BYTE}", f"waiting = {BYTE} + waiting"),),
        "The first id is the first byte.",
    ),
    Mistake(
        "id for the byte",
        "The id itself is used as a byte; byte 0 has id 3.",
        (edit(BYTE, "bytes([i])"), edit(BYTE, "bytes([i % 256])")),
        "What is pieces[0x41]?",
    ),
    Mistake(
        "one sign for several bytes",
        "Python's errors=\"replace\" gives one U+FFFD for several bytes that begin a character; "
        "here each byte that is left over gives its own, so a text has as many as bytes are bad.",
        (read_as('waiting.decode("utf-8", "replace")'),),
        "How many signs do you get for the first three bytes of a llama?",
    ),
    Mistake(
        "one sign for all bytes",
        "A run of bytes with one bad byte gives a single U+FFFD, and its good characters are lost.",
        (edit(READ, '        if waiting:\n            try:\n                text += '
              'waiting.decode("utf-8")\n            except UnicodeDecodeError:\n'
              '                text += "\\ufffd"\n            waiting = b""\n'),),
        "What are the bytes before and after the bad one?",
    ),
    Mistake(
        "one sign for each byte of the run",
        "One bad byte turns its whole run into U+FFFD, also the characters that could be read.",
        (edit(READ, '        if waiting:\n            try:\n                text += '
              'waiting.decode("utf-8")\n            except UnicodeDecodeError:\n'
              '                text += "\\ufffd" * len(waiting)\n            waiting = b""\n'),),
        "What are the bytes before and after the bad one?",
    ),
    Mistake(
        "bad bytes dropped",
        "Bytes that are no UTF-8 give nothing; the reader should see that something was there.",
        (read_as('waiting.decode("utf-8", "ignore")'), edit('text += "\\ufffd"', "pass")),
        "errors=\"ignore\" hides what went wrong.",
    ),
    Mistake(
        "bad bytes raise",
        "Bytes that are no UTF-8 end in an error. A model may write any ids, and a text that is "
        "still growing often ends within a character.",
        (read_as('waiting.decode("utf-8")'),),
        "decode() has an argument `errors`; see which of its ways fits, or catch the error.",
    ),
    Mistake(
        "surrogates let through",
        "Three bytes that spell half of a character are read as one; Python allows that only with "
        "errors=\"surrogatepass\".",
        (
            edit('waiting[:length].decode("utf-8")',
                 'waiting[:length].decode("utf-8", "surrogatepass")'),
            read_as('waiting.decode("utf-8", "surrogatepass")'),
            read_as('waiting.decode("utf-8", "surrogateescape")'),
        ),
        "Is U+D800 a character?",
    ),
    Mistake(
        "special names shown",
        "The names <s> and </s> are put into the text; they are signs for the model, not for the "
        "reader.",
        (
            edit(SILENT, "", LOOP, "for n, i in enumerate([*ids, 2]):",
                 "        piece = \" \\u2047 \"", "        if n == len(ids):\n            break\n"
                 "        piece = \" \\u2047 \""),
            edit(SILENT, "        if i in (1, 2):\n            text += pieces[i]\n            "
                 "continue\n", "    for i in [*ids, 2]:", "    for i in [*ids, 0]:",
                 END, 'return text[:-3]'),
        ),
        "Which ids give nothing?",
    ),
    Mistake(
        "name of the unknown id shown",
        "Id 0 gives its name, <unk>; the contract has another sign for it.",
        (edit('" \\u2047 " if i == 0 else ', ""),
         edit('" \\u2047 " if i == 0', '" <unk> " if i == 0')),
        "What does the docstring say of id 0?",
    ),
    Mistake(
        "unknown id silent",
        "Id 0 gives nothing, like the begin and end tokens; but something stood there, and the "
        "reader should see it.",
        (
            edit("if i in (1, 2):", "if i in (0, 1, 2):"),
            edit('" \\u2047 " if i == 0', '"" if i == 0'),
        ),
        "What does the docstring say of id 0?",
    ),
    Mistake(
        "unknown sign without its spaces",
        "Id 0 gives the sign alone; in LLaMA's file a space stands on either side of it.",
        (edit('" \\u2047 " if i', '"\\u2047" if i'),),
        "How long is the string that id 0 gives?",
    ),
)  # fmt: skip

EXERCISE = Exercise(
    name="spm_decode",
    lesson="02",
    title="Decode as SentencePiece does",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="A character may be spread over four ids, so what one id gives may depend on the "
        "next ones. What do you keep while you wait, and what tells you that the waiting is over?",
        outline="Go through the ids with a bytes object that waits. A byte id adds to it. Any "
        "other id empties it first: read one to four bytes as UTF-8, or give U+FFFD for one. Then "
        "the id itself: nothing for 1 and 2, the sign for 0, else the piece with spaces. Remember "
        "whether anything but 1 and 2 came before: if not, a piece's first U+2581 is the prefix. "
        "After the loop empty the waiting bytes once more.",
    ),
    difficulty="medium",
    importance="Every word that the model ever writes reaches you through it.",
    minutes=20,
    setup="",
)
