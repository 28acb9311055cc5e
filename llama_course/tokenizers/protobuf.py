"""Protocol Buffers on the wire: the few lines of the format that a tokenizer file needs.

A message is a run of fields. Each begins with a varint, `number * 8 + wire type`, and goes on
with the value: a varint (wire type 0), 8 bytes (1), a length and as many bytes (2), or 4 bytes
(5). Source: the "Encoding" page of the Protocol Buffers documentation.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def varint(number: int) -> bytes:
    """Seven bits a byte, low ones first; negative numbers as 64-bit two's complement.

    >>> varint(300).hex()
    'ac02'
    """
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, value: int | float | str | bytes) -> bytes:
    """One field: an int (or bool) as a varint, a float as 4 bytes, text and bytes with a length."""
    if isinstance(value, int):
        return varint(number << 3 | VARINT) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | FIXED32) + struct.pack("<f", value)
    data = value.encode("utf-8") if isinstance(value, str) else value
    return varint(number << 3 | BYTES) + varint(len(data)) + data


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message in order: `(number, value)`.

    A varint comes as a non-negative int, everything else as its bytes. Raises `ValueError` where
    the bytes are no message, or end too soon.
    """
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, at = _read_varint(data, at)
            yield number, value
            continue
        if wire == BYTES:
            size, at = _read_varint(data, at)
        elif wire in (FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
        else:
            raise ValueError(f"byte {at} begins a field of unknown wire type {wire}")
        if at + size > len(data):
            raise ValueError(f"byte {at} promises {size} bytes, and {len(data) - at} follow")
        yield number, data[at : at + size]
        at += size


def signed(number: int) -> int:
    """A varint read as a signed 64-bit number: `signed(2**64 - 1) == -1`."""
    return number - (1 << 64) if number >= 1 << 63 else number


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError(f"the data ends inside a number, at byte {at}")
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError(f"the number that ends at byte {at} is longer than 64 bits")
