"""Parts that every `tokenizer.json` has, whichever tokenizer it describes."""

from __future__ import annotations

from typing import Any


def added_token(text: str, token: int) -> dict[str, Any]:
    """A special token, taken exactly as written."""
    return {
        "id": token,
        "content": text,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }


def begin_template(bos: str, token: int) -> dict[str, Any]:
    """The post-processor that puts the begin token before a text, and before each of two."""
    first, second = ({"SpecialToken": {"id": bos, "type_id": i}} for i in (0, 1))
    a, b = ({"Sequence": {"id": name, "type_id": i}} for i, name in enumerate("AB"))
    return {
        "type": "TemplateProcessing",
        "single": [first, a],
        "pair": [first, a, second, b],
        "special_tokens": {bos: {"id": bos, "ids": [token], "tokens": [bos]}},
    }
