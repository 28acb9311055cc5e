"""`llama-course update` and `reset`: a new release comes into the learner's folder, and nothing
that the learner wrote is lost."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from llama_course.errors import CourseError, nearest
from llama_course.files import written_beside
from llama_course.workbook.cells import read_notebook, words
from llama_course.workbook.home import home as learners_home
from llama_course.workbook.home import prepare, repository
from llama_course.workbook.merge import merge, same_release, untouched


@dataclass(frozen=True)
class Updated:
    """What happened to one file: `new`, `same`, `updated` or `left`, and a sentence."""

    path: Path
    state: str
    words: str
    kept_old: Path | None = None  # the learner's file as it was


def pairs(home: Path, root: Path) -> list[tuple[Path, Path]]:
    """Each released notebook, and the learner's copy of it."""
    found = []
    for source, folder in ((root / "notebooks", home), (root / "exercises", home / "exercises")):
        found += [(path, folder / path.name) for path in sorted(source.glob("*.ipynb"))]
    return found


def update(home: Path | None = None, root: Path | None = None) -> list[Updated]:
    """Bring the release in `root` into the learner's folder; return what happened to each file.

    A file is written all or nothing. If the learner had changed it, what it was before stays beside
    it, such as `05_rope.before-update-1.ipynb`. A file that cannot be read as a notebook is
    left as it is.
    """
    home, root = Path(home or learners_home()), Path(root or repository())
    fresh = set(prepare(home, root))
    results = []
    for release, mine in pairs(home, root):
        if mine in fresh:
            results.append(Updated(mine, "new", "new"))
            continue
        try:
            results.append(update_one(release, mine))
        except CourseError as error:
            name = release.stem.split("_")[0]
            results.append(
                Updated(
                    mine,
                    "left",
                    f"{error} It is left as it is; 'llama-course reset {name}' gives a fresh copy "
                    "and keeps this one beside it.",
                )
            )
    return results


def update_one(release: Path, mine: Path) -> Updated:
    """Update one notebook."""
    old = read_notebook(mine)
    new = read_notebook(release)
    if same_release(old, new):
        return Updated(mine, "same", "up to date")
    merged = merge(old, new)
    text = words(merged.notebook)
    kept = None if untouched(old) else keep(mine, "update")
    with written_beside(mine) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")
    if kept is None:
        return Updated(mine, "updated", "updated; you had changed nothing in it")
    return Updated(mine, "updated", f"{merged.words()}; the old file is {kept.name}", kept)


def reset(lesson: str, home: Path | None = None, root: Path | None = None) -> list[Updated]:
    """Fresh copies of a lesson's notebook and exercise; the learner's stay beside them.

    Raises `CourseError` where the release has no such lesson.
    """
    home, root = Path(home or learners_home()), Path(root or repository())
    key = lesson.strip().lower()
    key = key.zfill(2) if key.isdigit() else key
    known = pairs(home, root)
    found = [(r, m) for r, m in known if key in (r.stem.lower(), r.stem.split("_")[0].lower())]
    if not found:
        numbers = sorted({release.stem.split("_")[0] for release, _ in known})
        words_ = nearest(lesson, numbers) if numbers else f"there is no notebook in {root}."
        raise CourseError(f"There is no lesson {lesson!r}; {words_}")
    results = []
    for release, mine in found:
        fresh = release.read_bytes()
        if mine.is_file() and mine.read_bytes() == fresh:
            results.append(Updated(mine, "same", "it is as it was released"))
            continue
        kept = keep(mine, "reset") if mine.is_file() else None
        with written_beside(mine) as beside:
            beside.write_bytes(fresh)
        told = f"fresh; the old file is {kept.name}" if kept else "fresh"
        results.append(Updated(mine, "updated", told, kept))
    return results


def keep(path: Path, why: str) -> Path:
    """Copy a file beside itself, as `NAME.before-WHY-1.ipynb` with the first free number."""
    number = 1
    while True:
        target = path.with_name(f"{path.stem}.before-{why}-{number}{path.suffix}")
        if not target.exists():
            break
        number += 1
    with written_beside(target) as beside:
        shutil.copyfile(path, beside)
    return target


def report(results: list[Updated], home: Path | None = None) -> int:
    """The commands' words: one line a file; 1 where a file could not be read."""
    home = Path(home or learners_home())
    for result in results:
        if result.state != "same":
            print(f"{result.path.relative_to(home).as_posix()}: {result.words}")
    same = sum(result.state == "same" for result in results)
    if same:
        print(f"{same} up to date.")
    if any(result.state == "updated" for result in results):
        print("Reload a notebook that is open in JupyterLab: File, Reload Notebook from Disk.")
    return int(any(result.state == "left" for result in results))
