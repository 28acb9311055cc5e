"""Lesson 01's second exercise: what passes, what fails, and what each failure is called."""

from __future__ import annotations

from llama_course.checks.bpe_decode import EXERCISE, JOINED, reads
from llama_course.checks.exercise import edit
from llama_course.checks.testing import ExerciseTests


def returns(expression: str, *before: str) -> str:
    """An answer in a few lines."""
    lines = ["def bpe_decode(ids, vocab):", *(f"    {line}" for line in before)]
    return "\n".join([*lines, f"    return {expression}"])


class TestBpeDecode(ExerciseTests):
    exercise = EXERCISE
    right = (
        # a loop that appends
        returns(
            'data.decode(errors="replace")',
            'data = b""',
            "for i in ids:",
            "    data = data + vocab[i]",
        ),
        # a bytearray, str() with three arguments
        returns(
            'str(data, "utf8", "replace")',
            "data = bytearray()",
            "for i in ids:",
            "    data.extend(vocab[i])",
        ),
        # an incremental decoder, token by token, told when it ends
        "import codecs\n\n\n"
        + returns(
            '"".join(parts) + decoder.decode(b"", final=True)',
            'decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")',
            "parts = [decoder.decode(vocab[i]) for i in ids]",
        ),
        # all bytes as one list of numbers; a helper; other names
        "def spelled(tokens, table):\n"
        "    return [byte for token in tokens for byte in table[token]]\n"
        "def bpe_decode(tokens, table, *, errors='replace'):\n"
        "    return bytes(spelled(tokens, table)).decode('UTF-8', errors)",
        # a stream of text over the bytes
        "import io\n\n\n"
        + returns(
            'io.TextIOWrapper(data, encoding="utf-8", errors="replace", newline="").read()',
            'data = io.BytesIO(b"".join(map(vocab.__getitem__, ids)))',
        ),
        # recursion that hands the bytes on
        "def bpe_decode(ids, vocab, done=b''):\n"
        "    if not ids:\n        return done.decode('utf-8', 'replace')\n"
        "    return bpe_decode(ids[1:], vocab, done + vocab[ids[0]])",
    )
    wrong = (
        edit(JOINED, 'joined = b"".join(vocab[i] for i in reversed(ids))'),
        edit(JOINED, 'joined = b"".join(vocab[i] for i in sorted(ids))'),
        edit(JOINED, 'joined = b"".join(vocab[i] for i in dict.fromkeys(ids))'),
        edit(JOINED, 'joined = b"".join(vocab[i] for i in ids[1:])'),
        edit(JOINED, 'joined = b"".join(vocab[i] for i in ids[:-1])'),
        edit(JOINED, 'joined = b"".join(vocab[i] for i in ids if i)'),
        edit(JOINED, 'joined = b"".join(vocab[i] for i in ids if i < 256)'),
        edit(JOINED, 'joined = b"".join(vocab[i][:1] for i in ids)'),
        edit(JOINED, 'joined = b"\\n".join(vocab[i] for i in ids)'),
        edit(JOINED, 'joined = b"".join(vocab[i].strip() for i in ids)'),
        edit(JOINED, 'joined = b"".join(bytes([i]) for i in ids)'),
        edit(JOINED, "joined = bytes(ids)"),
        edit(JOINED, 'joined = b"".join(vocab.get(i + 1, b"") for i in ids)'),
        reads('joined.decode("utf-16", errors="replace")'),
        reads('joined.decode("cp1252", errors="replace")'),
        reads('joined.decode("utf-8", errors="namereplace")'),
        reads('joined.decode("utf-7", errors="replace")'),
        reads('joined.decode("utf-8", errors="replace").lower()'),
        reads('joined.decode("utf-8", errors="replace").title()'),
        reads('joined.decode("utf-8", errors="replace").replace("\\x00", "")'),
        reads('joined.decode("utf-8", errors="replace").replace("\\r\\n", "\\n")'),
        reads('joined.decode("utf-8", errors="replace").expandtabs()'),
        reads('" ".join(joined.decode("utf-8", errors="replace").split())'),
        reads('"".join(c for c in joined.decode("utf-8", errors="replace") if c.isprintable())'),
        reads('joined.decode("utf-8", errors="replace") + "\\n"'),
        reads('" " + joined.decode("utf-8", errors="replace")'),
        reads('joined.decode("utf-8", errors="replace")[:20]'),
        reads('joined.decode("utf-8", errors="replace").encode()'),
        reads('list(joined.decode("utf-8", errors="replace"))'),
        reads('joined.decode("utf-8", errors="surrogatepass")'),
        reads('print(joined.decode("utf-8", errors="replace"))'),
        reads("joined.hex()"),
        "import unicodedata\n\n\n"
        + returns(
            'unicodedata.normalize("NFKC", data.decode("utf-8", "replace"))',
            'data = b"".join(vocab[i] for i in ids)',
        ),
        "import io\n\n\n"
        + returns(
            'io.TextIOWrapper(data, encoding="utf-8", errors="replace").read()',
            'data = io.BytesIO(b"".join(vocab[i] for i in ids))',
        ),
        returns('""'),
        returns('"".join(vocab)'),
        returns("ids"),
        returns("None"),
        reads('joined.decode("utf-8", errors="replace").rstrip("\\n")'),
        reads('joined.decode("utf-8", errors="replace").replace("\\ufffd\\ufffd", "\\ufffd")'),
        reads('joined.decode("utf-8", errors="replace").casefold()'),
        reads('repr(joined.decode("utf-8", errors="replace"))[1:-1]'),
        "import html\n\n\n"
        + returns('html.unescape(b"".join(vocab[i] for i in ids).decode("utf-8", "replace"))'),
        returns("vocab[ids[0]].decode()"),
    )
