"""Lesson 01, last part: from ids back to text, where a character may lie in two tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llama_course.checks.exercise import EXACT, Case, Exercise, Hints, Mistake, edit
from llama_course.checks.scripts import calls

STARTER = '''
def bpe_decode(ids: list[int], vocab: dict[int, bytes]) -> str:
    """Turn token ids back into text.

    ids: a tuple or a list of ids; there may be none, and every one is in vocab.
    vocab: a dict from each id to its byte string. Its items may stand in any order.

    Join the byte strings of all ids, in their order, and read the whole as UTF-8: the bytes of one
    character may lie in several tokens.
    Bytes that are no UTF-8 become the replacement character U+FFFD, as bytes.decode makes it with
    errors="replace"; they raise no error.
    Nothing else is added, removed or changed: spaces, line ends and control characters stay.
    Return a string. Neither ids nor vocab is changed.
    """
    raise NotImplementedError
'''

SOLUTION = """
def bpe_decode(ids: list[int], vocab: dict[int, bytes]) -> str:
    joined = b"".join(vocab[i] for i in ids)
    return joined.decode("utf-8", errors="replace")
"""

JOIN = (
    "Join the byte strings of all ids, in their order, and read the whole as UTF-8: the bytes of "
    "one character may lie in several tokens."
)
REPLACE = (
    "Bytes that are no UTF-8 become the replacement character U+FFFD, as bytes.decode makes it "
    'with errors="replace"; they raise no error.'
)
STAY = "Nothing else is added, removed or changed: spaces, line ends and control characters stay."
STRING = "Return a string."
MANY = "ids: a tuple or a list of ids; there may be none, and every one is in vocab."
ORDER = "vocab: a dict from each id to its byte string. Its items may stand in any order."

T = "the result of bpe_decode"
BYTES = {i: bytes([i]) for i in range(256)}
TOKENS = (b"the", b" the", b" h", "\N{LLAMA}".encode()[:2], "\N{LLAMA}".encode()[2:],
          "ß".encode(), b"\xce", b"\xe2\x82", b"\n\n", b"", b"\xef\xbb\xbf")  # fmt: skip
VOCAB = BYTES | {256 + i: token for i, token in enumerate(TOKENS)}
MIXED = {i: VOCAB[i] for i in sorted(VOCAB, key=lambda i: i * 77 % len(VOCAB))}


def case(title: str, level: str, says: str, catches: str, ids: object, **more: object) -> Case:
    """One call of bpe_decode."""
    vocab = more.pop("vocab", VOCAB)
    script = calls("bpe_decode", ids, vocab)
    return Case(
        *(title, level, says, catches, script),
        dtype=None, tolerance=EXACT, **more,  # type: ignore[arg-type]
    )  # fmt: skip


def every_two_bytes(answer: Any) -> Iterator[tuple[str, Any]]:
    """Two bytes of every kind after one another, with a letter behind them."""
    kinds = (0x00, 0x41, 0x7F, 0x80, 0xBF, 0xC0, 0xC3, 0xE2, 0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF)
    for one in kinds:
        ids = [i for other in kinds for i in (one, other, 0x7A)]
        yield (
            f"the text of the bytes 0x{one:02X}, each before another",
            answer.bpe_decode(ids, VOCAB),
        )


CASES = (
    case("Two letters", "shape", STRING, "bytes in place of a string", [104, 105],
         expect={T: "hi"}),
    case("By hand: the, then the bytes of an h and an i with a space", "example", JOIN,
         "spaces put between tokens", [256, 258, 105], expect={T: "the hi"}),
    case("By hand: the llama in two tokens of two bytes each", "example", JOIN,
         "decoding token by token", [97, 259, 260, 98], expect={T: "a\N{LLAMA}b"}),
    case("By hand: a Greek letter, its first byte a token and its second a byte", "example", JOIN,
         "decoding token by token, or byte by byte", [262, 0xB1, 262, 0xB2], expect={T: "αβ"}),
    case("The euro sign in three ways", "property", JOIN, "decoding token by token",
         [0xE2, 0x82, 0xAC, 263, 0xAC, 49, 0xE2, 0x82, 0xAC, 50], expect={T: "€€1€2"}),
    case("Letters of two bytes, alone", "property", JOIN, "ASCII, Latin-1", [261, 261, 101],
         expect={T: "ßße"}),
    case("A byte that begins nothing becomes U+FFFD", "property", REPLACE,
         "an error, a byte dropped, another sign", [97, 0xFF, 98, 0x80],
         expect={T: "a\ufffdb\ufffd"}),
    case("A character that breaks off becomes one U+FFFD", "property", REPLACE,
         "a U+FFFD for each byte, bytes dropped", [97, 263, 98, 259, 99],
         expect={T: "a\ufffdb\ufffdc"}),
    case("A character that breaks off at the very end", "property", REPLACE,
         "a decoder that waits for more", [97, 259], expect={T: "a\ufffd"}),
    case("Spaces, line ends and control characters stay", "property", STAY,
         "strip, splitlines, printable characters only",
         [32, 32, 10, 97, 13, 10, 0, 9, 0x7F, 98, 264, 32],
         expect={T: "  \na\r\n\x00\t\x7fb\n\n "}),
    case("A byte order mark at the beginning stays", "property", STAY, "utf-8-sig",
         [266, 97, 0xEF, 0xBB, 0xBF], expect={T: "\ufeffa\ufeff"}),
    case("Two ways to write é, a ligature and a plus sign stay what they are", "property", STAY,
         "normalised characters, an encoding that reads +AGE- otherwise",
         list("é e\u0301 ﬁ \u212b +AGE-".encode()), expect={T: "é e\u0301 ﬁ \u212b +AGE-"}),
    case("Signs that mean something elsewhere stay: ▁, Ġ, &amp;, a backslash", "property", STAY,
         "signs that other tokenizers or formats write", [0, 1, 2],
         vocab={0: "▁a".encode(), 1: " Ġb".encode(), 2: b" &amp; \\n"},
         expect={T: "▁a Ġb &amp; \\n"}),
    case("A line end at the end stays", "property", STAY, "a line end stripped", [104, 105, 10],
         expect={T: "hi\n"}),
    case("Half of a surrogate pair is no UTF-8", "property", REPLACE,
         "halves of pairs let through", [97, 0xED, 0xA0, 0x80, 98],
         expect={T: "a\ufffd\ufffd\ufffdb"}),
    case("A token that occurs again and again", "property", JOIN, "a set of ids",
         [256, 257, 257, 256, 257], expect={T: "the the thethe the"}),
    Case("Bytes of every kind after one another", "property", REPLACE, "anything else",
         every_two_bytes, dtype=None, tolerance=EXACT),
    case("A vocabulary whose items stand in another order", "edge", ORDER,
         "the place in the dict taken for the id", [257, 97, 256, 259, 260], vocab=MIXED),
    case("A vocabulary whose ids are not in a row", "edge", ORDER,
         "bytes taken to have the ids 0 to 255", [7, 4000, 7, 5], vocab={7: b"a", 4000: b"bc",
                                                                         5: b"\xc3"}),
    case("No ids", "edge", MANY, "a string that is None", [], expect={T: ""}),
    case("A tuple of ids, and a token without bytes", "edge", MANY, "a list taken for granted",
         (265, 104, 265, 105)),
    case("ids and vocab are afterwards what they were", "inputs",
         "Neither ids nor vocab is changed.", "ids taken off the list", [104, 105]),
)  # fmt: skip

JOINED = 'joined = b"".join(vocab[i] for i in ids)'
READ = 'joined.decode("utf-8", errors="replace")'


def reads(expression: str) -> tuple[str, ...]:
    """The joined bytes read in another way."""
    return edit(READ, expression)


MISTAKES = (
    Mistake(
        "decoded token by token",
        "Each token is decoded by itself; where a character lies in two tokens, both halves "
        "become U+FFFD.",
        (edit(JOINED, 'joined = [vocab[i].decode("utf-8", errors="replace") for i in ids]',
              READ, '"".join(joined)'),),
        "Join first, decode once.",
    ),
    Mistake(
        "decoded token by token, halves raise",
        "Each token is decoded by itself, without an error handler: a token that ends in the "
        "middle of a character raises UnicodeDecodeError.",
        (edit(JOINED, 'joined = [vocab[i].decode("utf-8") for i in ids]', READ, '"".join(joined)'),
         ),
        "Join first, decode once.",
    ),
    Mistake(
        "decoded token by token, halves dropped",
        "Each token is decoded by itself, with errors=\"ignore\"; a character that lies in two "
        "tokens is gone without a trace.",
        (edit(JOINED, 'joined = [vocab[i].decode("utf-8", errors="ignore") for i in ids]',
              READ, '"".join(joined)'),),
        "Join first, decode once.",
    ),
    Mistake(
        "decoded byte by byte",
        "Each byte is turned into a character of its own, as chr and Latin-1 do it; a letter such "
        "as ß has two bytes.",
        (reads('joined.decode("latin-1")'), reads('"".join(chr(b) for b in joined)')),
        "How many bytes has the letter ß in UTF-8?",
    ),
    Mistake(
        "invalid bytes dropped",
        "Bytes that are no UTF-8 vanish, as errors=\"ignore\" does it; nobody sees that something "
        "was there.",
        (reads('joined.decode("utf-8", errors="ignore")'),
         reads('joined.decode("utf-8", errors="replace").replace("\\ufffd", "")')),
        "What should the byte 0xFF become?",
    ),
    Mistake(
        "invalid bytes raise",
        "Bytes that are no UTF-8 raise UnicodeDecodeError, which is what decode does unless told; "
        "a model that is sampled writes such bytes sooner or later.",
        (reads("joined.decode()"), reads('str(joined, "utf-8")')),
        "decode has a second argument, errors.",
    ),
    Mistake(
        "one sign for each byte",
        "Each byte of a broken character becomes a U+FFFD of its own; decode makes one of the "
        "bytes that belong together.",
        (reads('"".join("\\ufffd" if "\\udc80" <= c <= "\\udcff" else c for c in '
               'joined.decode("utf-8", errors="surrogateescape"))'),),
        "What does b\"\\xe2\\x82\".decode(errors=\"replace\") give?",
    ),
    Mistake(
        "invalid bytes escaped",
        "Bytes that are no UTF-8 are spelled out, or hidden in special code points, by another "
        "error handler.",
        (reads('joined.decode("utf-8", errors="backslashreplace")'),
         reads('joined.decode("utf-8", errors="surrogateescape")')),
        "Which error handler does the docstring name?",
    ),
    Mistake(
        "a question mark for invalid bytes",
        "Bytes that are no UTF-8 become a question mark, and a question mark is text that somebody "
        "may have written.",
        (reads('joined.decode("utf-8", errors="replace").replace("\\ufffd", "?")'),),
        "U+FFFD is a character of its own.",
    ),
    Mistake(
        "end dropped",
        "Bytes at the end that begin a character are not written: the decoder waits for the rest, "
        "and nobody tells it that there is none.",
        (
            edit("def bpe_decode(", "import codecs\n\n\ndef bpe_decode(", READ,
                 'codecs.getincrementaldecoder("utf-8")(errors="replace").decode(joined)'),
        ),
        "An incremental decoder wants final=True at the end.",
    ),
    Mistake(
        "ASCII for UTF-8",
        "Only the first 128 characters are read; every byte of all others becomes a replacement.",
        (reads('joined.decode("ascii", errors="replace")'),),
        "Which encoding has a name of its own for every character there is?",
    ),
    Mistake(
        "ASCII only, the rest dropped",
        "Only the first 128 characters are read, and everything else is gone.",
        (reads('joined.decode("ascii", errors="ignore")'),),
        "Which encoding has a name of its own for every character there is?",
    ),
    Mistake(
        "spaces between tokens",
        "The tokens are joined by spaces, as words are; a token brings its own space where there "
        "is one.",
        (edit(JOINED, 'joined = b" ".join(vocab[i] for i in ids)'),),
        "What stands at the beginning of the token ␣the?",
    ),
    Mistake(
        "spaces stripped",
        "Spaces and line ends at the beginning or the end are cut off.",
        (reads('joined.decode("utf-8", errors="replace").strip()'),
         reads('joined.decode("utf-8", errors="replace").lstrip()'),
         reads('joined.decode("utf-8", errors="replace").rstrip()'),
         edit(JOINED, 'joined = b"".join(vocab[i] for i in ids).strip()')),
        "Text that begins with a space should come back with it.",
    ),
    Mistake(
        "a space for another sign",
        "▁ or Ġ becomes a space, as other tokenizers write theirs; here a space is the byte 32, "
        "and these two are characters of the text.",
        (reads('joined.decode("utf-8", errors="replace").replace("\\u2581", " ")'),
         reads('joined.decode("utf-8", errors="replace").replace("\\u0120", " ")')),
        "Which byte is a space, in the lesson's tokens?",
    ),
    Mistake(
        "bytes returned",
        "The joined bytes are returned; they are not text yet.",
        (reads("joined"),),
        "bytes.decode makes a string.",
    ),
    Mistake(
        "the bytes' repr",
        "str(...) of bytes gives the text that Python shows for them, with b and quotes around it; "
        "decode reads them.",
        (reads("str(joined)"),),
        "What does print(str(b\"hi\")) show?",
    ),
    Mistake(
        "a list of texts",
        "Each token's text stands alone in a list; the result is one string.",
        (edit(JOINED, 'joined = [vocab[i].decode("utf-8", errors="replace") for i in ids]',
              READ, "joined"),),
        "Join first, decode once.",
    ),
    Mistake(
        "place for the id",
        "The ids are taken for places in the list of byte strings; the dict says which id has "
        "which.",
        (edit(JOINED, "tokens = list(vocab.values())\n"
              '    joined = b"".join(tokens[i] for i in ids)'),),
        "Ask the dict, vocab[i].",
    ),
    Mistake(
        "byte order mark lost",
        "A U+FEFF at the beginning is swallowed, as utf-8-sig does it; it is a character of the "
        "text.",
        (reads('joined.decode("utf-8-sig", errors="replace")'),),
        "Which name of the encoding is the right one, utf-8 or utf-8-sig?",
    ),
    Mistake(
        "ids taken off the list",
        "The ids are popped, and the caller's list is empty afterwards.",
        (edit(JOINED, 'joined, rest = b"", ids if isinstance(ids, list) else list(ids)\n'
              "    while rest:\n        joined += vocab[rest.pop(0)]"),),
        "Loop over ids, and leave the list as it is.",
    ),
)  # fmt: skip

EXERCISE = Exercise(
    name="bpe_decode",
    lesson="01",
    title="From ids to text",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="A token is a piece of bytes, and it may end in the middle of a character. At which "
        "moment do you have whole characters?",
        outline='Look every id up in vocab, join the byte strings with b"".join, and decode the '
        'whole once, as UTF-8, with errors="replace".',
    ),
    difficulty="easy",
    importance="Everything that a model writes goes through it, emoji and all.",
    minutes=8,
    setup="",
)
