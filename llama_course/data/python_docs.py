"""Real English that every Python has: its help topics and the docstrings of its library."""

from __future__ import annotations

import ast
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

LEFT_OUT = {"test", "tests", "idlelib", "site-packages", "dist-packages", "__pycache__"}
DEFINITIONS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def python_docs(library: Path | None = None) -> str:
    """The help topics of Python, then the docstrings of the standard library, module by module.

    About 2 MB of technical English, offline. Modules are read with `ast` and never imported, in
    the order of their names; of equal docstrings the first is kept, and trailing spaces are
    dropped; nothing else is cleaned. The text differs between Python versions and builds, so no
    compared output may depend on it. `library` is the folder to read, by default this Python's.
    """
    library = library or Path(sysconfig.get_paths()["stdlib"])
    seen: set[str] = set()
    kept: list[str] = []
    for text in (*_topics(library), *_docstrings(library)):
        text = "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")
        if text and text not in seen:
            seen.add(text)
            kept.append(text)
    return "\n\n".join(kept) + "\n" if kept else ""


def _topics(library: Path) -> Iterator[str]:
    """The texts of `pydoc_data.topics`, which is one dictionary of strings."""
    path = library / "pydoc_data" / "topics.py"
    for node in _parsed(path).body if path.is_file() else ():
        value = getattr(node, "value", None)
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(value, ast.Dict):
            topics = ast.literal_eval(value)
            yield from (str(topics[name]) for name in sorted(topics))


def _docstrings(library: Path) -> Iterator[str]:
    for path in _modules(library):
        for node in ast.walk(_parsed(path)):
            text = ast.get_docstring(node) if isinstance(node, DEFINITIONS) else None
            # A docstring may show half a surrogate pair, which is no text that can be written.
            if text and not any("\ud800" <= c <= "\udfff" for c in text):
                yield text


def _modules(library: Path) -> Iterator[Path]:
    """The source files of the standard library, without its tests and what was installed."""
    for name in sorted(sys.stdlib_module_names - LEFT_OUT):
        single = library / f"{name}.py"
        if single.is_file():
            yield single
        inside = [p for p in (library / name).rglob("*.py") if _belongs(p.relative_to(library))]
        yield from sorted(inside)


def _belongs(path: Path) -> bool:
    return not LEFT_OUT.intersection(path.parts) and not path.name.startswith("test_")


def _parsed(path: Path) -> ast.Module:
    """The syntax tree of a file; an empty one where Python itself could not read the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in old docstrings
        try:
            return ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            return ast.Module(body=[], type_ignores=[])
