"""Lesson 02, further: the wire format of protobuf, in which a tokenizer.model is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llama_course.checks.exercise import EXACT, Case, Exercise, Hints, Mistake, edit
from llama_course.checks.scripts import calls
from llama_course.tokenizers.protobuf import field, varint

STARTER = '''
def protobuf_fields(data: bytes) -> list[tuple[int, int | bytes]]:
    """Read a protobuf message: a run of fields, each with a number and a value.

    data: bytes. No field is of another kind than 0, 1, 2 or 5, and no varint has more than 64 bits.

    The result is a list of (number, value) pairs, in the order of the fields; a number may come
    several times. An empty message has no fields.
    A varint has seven bits in each byte, the low ones first. A byte of 128 or more says that
    another one follows.
    A field begins with a varint, its key: the number times 8, plus the kind.
    Kind 0: the value is a varint, given as a whole number that is not negative.
    Kind 2: a varint says how many bytes follow, and these are the value.
    Kind 1: the value is 8 bytes. Kind 5: it is 4 bytes. Both are given as they are.
    Bytes are not read any further, also where they are a message themselves.
    A message that ends in the midst of a field raises a ValueError.
    """
    raise NotImplementedError
'''

SOLUTION = """
def protobuf_fields(data: bytes) -> list[tuple[int, int | bytes]]:
    at = 0

    def read_varint():
        nonlocal at
        number = shift = 0
        while True:
            if at == len(data):
                raise ValueError("the data ends within a number")
            byte = data[at]
            at += 1
            number += (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number

    result = []
    while at < len(data):
        key = read_varint()
        number, kind = key >> 3, key & 7
        if kind == 0:
            value = read_varint()
        else:
            size = {1: 8, 5: 4}[kind] if kind != 2 else read_varint()
            value = data[at : at + size]
            if len(value) < size:
                raise ValueError("the data ends within a value")
            at += size
        result.append((number, value))
    return result
"""

PAIRS = (
    "The result is a list of (number, value) pairs, in the order of the fields; a number may come "
    "several times. An empty message has no fields."
)
LOW_FIRST = (
    "A varint has seven bits in each byte, the low ones first. A byte of 128 or more says that "
    "another one follows."
)
KEY = "A field begins with a varint, its key: the number times 8, plus the kind."
NUMBER = "Kind 0: the value is a varint, given as a whole number that is not negative."
SIZED = "Kind 2: a varint says how many bytes follow, and these are the value."
FIXED = "Kind 1: the value is 8 bytes. Kind 5: it is 4 bytes. Both are given as they are."
NO_FURTHER = "Bytes are not read any further, also where they are a message themselves."
CUT = "A message that ends in the midst of a field raises a ValueError."


def fixed(number: int, value: bytes) -> bytes:
    """A field of 8 or 4 bytes."""
    return varint(number << 3 | {8: 1, 4: 5}[len(value)]) + value


def messages(*several: bytes) -> Any:
    """A script that reads several messages."""

    def script(answer: Any) -> Iterator[tuple[str, Any]]:
        for data in several:
            shown = data.hex(" ") if len(data) < 12 else f"{data[:8].hex(' ')} and so on"
            yield f"the fields of {shown or 'no bytes'}", answer.protobuf_fields(data)

    return script


def raises(data: bytes) -> Any:
    """A script that reads a message which ends too soon."""
    return calls("protobuf_fields", data)


def case(title: str, level: str, says: str, catches: str, script: Any, **more: Any) -> Case:
    """A case whose transcript has lists of pairs."""
    return Case(title, level, says, catches, script, dtype=None, tolerance=EXACT, **more)


T = "the result of protobuf_fields"
UNK = field(1, "<unk>") + field(2, 0.0) + field(3, 2)
PIECE = field(1, "\u2581the") + field(2, -7.0)

ENDS_TOO_SOON = (
    ("within its bytes", field(1, "<unk>")[:-1]),
    ("within 4 bytes", field(2, 1.0)[:3]),
    ("within 8 bytes", fixed(1, b"abcdefgh")[:-1]),
    ("within a number", b"\x08\x96"),
    ("after a key of kind 0", field(1, 5) + b"\x10"),
    ("within a key", b"\x80"),
    ("after a key of kind 1", field(1, 5) + b"\x11"),
    ("after a key of kind 2", b"\x0a"),
    ("after a key of kind 5", b"\x15"),
    ("within a size", field(1, 5) + b"\x0a\x80"),
    ("after a size", b"\x0a\x05"),
)

CASES = (
    case("No bytes have no fields; one field is a list of one pair", "shape", PAIRS,
         "a dict, a generator, None", messages(b"", field(1, 5))),
    case("By hand: 08 96 01 is field 1 with the number 150", "example", LOW_FIRST,
         "high bits first, eight bits a byte, a high bit that is kept",
         calls("protobuf_fields", bytes.fromhex("089601")), expect={T: [(1, 150)]}),
    case("By hand: 12 03 61 62 63 is field 2 with the bytes abc", "example", SIZED,
         "text in place of bytes, a size that is part of the value",
         calls("protobuf_fields", bytes.fromhex("1203616263")), expect={T: [(2, b"abc")]}),
    case("The first piece of a tokenizer.model", "example", FIXED, "another order, a float",
         calls("protobuf_fields", UNK), expect={T: [(1, b"<unk>"), (2, bytes(4)), (3, 2)]}),
    case("Several pieces, each as its bytes", "property", NO_FURTHER,
         "messages inside that are read too, numbers that are kept once",
         messages(field(1, UNK) + field(1, PIECE), field(2, field(3, 2) + field(35, 1)))),
    case("The same field several times", "property", PAIRS, "a dict",
         messages(field(1, 5) + field(1, 6) + field(1, 5), field(3, b"") + field(3, b"a"))),
    case("Numbers of one byte, of two, of three and of ten", "property", NUMBER,
         "a limit on the length, a sign",
         messages(*(field(1, n) for n in (0, 1, 127, 128, 300, 16383, 16384, 2**32, 2**63)),
                  field(43, -1))),
    case("Field numbers above 15, whose keys have two bytes", "property", KEY,
         "keys of a single byte", messages(field(16, 1), field(35, 1) + field(44, "x"),
                                           field(2047, b"ab"), field(5000, 7),
                                           field(2**29 - 1, 3) + field(70_000, b"a"),
                                           fixed(20, b"abcd") + fixed(300, b"abcdefgh"))),
    case("Values of 127, 128 and 20,000 bytes", "property", SIZED, "sizes of a single byte",
         messages(field(1, b"a" * 127), field(1, b"b" * 128) + field(2, 3),
                  field(4, bytes(range(200)) * 100) + field(2, 3))),
    case("Values of 4 bytes", "property", FIXED, "the two sizes exchanged, numbers made of them",
         messages(fixed(2, b"\x01\x02\x03\x04") + field(3, 1), fixed(1, b"\xff" * 4) * 2)),
    case("Values of 8 bytes", "property", FIXED, "the two sizes exchanged, numbers made of them",
         messages(fixed(6, bytes(range(8))), fixed(2, b"\x80" * 8) + fixed(3, b"\n\x01abcde\0"))),
    case("Values of 4 and of 8 bytes in turn", "property", FIXED, "one size for both",
         messages(fixed(1, b"\xff" * 4) + fixed(2, b"\x80" * 8) + fixed(3, b"\n\x01a\0"))),
    case("Empty values", "edge", SIZED, "an empty value that is left out or ends the reading",
         messages(field(1, b""), field(2, b"") + field(1, 0) + field(3, b""))),
    case("A number that needs more bytes than it is worth", "edge", LOW_FIRST,
         "an end at a byte of zero bits", messages(b"\x08\x80\x00", b"\x08\x81\x80\x00\x10\x05")),
    *(case(f"A message that ends {where}", "edge", CUT, "a field that is cut short unsaid, an end "
           "that is looked for only where something follows, another error", raises(data))
      for where, data in ENDS_TOO_SOON),
    case("data is afterwards what it was", "inputs", PAIRS, "a bytearray that is emptied",
         calls("protobuf_fields", UNK)),
)  # fmt: skip

MASK = "(byte & 127) << shift"
ADD = "number += (byte & 127) << shift\n            shift += 7"
ENDS = 'if at == len(data):\n                raise ValueError("the data ends within a number")\n'
SHORT = 'if len(value) < size:\n                raise ValueError("the data ends within a value")\n'
APPEND = "result.append((number, value))"
READ_KEY = "key = read_varint()"
ONE_BYTE_KEY = "key = data[at]\n        at += 1"

MISTAKES = (
    Mistake(
        "high bits first",
        "A number's bytes are put together with the high bits first, as on paper; a varint has its "
        "low bits first.",
        (edit(ADD, "number = (number << 7) + (byte & 127)\n            shift += 7"),),
        "96 01 is 0x16 + 1 · 128 = 150.",
    ),
    Mistake(
        "high bit kept",
        "The high bit of each byte goes into the number; it only says that another byte follows.",
        (edit("(byte & 127)", "byte"),),
        "byte & 127 takes the high bit away.",
    ),
    Mistake(
        "eight bits a byte",
        "Each byte is shifted by eight places more than the one before; it brings seven bits.",
        (edit("shift += 7", "shift += 8"),),
        "One of the eight bits is not part of the number.",
    ),
    Mistake(
        "numbers of one byte",
        "A number is taken to be one byte, which is right up to 127.",
        (edit("value = read_varint()", "value = data[at]\n            at += 1"),),
        "What is the value of 08 96 01?",
    ),
    Mistake(
        "keys of one byte",
        "A key is taken to be one byte, which is right up to field 15. The settings of a "
        "tokenizer.model have fields up to 48.",
        (
            edit(READ_KEY, ONE_BYTE_KEY),
            edit(READ_KEY, ONE_BYTE_KEY, "kind != 2 else read_varint()",
                 "kind in (1, 5) else read_varint()"),
        ),
        "A key is a varint like any other number.",
    ),
    Mistake(
        "sizes of one byte",
        "A size is taken to be one byte, which is right up to 127 bytes.",
        (
            edit("{1: 8, 5: 4}[kind] if kind != 2 else read_varint()", "{1: 8, 5: 4}[kind] if "
                 "kind != 2 else data[at]\n            at += kind == 2"),
        ),
        "A size is a varint like any other number.",
    ),
    Mistake(
        "number and kind exchanged",
        "The low three bits of the key are taken for the number and the others for the kind.",
        (edit("number, kind = key >> 3, key & 7", "kind, number = key >> 3, key & 7"),),
        "0a is 10, which is 1 · 8 + 2: field 1, kind 2.",
    ),
    Mistake(
        "key not divided",
        "The key is given as the number of the field; its low three bits are the kind.",
        (edit(APPEND, "result.append((key, value))"),),
        "key >> 3 is the number.",
    ),
    Mistake(
        "four bits for the kind",
        "The key is cut at four bits; the kind has three.",
        (edit("key >> 3, key & 7", "key >> 4, key & 15"), edit("key >> 3", "key >> 4")),
        "The number times 8, plus the kind.",
    ),
    Mistake(
        "four and eight bytes exchanged",
        "Kind 5 is read as 8 bytes and kind 1 as 4.",
        (edit("{1: 8, 5: 4}", "{1: 4, 5: 8}"),),
        "A score is a float32 of kind 5.",
    ),
    Mistake(
        "last value of each number",
        "The fields are collected in a dict, so that of several with one number only the last is "
        "left. A tokenizer.model has all its pieces in field 1.",
        (edit("return result", "return list(dict(result).items())"),),
        "How many fields have the number 1?",
    ),
    Mistake(
        "bytes read as text",
        "The bytes of a field are decoded; whether they are text, a message or something else is "
        "not in the format, and the reader cannot know.",
        (
            edit(APPEND, 'result.append((number, value.decode("utf-8", "replace") if kind == 2 '
                 "else value))"),
            edit(APPEND, 'result.append((number, value.decode() if kind == 2 else value))'),
            edit(APPEND, 'result.append((number, value.decode("latin-1") if kind == 2 else '
                 "value))"),
        ),
        "Give the bytes as they are.",
    ),
    Mistake(
        "fixed values made numbers",
        "The 4 or 8 bytes are turned into a number; they are given as they are, since they may be "
        "a float or a whole number.",
        (
            edit(APPEND, 'result.append((number, int.from_bytes(value, "little") if kind in (1, 5) '
                 "else value))"),
            edit(APPEND, 'result.append((number, __import__("struct").unpack("<" + {1: "d", 5: '
                 '"f"}[kind], value)[0] if kind in (1, 5) else value))'),
            edit(APPEND, 'result.append((number, int.from_bytes(value, "little") if kind == 5 '
                 "else value))"),
            edit(APPEND, 'result.append((number, __import__("struct").unpack("<f", value)[0] '
                 "if kind == 5 else value))"),
        ),
        "Give the bytes as they are.",
    ),
    Mistake(
        "end of the data not seen",
        "A value that is cut short is given as if it were whole: a slice beyond the end raises "
        "nothing.",
        (
            edit(SHORT, "if False:\n                pass\n"),
            edit("if len(value) < size", "if kind == 2 and len(value) < size"),
            edit("if len(value) < size", "if kind != 2 and len(value) < size"),
            edit("if len(value) < size", "if kind != 1 and len(value) < size"),
            edit("if len(value) < size", "if value and len(value) < size"),
        ),
        "Compare the length of what you got with what was promised.",
    ),
    Mistake(
        "IndexError at the end",
        "Where the data ends within a number, data[at] raises an IndexError; the contract promises "
        "a ValueError, so that the caller can tell a broken file from a bug.",
        (edit(ENDS, "if False:\n                pass\n"),),
        "Look whether there is a byte before you read it.",
    ),
    Mistake(
        "number cut short",
        "A loop that stops at the end of the data gives a number whose last byte said that "
        "another one follows; such a message is broken, and the caller must hear of it.",
        (edit(ENDS, "if at == len(data):\n                return number\n"),),
        "What may the last byte of a number not be?",
    ),
    Mistake(
        "signed numbers",
        "Numbers of 64 bits are given with a sign; the contract wants them as they stand there. "
        "Whether a field is signed is for the caller to know.",
        (edit(APPEND, "result.append((number, value - 2**64 if kind == 0 and value >= 2**63 else "
              "value))"),),
        "What is the value of ten bytes ff ... 01?",
    ),
)  # fmt: skip

EXERCISE = Exercise(
    name="protobuf_fields",
    lesson="02",
    title="Read a protobuf message",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="Three things in a message are numbers of the same form: keys, sizes and values of "
        "kind 0. Write a helper for them first. What does it have to give back besides the number?",
        outline="A helper reads a varint from a place on, and gives the number and the next place: "
        "add (byte & 127) << shift, go on while byte is 128 or more. Then a loop until the end of "
        "the data: read the key, take it apart by >> 3 and & 7, read the value as the kind says, "
        "look whether there was enough of it, and move on.",
    ),
    difficulty="medium",
    importance="The same few rules read ONNX files, TensorFlow's records and much else.",
    minutes=20,
    core=False,
    setup="",
)
