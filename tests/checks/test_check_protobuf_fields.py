"""Lesson 02's further exercise: what passes, what fails, and what each failure is called."""

from __future__ import annotations

from typing import ClassVar

from llama_course.checks.exercise import edit
from llama_course.checks.protobuf_fields import (
    APPEND,
    ENDS,
    EXERCISE,
    MASK,
    READ_KEY,
    SHORT,
)
from llama_course.checks.testing import ExerciseTests
from llama_course.tokenizers import protobuf
from llama_course.toy import FOLDER

PLACES = """
def varint(data, at):
    number, place = 0, 1
    while at < len(data):
        byte = data[at]
        at += 1
        number += (byte % 128) * place
        if byte // 128 == 0:
            return number, at
        place *= 128
    raise ValueError("cut")

def protobuf_fields(data):
    found, at = [], 0
    while at != len(data):
        key, at = varint(data, at)
        number, kind = divmod(key, 8)
        if kind == 0:
            value, at = varint(data, at)
        else:
            size = 8 if kind == 1 else 4
            if kind == 2:
                size, at = varint(data, at)
            if at + size > len(data):
                raise ValueError(f"{size} bytes promised at {at}")
            value, at = bytes(data[at : at + size]), at + size
        found.append((number, value))
    return found
"""

STREAM = """
import io

def protobuf_fields(data):
    stream = io.BytesIO(data)

    def take(n):
        got = stream.read(n)
        if len(got) != n:
            raise ValueError("too short")
        return got

    def number():
        digits = [take(1)[0]]
        while digits[-1] & 0x80:
            digits.append(take(1)[0])
        return int("".join(f"{d & 0x7F:07b}" for d in reversed(digits)), 2)

    fields = []
    while stream.tell() < len(data):
        key = number()
        read = {0: number, 1: lambda: take(8), 2: lambda: take(number()), 5: lambda: take(4)}
        fields.append((key >> 3, read[key & 0b111]()))
    return fields
"""

RECURSIVE = """
def protobuf_fields(data):
    def head(rest):
        if not rest:
            raise ValueError("nothing left")
        if rest[0] < 128:
            return rest[0], rest[1:]
        more, after = head(rest[1:])
        return rest[0] - 128 | more << 7, after

    result, rest = [], data
    while rest:
        key, rest = head(rest)
        match key & 7:
            case 0:
                value, rest = head(rest)
            case kind:
                size, rest = head(rest) if kind == 2 else ({1: 8, 5: 4}[kind], rest)
                if size > len(rest):
                    raise ValueError("too little")
                value, rest = rest[:size], rest[size:]
        result += [(key >> 3, value)]
    return result
"""


ASTRAY = ("number and kind exchanged", "four bits for the kind")  # every key is misread
LATER = ("last value of each number", "fixed values made numbers")


