"""GPT-2's way to write bytes as text: each of the 256 bytes has a printable character.

Bytes that are printable in Latin-1 are themselves; the other 68 are numbered from U+0100, so that
a space is U+0120 and a line end U+010A. Vocabularies in JSON and lists of merges are written so.
Source: `bytes_to_unicode` in `encoder.py` of openai/gpt-2.
"""

from __future__ import annotations

_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
_CHARACTER = {byte: chr(byte) for byte in _PRINTABLE} | {
    byte: chr(0x100 + number) for number, byte in enumerate(_OTHERS)
}
_BYTE = {character: byte for byte, character in _CHARACTER.items()}


def to_text(data: bytes) -> str:
    """Bytes as printable text.

    >>> to_text(b" hello")
    'Ġhello'
    """
    return "".join(map(_CHARACTER.__getitem__, data))


def to_bytes(text: str) -> bytes:
    """The bytes that `text` stands for; `ValueError` for a character that stands for none."""
    try:
        return bytes(map(_BYTE.__getitem__, text))
    except KeyError as error:
        raise ValueError(
            f"{error.args[0]!r} (U+{ord(error.args[0]):04X}) stands for no byte"
        ) from None
