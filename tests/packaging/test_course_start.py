"""course.py from outside: its help, wrong Pythons, --here, and what it hands over."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = (ROOT / "course.py").read_text(encoding="utf-8")

# Says how it was called, and ends with the code it was asked for.
STAND_IN = """
import sys
def main():
    print("called with", sys.argv[1:])
    sys.exit(int(sys.argv[-1]) if sys.argv[-1].isdigit() else 0)
if __name__ == "__main__":
    main()
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A small repository with a real course.py and a stand-in for the course."""
    shutil.copy(ROOT / "course.py", tmp_path)
    (tmp_path / "llama_course").mkdir()
    (tmp_path / "llama_course" / "__init__.py").touch()
    (tmp_path / "llama_course" / "cli.py").write_text(STAND_IN, encoding="utf-8")
    write_project(tmp_path, ["torch>=2.11", "numpy"])
    return tmp_path


def write_project(repo: Path, dependencies: list[str]) -> None:
    text = f'[project]\nname = "llama_course"\ndependencies = {dependencies}\n'
    (repo / "pyproject.toml").write_text(text, encoding="utf-8")
    (repo / "constraints.txt").write_text("", encoding="utf-8")


def start(repo: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(repo / "course.py"), *arguments],
        capture_output=True,
        text=True,
        cwd=repo,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_the_manual(repo: Path, flag: str) -> None:
    done = start(repo, flag)
    assert done.returncode == 0
    assert done.stdout.strip() == (ast.get_docstring(ast.parse(SOURCE), clean=False) or "").strip()
    for word in ("--no-browser", "test --quick", "--here", "demo", "doctor", ".venv"):
        assert word in done.stdout
    assert not (repo / ".venv").exists()


def test_old_pythons_can_read_the_file() -> None:
    ast.parse(SOURCE, feature_version=(3, 6))


def test_only_the_standard_library_is_imported() -> None:
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.Import):
            assert all(a.name.split(".")[0] in sys.stdlib_module_names for a in node.names)
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] in sys.stdlib_module_names


def test_nothing_is_imported_before_the_python_is_known() -> None:
    body = ast.parse(SOURCE).body
    check = next(i for i, node in enumerate(body) if isinstance(node, ast.If))
    imported = [node for node in body[:check] if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [alias.name for node in imported for alias in node.names] == ["sys"]


def test_a_present_environment_is_used_as_it_is(repo: Path) -> None:
    done = start(repo, "--here", "demo", "--seconds", "7")
    assert (done.returncode, done.stderr) == (7, "")
    assert done.stdout.strip() == "called with ['demo', '--seconds', '7']"
    assert not (repo / ".venv").exists()


@pytest.mark.parametrize(
    ("arguments", "called"),
    [
        ([], "['lab']"),
        (["--no-browser"], "['lab', '--no-browser']"),
        (["test", "--quick"], "['test', '--quick']"),
    ],
)
def test_without_a_command_the_lab_opens(repo: Path, arguments: list[str], called: str) -> None:
    assert start(repo, *arguments, "--here").stdout.strip() == f"called with {called}"


def test_the_folder_s_own_package_is_the_one_that_runs(repo: Path, tmp_path: Path) -> None:
    done = start(repo, "--here", "x", PYTHONPATH=str(ROOT))
    assert done.stdout.startswith("called with"), done.stderr


def test_a_missing_package_is_named_in_one_sentence(repo: Path) -> None:
    write_project(repo, ["numpy", "no-such-package-here>=2"])
    done = start(repo, "--here", "doctor")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "lacks no-such-package-here>=2" in done.stderr


def test_an_old_torch_is_told(repo: Path) -> None:
    write_project(repo, ["torch>=99.1"])
    done = start(repo, "--here", "doctor")
    assert done.returncode == 2
    assert "and the course needs 99.1 or newer" in done.stderr
    assert len(done.stderr.splitlines()) == 1