class TestProtobufFields(ExerciseTests):
    exercise = EXERCISE
    right = (PLACES, STREAM, RECURSIVE)
    wrong = (
        edit(MASK, "(byte & 63) << shift"),
        edit(MASK, "(byte | 128) << shift"),
        edit(MASK, "byte << shift if shift == 0 else (byte & 127) << shift"),
        edit("shift += 7", "shift += 6"),
        edit("shift += 7", "shift = 7"),
        edit("byte < 128", "byte <= 128"),
        edit("byte < 128", "byte < 127"),
        edit("byte < 128", "byte < 128 or shift > 14"),
        edit("byte < 128", "byte < 128 or shift > 35"),
        edit("number = shift = 0", "number = shift = 1"),
        edit("return number\n", "return number & 0xFFFFFFFF\n"),
        edit("return number\n", "return number >> 1\n"),
        edit("return number\n", "return (number >> 1) ^ -(number & 1)\n"),
        edit(ENDS, "if at == len(data):\n                return None\n"),
        edit(
            ENDS,
            "if at == len(data):\n                break\n",
            "return number\n",
            "return number\n        return 0\n",
        ),
        edit(ENDS, 'if at == len(data):\n                raise EOFError("cut")\n'),
        edit(
            ENDS,
            "if at == len(data) and shift:\n                raise ValueError\n            "
            "if at == len(data):\n                return 0\n",
        ),
        edit(
            "kind != 2 else read_varint()", "kind != 2 else read_varint() if at < len(data) else 0"
        ),
        edit(
            "            value = read_varint()",
            "            value = read_varint() if at < len(data) else 0",
        ),
        edit(READ_KEY, "key = read_varint() - 1"),
        edit("key >> 3, key & 7", "key >> 3, key & 3"),
        edit("key >> 3, key & 7", "key >> 2, key & 7"),
        edit("key >> 3, key & 7", "(key >> 3) & 31, key & 7"),
        edit("key >> 3, key & 7", "(key >> 3) & 0xFFFF, key & 7"),
        edit("key >> 3, key & 7", "key >> 3, key % 8 if key < 64 else key % 4"),
        edit("{1: 8, 5: 4}", "{1: 8, 5: 8}"),
        edit("{1: 8, 5: 4}", "{1: 4, 5: 4}"),
        edit("value = data[at : at + size]", "value = data[at : at + size + 1]"),
        edit("at += size", "at += size + (kind == 1)"),
        edit("at += size", "at += max(size, 1)"),
        edit("at += size", "at += 0"),
        edit(SHORT, "if len(value) < size:\n                break\n"),
        edit(SHORT, "if len(value) <= size:\n                raise ValueError\n"),
        edit(APPEND, "result.append((number, kind, value))"),
        edit(APPEND, "result.append(value)"),
        edit(APPEND, "result.append((value, number))"),
        edit(APPEND, "result.append((number, list(value) if kind == 2 else value))"),
        edit(APPEND, "result.append((number, value.hex() if kind == 2 else value))"),
        edit(APPEND, "result.append((number, value or None))"),
        edit(APPEND, "result += [(number, value)] if value else []"),
        edit(APPEND, "result += [(number, value)] if (number, value) not in result else []"),
        edit(APPEND, "result.insert(0, (number, value))"),
        edit("return result", "return dict(result)"),
        edit("return result", "return sorted(result, key=lambda pair: pair[0])"),
        edit("return result", "return result[1:]"),
        edit("return result", "return result or None"),
        edit("return result", "return iter(result)"),
        "def protobuf_fields(data):\n    return []",
        "def protobuf_fields(data):\n    return [(data[0] >> 3, data[2:])] if data else []",
        "def protobuf_fields(data):\n    raise ValueError('no message')",
    )
    equivalent: ClassVar = {}
    masked: ClassVar = {
        **{(one, "sizes of one byte"): "sizes above 127 are read wrongly, or raise, either way"
           for one in ("high bits first", "high bit kept", "eight bits a byte")},
        **{(one, "signed numbers"): "no number of 64 bits is ever read"
           for one in ("high bits first", "numbers of one byte", *ASTRAY)},
        **{(one, ASTRAY[0]): "keys of two bytes raise at once, whatever else they are"
           for one in ("high bit kept", "eight bits a byte", "sizes of one byte")},
        **{(one, ASTRAY[1]): "no key is read as it should be, so no value is reached"
           for one in ("numbers of one byte", "sizes of one byte")},
        **{(one, other): "no field is read as it should be, so nothing is left to go wrong"
           for one in ASTRAY for other in LATER},
        ("four and eight bytes exchanged", "fixed values made numbers"): (
            "most messages with such a value raise, before a number is made of it"
        ),
    }  # fmt: skip

    def test_it_reads_the_toys_file_as_the_library_does(self) -> None:
        data = (FOLDER / "model" / "tokenizer.model").read_bytes()
        assert self.exercise.truth["protobuf_fields"](data) == list(protobuf.fields(data))
