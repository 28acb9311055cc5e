"""course.py's environment: noticed when broken, mended, shared by two starts, stamped last.

A stand-in for pip lies in each test's environment, so nothing is fetched and each test is quick.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

FAKE_PIP = r'''
"""Does what course.py needs of pip: resolves from a list, and "installs" by making folders."""
import json, pathlib, sys, time
root = pathlib.Path({root!r})
with (root / "pip-calls.txt").open("a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\n")
if (root / "pip-fails.txt").exists():
    print("Collecting alpha")
    print("ERROR: " + (root / "pip-fails.txt").read_text())
    sys.exit(1)
site = pathlib.Path(__file__).parents[1]
project = sys.argv[sys.argv.index("-e") + 1]
names = ["alpha", "llama_course"] + (["delta"] if "dev" in project else [])
names = [n for n in names if not (site / (n + "-1.0.dist-info")).exists()]
for name in names:
    print("Collecting " + name, flush=True)
if "--dry-run" in sys.argv:
    url = (root / "archive.whl").as_uri()
    local = {{"llama_course": {{"dir_info": {{}}}}}}
    report = [{{"metadata": {{"name": n, "version": "1.0"}},
               "download_info": {{"url": url, **local.get(n, {{}})}}}}
              for n in names]
    path = pathlib.Path(sys.argv[sys.argv.index("--report") + 1])
    path.write_text(json.dumps({{"install": report}}))
else:
    for name in names:
        time.sleep(0.05)
        (site / name).mkdir(exist_ok=True)
        (site / name / "__init__.py").touch()
        info = site / (name + "-1.0.dist-info")
        info.mkdir()
        (info / "RECORD").write_text(name + "/__init__.py,,\n")
    script = {script!r}
    pathlib.Path(script).write_text("#!" + sys.executable + "\nimport sys; sys.exit(5)\n")
    pathlib.Path(script).chmod(0o755)
'''


@pytest.fixture(scope="module")
def course() -> ModuleType:
    spec = importlib.util.spec_from_file_location("course", ROOT / "course.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def environment(course: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An environment in a small repository; `create` makes one with the stand-in for pip."""
    project = '[project]\nname = "llama_course"\ndependencies = ["alpha>=1"]\n'
    project += '[project.optional-dependencies]\ndev = ["delta"]\npeers = []\n'
    (tmp_path / "pyproject.toml").write_text(project, encoding="utf-8")
    (tmp_path / "constraints.txt").write_text("alpha==1.0\n", encoding="utf-8")
    (tmp_path / "archive.whl").write_bytes(bytes(3_000_000))
    made = course.Environment(tmp_path)

    def create() -> None:
        made.clear()
        made.folder.mkdir()
        made.mark.write_text("ours", encoding="utf-8")
        command = [sys.executable, "-m", "venv", "--without-pip", str(made.folder)]
        subprocess.run(command, check=True)
        pip = made.site_packages() / "pip"
        pip.mkdir()
        text = FAKE_PIP.format(root=str(tmp_path), script=str(made.script("llama-course")))
        (pip / "__main__.py").write_text(text, encoding="utf-8")

    monkeypatch.setattr(made, "create", create)
    return made


@pytest.fixture
def ready(environment: Any, capsys: pytest.CaptureFixture[str]) -> Any:
    environment.ensure(set())
    assert environment.state(set()) == ("ready", "")
    capsys.readouterr()
    return environment


def pip_calls(environment: Any) -> int:
    return len((environment.root / "pip-calls.txt").read_text().splitlines())


