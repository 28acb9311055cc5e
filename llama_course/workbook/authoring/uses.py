"""What a notebook uses of the package: a hash that changes when it may have to run again."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from llama_course.workbook.cells import Notebook, long_hash

PACKAGE = "llama_course"
# A notebook names these in a call, not in an import.
NAMED = re.compile(r"\b(check|hint|quiz)\(\s*[\"'](\w+)[\"']")


def uses_hash(nb: Notebook, root: Path, extra: Iterable[str] = ()) -> str:
    """A hash of all files that the notebook's code uses."""
    root = Path(root)
    parts = []
    for path in files(code(nb), root, extra):
        data = path.read_bytes().replace(b"\r\n", b"\n") if is_text(path) else path.read_bytes()
        parts.append(f"{path.relative_to(root).as_posix()} {long_hash(data)}")
    return long_hash("\n".join(parts))


def code(nb: Notebook) -> str:
    """All code of a notebook."""
    return "\n".join(cell["source"] for cell in nb["cells"] if cell["cell_type"] == "code")


def files(source: str, root: Path, extra: Iterable[str] = ()) -> list[Path]:
    """Modules of the package that `source` imports, and theirs; data that they name; `extra`.

    `extra` are paths or patterns under `root`, such as `benchmarks/results/*.json`.
    """
    found: set[Path] = set()
    waiting = list(imported(source, root, PACKAGE))
    for kind, name in NAMED.findall(source):
        if kind == "quiz":
            quiz = root / PACKAGE / "workbook" / "quizzes" / f"{name}.json"
            found.update([quiz] if quiz.is_file() else [])
        else:
            waiting.append(f"{PACKAGE}.checks.{name}")
    while waiting:
        path = module_file(waiting.pop(), root)
        if path is None or path in found:
            continue
        found.add(path)
        text = path.read_text(encoding="utf-8")
        found.update(named_data(path, text))
        waiting.extend(imported(text, root, package_of(path, root)))
    for pattern in extra:
        found.update(path for path in root.glob(pattern) if path.is_file())
    return sorted(found)


def imported(source: str, root: Path, package: str) -> Iterator[str]:
    """The package's modules that `source` imports, in functions as well.

    A name that a package only passes on (`from llama_course.plots import loss_curve`) stands for
    the module that has it, so that a new figure beside it changes nothing for this source.
    """
    tree = ast.parse(without_magics(source))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith(f"{PACKAGE}."))
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node, package)
            if base.split(".")[0] != PACKAGE:
                continue
            homes = passed_on(base, root)
            if homes is None:
                yield base
            for alias in node.names:
                found = home_of(alias.name, base, root)
                if alias.name not in (homes or {}) and passed_on(found, root) is not None:
                    yield from used_of(alias.asname or alias.name, found, tree, root)
                else:
                    yield found


def used_of(local: str, package: str, tree: ast.AST, root: Path) -> Iterator[str]:
    """The modules behind `plots.this` and `plots.that`; all of them where `plots` stands alone."""
    names = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == local]
    uses = [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        if isinstance(node.value, ast.Name) and node.value.id == local
    ]
    if len(names) > len(uses):
        uses += list(passed_on(package, root) or {})
    yield from (home_of(name, package, root) for name in uses)


def home_of(name: str, package: str, root: Path) -> str:
    """The module that `from package import name` is about, through packages that pass it on."""
    target = (passed_on(package, root) or {}).get(name)
    if target is None:
        return f"{package}.{name}"
    return home_of(name, target, root) if name in (passed_on(target, root) or {}) else target


def absolute(node: ast.ImportFrom, package: str) -> str:
    """The module that a `from ... import` names, dots at its front resolved."""
    base = node.module or ""
    if not node.level:
        return base
    parents = package.split(".")
    return ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [base])])


def without_magics(source: str) -> str:
    """Lines that only IPython understands become empty ones."""
    return re.sub(r"^\s*[%!].*$", "", source, flags=re.MULTILINE)


def passed_on(package: str, root: Path) -> dict[str, str] | None:
    """Which module has each name that a package passes on; None if the package does more."""
    path = module_file(package, root)
    if path is None or path.name != "__init__.py":
        return None
    return _passed_on(path, path.stat().st_mtime_ns, package)


@functools.lru_cache(maxsize=256)
def _passed_on(path: Path, changed: int, package: str) -> dict[str, str] | None:
    homes: dict[str, str] = {}
    body = ast.parse(path.read_text(encoding="utf-8")).body
    for node in body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES":
            # The package's own front: names that are imported when they are asked for.
            found: dict[str, str] = ast.literal_eval(node.value)
            return {name: f"{package}.{home}" for name, home in found.items()}
    for node in body:
        if isinstance(node, ast.ImportFrom):
            base = absolute(node, package)
            homes |= {alias.asname or alias.name: base for alias in node.names}
        elif not (
            (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
            or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
            or isinstance(node, ast.Import)
        ):
            return None
    return homes


def module_file(name: str, root: Path) -> Path | None:
    """The file of a module, None for a name that is no module of the package."""
    path = root.joinpath(*name.split("."))
    if (path / "__init__.py").is_file():
        return path / "__init__.py"
    return path.with_suffix(".py") if path.with_suffix(".py").is_file() else None


def package_of(path: Path, root: Path) -> str:
    """The package that a module's relative imports start from."""
    return ".".join(path.parent.relative_to(root).parts)


def named_data(module: Path, text: str) -> Iterator[Path]:
    """Files beside a module, or in a folder beside it, whose name or folder the module says."""
    folder = module.parent
    for path in folder.iterdir():
        if path.name.startswith((".", "__")) or path.suffix in (".py", ".pyc"):
            continue
        if path.is_file():
            if path.name in text:
                yield path
        elif folder_is_named(path, text):
            yield from (p for p in path.rglob("*") if p.is_file() and p.suffix != ".pyc")


def folder_is_named(path: Path, text: str) -> bool:
    """Whether a folder of data is named in a module; quizzes are counted one by one elsewhere."""
    if path.name == "quizzes" or (path / "__init__.py").exists():
        return False
    return re.search(rf"[\"'/]{re.escape(path.name)}[\"'/]", text) is not None


def is_text(path: Path) -> bool:
    """Whether git may have changed the line ends of this file."""
    return path.suffix in (".py", ".json", ".txt", ".css", ".md", ".jsonl", ".csv")
