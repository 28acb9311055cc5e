"""The learner's own folder: copies of the notebooks, apart from the files that git tracks."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from llama_course.files import written_beside


def repository() -> Path:
    """The folder that holds the package, and with it `notebooks/` and `exercises/`."""
    return Path(__file__).resolve().parents[2]


def home() -> Path:
    """Where the learner works: `LLAMA_COURSE_HOME`, else `my_work/` in the repository.

    Without a repository around the package (a plain `pip install`), `my_work/` in the present
    folder. The folder need not exist yet.
    """
    given = os.environ.get("LLAMA_COURSE_HOME")
    if given:
        return Path(given).expanduser().absolute()
    repo = repository()
    return (repo if (repo / "course.py").is_file() else Path.cwd()) / "my_work"


def prepare(home: Path, repo: Path) -> list[Path]:
    """Copy what is not there yet of `notebooks/` and `exercises/` into `home`; return the copies.

    Notebooks go to `home` itself, exercises to `home/exercises`. A file that exists is the
    learner's and is never touched.
    """
    home.mkdir(parents=True, exist_ok=True)
    copied = []
    for source, folder in ((repo / "notebooks", home), (repo / "exercises", home / "exercises")):
        for notebook in sorted(source.glob("*.ipynb")):
            target = folder / notebook.name
            if target.exists():
                continue
            with written_beside(target) as beside:
                shutil.copyfile(notebook, beside)
            copied.append(target)
    return copied