def test_the_first_start_says_the_size_first(
    environment: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert environment.state(set()) == ("absent", "")
    environment.ensure(set())
    said = capsys.readouterr().out.splitlines()
    # The project itself is not downloaded; the one archive has 3,000,000 bytes.
    size = next(i for i, line in enumerate(said) if line.startswith("Download: at most 3 MB in 1"))
    installed = next(i for i, line in enumerate(said) if line.startswith("["))
    assert size < installed
    assert environment.state(set()) == ("ready", "")
    assert "Collecting alpha" in environment.log.read_text(encoding="utf-8")


def test_a_second_start_installs_nothing(ready: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = pip_calls(ready)
    ready.ensure(set())
    assert pip_calls(ready) == before
    assert capsys.readouterr().out == ""


def remove_python(environment: Any) -> None:
    environment.python.unlink()


def break_python(environment: Any) -> None:
    environment.python.unlink()
    environment.python.write_text("not a program", encoding="utf-8")


def other_python(environment: Any) -> None:
    change_stamp(environment, python="3.11.0-gone")


def other_place(environment: Any) -> None:
    change_stamp(environment, root="/somewhere/else")


def change_stamp(environment: Any, **changes: str) -> None:
    stamp = json.loads(environment.stamp.read_text(encoding="utf-8"))
    environment.stamp.write_text(json.dumps({**stamp, **changes}), encoding="utf-8")


def remove_everything_installed(environment: Any) -> None:
    shutil.rmtree(environment.site_packages())


def remove_one_package(environment: Any) -> None:
    for path in environment.site_packages().glob("alpha*"):
        shutil.rmtree(path)


def remove_one_file(environment: Any) -> None:
    (environment.site_packages() / "alpha" / "__init__.py").unlink()


def remove_the_record(environment: Any) -> None:
    (environment.site_packages() / "alpha-1.0.dist-info" / "RECORD").unlink()


def remove_the_stamp(environment: Any) -> None:
    environment.stamp.unlink()


def cut_the_stamp(environment: Any) -> None:
    environment.stamp.write_text(environment.stamp.read_text()[:20])


def remove_the_command(environment: Any) -> None:
    environment.script("llama-course").unlink()


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (remove_python, "its Python does not run"),
        (break_python, "its Python does not run"),
        (other_python, "its Python was 3.11.0-gone"),
        (other_place, "moved or copied"),
        (remove_everything_installed, "alpha is missing"),
        (remove_one_package, "alpha is missing"),
        (remove_one_file, "alpha lacks alpha/__init__.py"),
        (remove_the_record, "alpha lacks its RECORD"),
        (remove_the_stamp, "did not end"),
        (cut_the_stamp, "did not end"),
        (remove_the_command, "llama-course is missing"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_damage_is_noticed_said_and_mended(
    ready: Any, damage: Any, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(ready)
    state, words = ready.state(set())
    assert state == "broken"
    assert why in words
    ready.ensure(set())
    assert f"is not whole ({words})" in capsys.readouterr().out
    assert ready.state(set()) == ("ready", "")


def test_extras_are_added_to_what_is_there(ready: Any) -> None:
    assert ready.state({"dev", "peers"}) == ("add", "")
    kept = ready.site_packages() / "kept.txt"
    kept.touch()
    ready.ensure({"dev", "peers"})
    assert kept.exists()
    assert (ready.site_packages() / "delta").is_dir()
    # And a later plain start does not take them away again.
    ready.ensure(set())
    assert ready.installed_extras() == {"dev", "peers"}


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_changed_lists_update_in_place(
    ready: Any, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ready.ensure({"dev", "peers"})
    kept = ready.site_packages() / "kept.txt"
    kept.touch()
    with (ready.root / name).open("a", encoding="utf-8") as file:
        file.write("# a comment\n")
    assert ready.state(set()) == ("update", "")
    ready.ensure(set())
    assert "up to date" in capsys.readouterr().out
    assert kept.exists()
    assert ready.installed_extras() == {"dev", "peers"}
    assert ready.state({"dev"}) == ("ready", "")


def test_line_ends_are_no_change(ready: Any) -> None:
    path = ready.root / "constraints.txt"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert ready.state(set()) == ("ready", "")


def test_a_failed_installation_is_one_sentence_and_leaves_no_stamp(
    course: ModuleType, ready: Any
) -> None:
    fails = ready.root / "pip-fails.txt"
    fails.write_text("Could not find a version of omega")
    with pytest.raises(course.Trouble) as trouble:
        ready.ensure({"dev"})
    assert str(trouble.value).count("\n") == 0
    assert "Could not find a version of omega" in str(trouble.value)
    assert str(ready.log) in str(trouble.value)
    assert ready.state(set()) == ("broken", "its installation did not end")
    fails.unlink()
    ready.ensure(set())
    assert ready.state(set()) == ("ready", "")


def test_a_folder_of_the_user_is_kept(environment: Any, capsys: pytest.CaptureFixture[str]) -> None:
    environment.folder.mkdir()
    (environment.folder / "mine.txt").write_text("precious", encoding="utf-8")
    environment.ensure(set())
    aside = environment.root / ".venv.not-ours"
    assert (aside / "mine.txt").read_text(encoding="utf-8") == "precious"
    assert aside.name in capsys.readouterr().out
    assert environment.state(set()) == ("ready", "")


def test_an_old_environment_is_deleted_in_the_end(ready: Any) -> None:
    # One that was cut off while it was deleted lies there too.
    (ready.root / ".venv.trash" / "lib").mkdir(parents=True)
    ready.stamp.unlink()
    ready.ensure(set())
    assert ready.removal is not None
    ready.removal.wait(timeout=30)
    assert [path.name for path in ready.root.glob(".venv*") if path.is_dir()] == [".venv"]


def test_a_full_disk_is_one_sentence(
    course: ModuleType, environment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(course.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 10**6))
    with pytest.raises(course.Trouble, match=r"not enough disk space .* 1 MB are free"):
        environment.ensure(set())


def test_the_running_environment_is_not_deleted(
    course: ModuleType, ready: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(ready.folder))
    ready.stamp.unlink()
    with pytest.raises(course.Trouble, match="this Python runs in it"):
        ready.ensure(set())
    assert ready.python.exists()


def test_a_python_without_ensurepip_is_told(
    course: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(course.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(course.Trouble, match="sudo apt install"):
        course.Environment(tmp_path).create()


def test_two_starts_do_not_meet(
    course: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = (
        "import importlib.util, sys, time\n"
        f"spec = importlib.util.spec_from_file_location('course', {str(ROOT / 'course.py')!r})\n"
        "course = importlib.util.module_from_spec(spec); spec.loader.exec_module(course)\n"
        f"from pathlib import Path\n"
        f"with course.only_one(Path({str(tmp_path / 'lock')!r})):\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "held"
        with (tmp_path / "lock").open("a+") as other:
            assert not course.try_lock(other)
        # A killed holder leaves its file behind, and nobody waits for it.
        holder.kill()
        holder.wait()
        begin = time.monotonic()
        with course.only_one(tmp_path / "lock"):
            assert time.monotonic() - begin < 5
            assert (tmp_path / "lock").read_text() == str(os.getpid())
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


@pytest.mark.skipif(os.name == "nt", reason="a console script is an .exe there, not a text")
def test_the_exit_code_is_the_command_s(ready: Any) -> None:
    shutil.copy(ROOT / "course.py", ready.root)
    done = subprocess.run(
        [sys.executable, str(ready.root / "course.py"), "anything"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (5, "", "")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_ctrl_c_during_the_installation_prints_no_traceback(ready: Any) -> None:
    shutil.copy(ROOT / "course.py", ready.root)
    main = ready.site_packages() / "pip" / "__main__.py"
    main.write_text("import time\nprint('Collecting', flush=True)\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, str(ready.root / "course.py"), "test"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.strip() == "Stopped. Start again to go on."


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("... NewConnectionError('... Name or service not known", "network does not answer"),
        ("ERROR: ... [Errno 28] No space left on device", "no room left on the disk"),
        ("SSLError(... CERTIFICATE_VERIFY_FAILED", "certificate is not trusted"),
        ("ERROR: No matching distribution found for torch==2.13.0", "There is no torch for Python"),
        ("ERROR: something else.", "(something else)"),
        ("", "pip could not install"),
    ],
)
def test_what_pip_says_becomes_a_sentence(
    course: ModuleType, tmp_path: Path, output: str, words: str
) -> None:
    sentence = course.pip_trouble(output, tmp_path / "log")
    assert words in sentence
    assert str(tmp_path / "log") in sentence
    assert "\n" not in sentence


def test_sizes_that_nobody_knows_are_not_guessed(
    course: ModuleType,
    environment: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pip = course.Pip(environment, io.StringIO())
    answers = {"https://a/x.whl": (200, 5_000_000), "https://a/y.whl": (403, 99)}
    monkeypatch.setattr(pip, "ask", lambda urls: [answers[url] for url in urls])
    local = tmp_path / "with space.whl"
    local.write_bytes(bytes(2_000_000))
    sizes = pip.sizes([*answers, local.as_uri()])
    assert sizes == [5_000_000, None, 2_000_000]
    archives = [{"metadata": {"name": n}} for n in ("x", "y", "z")]
    environment.announce(archives, sizes)
    assert "at least 7 MB in 3 packages" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("system", "gpu", "in_reach", "asked"),
    [
        ("linux", False, True, True),
        ("linux", False, False, False),
        ("linux", True, True, False),
        ("win32", False, True, False),
        ("darwin", False, True, False),
    ],
)
def test_the_cpu_build_is_for_linux_without_a_gpu(
    course: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    system: str,
    gpu: bool,
    in_reach: bool,
    asked: bool,
) -> None:
    class Pip:
        def answers(self, url: str) -> bool:
            return in_reach

    monkeypatch.setattr(course, "nvidia_gpu", lambda: gpu)
    monkeypatch.setattr(course.sys, "platform", system)
    expected = ["--extra-index-url", course.CPU_BUILDS] if asked else []
    assert course.cpu_builds(Pip()) == expected


def test_a_cuda_build_without_a_gpu_is_said(
    course: ModuleType,
    environment: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(course, "nvidia_gpu", lambda: False)
    monkeypatch.setattr(course.sys, "platform", "linux")
    environment.announce([{"metadata": {"name": "nvidia-cublas"}}], [1])
    assert "CUDA" in capsys.readouterr().out
    environment.announce([{"metadata": {"name": "torch"}}], [1])
    assert "CUDA" not in capsys.readouterr().out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_on_a_terminal(course: ModuleType) -> None:
    out = Terminal()
    with course.Progress(out) as show:
        show("[1/2] a")
        show.at = 0.0
        show("[2/2] b")
    assert "\n" not in out.getvalue()
    assert out.getvalue().count("\r") == 4  # two lines, and the wiping of the last


def test_progress_is_plain_and_rare_elsewhere(course: ModuleType) -> None:
    out = io.StringIO()
    with course.Progress(out, every=1000.0) as show:
        show.at = -1e9
        for i in range(50):
            show(f"[{i}/50]")
    assert out.getvalue() == "[0/50]\n"


def test_wrong_pythons_get_one_sentence(course: ModuleType) -> None:
    old = course.python_trouble((3, 10, 2), "/usr/bin/python")
    assert "needs Python 3.11" in old and "3.10" in old and "/usr/bin/python" in old
    assert "32-bit" in course.python_trouble((3, 12, 0), "python", max_size=2**31 - 1)
    assert course.python_trouble((3, 11, 0), "python", max_size=2**63 - 1) is None
    assert course.python_trouble((3, 15, 0), "python", max_size=2**63 - 1) is None


def test_names_versions_and_sizes(course: ModuleType) -> None:
    assert course.package_name("Huggingface_Hub>=0.25") == "huggingface-hub"
    assert course.package_name("nbgrader") == "nbgrader"
    assert course.numbers("2.13.0+cpu") == (2, 13, 0)
    assert course.numbers("2.9.1") < course.numbers("2.11")
    assert course.human(305_400_000) == "305 MB"
    assert course.human(2_640_000_000) == "2.6 GB"
    assert course.human(1) == "1 MB"
