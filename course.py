"""Start the course: make its environment once, then open it.

    python course.py                     open the course in JupyterLab, in your folder my_work/
    python course.py --no-browser        the same, and print the address instead of opening it
    python course.py test                run every test and every notebook
    python course.py test --quick        the quick ones only
    python course.py demo                train a small model, save it, load it, let it write
    python course.py doctor              what this machine has, and which model sizes fit
    python course.py COMMAND --help      about one command

The first start makes the folder .venv beside this file and installs the course there. It says
first how much it downloads. Later starts reuse it; a broken one is noticed and made again. To be
rid of it all, delete .venv: nothing is written anywhere else. Your own work is in my_work/.

    python course.py --here COMMAND      use the Python that runs this, and install nothing

With --here you bring torch and the other packages yourself (from conda, or a CUDA build).
On Linux without an NVIDIA GPU the smaller CPU build of torch is installed.
Needs Python 3.11 or newer.
"""

import sys


def python_trouble(version, executable, max_size=sys.maxsize):  # type: ignore[no-untyped-def]
    """The sentence for a Python that cannot run the course, None for one that can."""
    if tuple(version[:2]) < (3, 11):
        return (
            "The course needs Python 3.11 or newer, and this is {}.{} ({}): start it with a newer "
            "one, for example 'python3.12 course.py', or get one from python.org."
        ).format(version[0], version[1], executable)
    if max_size < 2**32:
        return (
            "The course needs a 64-bit Python, and this is a 32-bit one ({}): "
            "get a 64-bit one from python.org."
        ).format(executable)
    return None


# Before any other import: an old Python must come this far. So there is nothing in this file that
# Python 3.6 cannot parse (no walrus, no `match`).
if python_trouble(sys.version_info, sys.executable):
    sys.exit(python_trouble(sys.version_info, sys.executable))

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import queue
import re
import shutil
import subprocess
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

ROOT = Path(__file__).resolve().parent
# Where the PyTorch project publishes builds without CUDA (see pytorch.org, "Start locally").
CPU_BUILDS = "https://download.pytorch.org/whl/cpu"
MB, GB = 10**6, 10**9


class Trouble(Exception):
    """Something the user can mend, said in one sentence."""


# ---- The command line ----------------------------------------------------------------------------


def main(arguments: list[str]) -> int:
    """Set up what `arguments` need, and hand over to the course's own command line."""
    if arguments[:1] in (["-h"], ["--help"], ["help"]):
        print(__doc__.strip())
        return 0
    here = "--here" in arguments
    arguments = [a for a in arguments if a != "--here"]
    if not arguments or arguments[0].startswith("-"):
        arguments = ["lab", *arguments]
    try:
        if here:
            check_here()
            hand_over([sys.executable, "-m", "llama_course.cli", *arguments], here_environment())
        extras = {"dev", "peers"} if arguments[0] == "test" else set()
        inside = Environment(ROOT)
        inside.ensure(extras)
        hand_over([str(inside.script("llama-course")), *arguments], inside.variables())
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"The course cannot be set up in {ROOT}: {error}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. Start again to go on.", file=sys.stderr)
        return 130


def hand_over(command: list[str], variables: dict[str, str]) -> NoReturn:
    """Become `command`; its exit code is ours, and so are its signals."""
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name != "nt":
        os.execve(command[0], command, variables)
    # Windows starts a second process for an exec and returns at once, so wait for it here.
    process = subprocess.Popen(command, env=variables)
    while True:
        try:
            sys.exit(process.wait())
        except KeyboardInterrupt:
            continue  # the child was told as well, and ends in its own way


# ---- The present environment (--here) ------------------------------------------------------------


def check_here() -> None:
    """Raise `Trouble` where the running Python lacks something the course cannot do without."""
    missing = [
        requirement
        for requirement in requirements(ROOT)
        if importlib.util.find_spec(package_name(requirement).replace("-", "_")) is None
    ]
    if missing:
        raise Trouble(
            f"{sys.executable} lacks {', '.join(missing)}: install what is missing there, or leave "
            "--here out so that the course makes its own environment."
        )
    needed = next(r for r in requirements(ROOT) if package_name(r) == "torch").split(">=")[1]
    found = importlib.metadata.version("torch")
    if numbers(found) < numbers(needed):
        raise Trouble(
            f"{sys.executable} has torch {found}, and the course needs {needed} or newer: upgrade "
            "it, or leave --here out so that the course makes its own environment."
        )


def here_environment() -> dict[str, str]:
    """The present variables, with this folder's package importable."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path}


def requirements(root: Path, extras: "set[str] | frozenset[str]" = frozenset()) -> list[str]:
    """What pyproject.toml asks for, such as "torch>=2.11"."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = list(project.get("dependencies", []))
    for extra in sorted(extras):
        found += project.get("optional-dependencies", {}).get(extra, [])
    return found


def package_name(requirement: str) -> str:
    """`"jupyter-lab>=4"` -> `"jupyter-lab"`, in lower case with hyphens."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement, maxsplit=1)[0]).lower()


def numbers(version: str) -> tuple[int, ...]:
    """`"2.13.0+cpu"` -> `(2, 13, 0)`; enough to compare releases."""
    return tuple(int(n) for n in re.findall(r"\d+", version.split("+")[0])[:3])


# ---- The course's own environment ----------------------------------------------------------------


class Environment:
    """The folder .venv: what state it is in, and how it gets into a good one.

    Two files of ours lie in it. `made-by-course.txt` is written first and says that the folder may
    be deleted; `course-stamp.json` is written last and says what was installed. A folder without
    the first is not ours and is moved aside, never deleted.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / ".venv"
        self.mark = self.folder / "made-by-course.txt"
        self.stamp = self.folder / "course-stamp.json"
        self.log = self.folder / "course-install.log"
        self.scripts = self.folder / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.script("python")
        self.removal: subprocess.Popen[bytes] | None = None

    def script(self, name: str) -> Path:
        return self.scripts / (name + ".exe" if os.name == "nt" else name)

    def variables(self) -> dict[str, str]:
        """The variables of a process inside, as activating it would set them."""
        env = {**os.environ, "VIRTUAL_ENV": str(self.folder)}
        env["PATH"] = os.pathsep.join([str(self.scripts), *filter(None, [env.get("PATH")])])
        # Other packages on these paths would hide the ones that were installed for the course.
        for name in ("PYTHONPATH", "PYTHONHOME"):
            env.pop(name, None)
        return env

    def ensure(self, extras: "set[str]") -> None:
        """Return when the environment is whole and has `extras`; make or mend it if need be."""
        if self.state(extras)[0] == "ready":
            return
        with only_one(self.root / ".venv.lock") as lock:
            # Another start may have done the work while this one waited.
            state, why = self.state(extras)
            if state == "ready":
                return
            if state == "broken":
                say(f"The environment {self.folder} is not whole ({why}); making it again.")
            if state == "update":
                say("The list of packages has changed; bringing the environment up to date.")
            if state == "add":
                say("Adding what the tests need.")
            if state in ("add", "update"):
                extras = extras | self.installed_extras()
            else:
                self.create()
            self.install(extras, lock)

    # -- what state it is in

    def state(self, extras: "set[str]") -> "tuple[str, str]":
        """ "ready", "absent", "add" (extras), "update" (versions) or "broken", and then how."""
        if not os.path.lexists(self.folder):
            return "absent", ""
        stamp = self.read_stamp()
        if stamp is None:
            return "broken", "its installation did not end"
        if stamp.get("root") != str(self.root):
            return "broken", "the folder was moved or copied"
        outdated = stamp.get("versions") != self.versions()
        why = self.broken(str(stamp.get("python")))
        # A package that is new in the list is not there yet, and nothing is broken by that.
        why = why or (None if outdated else self.missing())
        if why:
            return "broken", why
        if outdated:
            return "update", ""
        return ("ready" if extras <= self.installed_extras() else "add"), ""

    def read_stamp(self) -> "dict[str, Any] | None":
        try:
            stamp = json.loads(self.stamp.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return stamp if isinstance(stamp, dict) else None

    def installed_extras(self) -> "set[str]":
        return set((self.read_stamp() or {}).get("extras", []))

    def versions(self) -> str:
        """A fingerprint of what should be installed."""
        digest = hashlib.sha256()
        for name in ("pyproject.toml", "constraints.txt"):
            digest.update((self.root / name).read_bytes().replace(b"\r\n", b"\n"))
        return digest.hexdigest()

    def broken(self, python: str) -> "str | None":
        """What is wrong with the files, told without importing any package; None if nothing."""
        found = self.python_version()
        if found is None:
            return "its Python does not run"
        if found != python:
            return f"its Python was {python} and is {found} now"
        if not self.script("llama-course").is_file():
            return "the command llama-course is missing"
        for name, info in self.present().items():
            lost = lost_file(info)
            if lost:
                return f"{name} lacks {lost}"
        return None

    def missing(self) -> "str | None":
        """A package that should be there and is not."""
        present = self.present()
        for requirement in requirements(self.root, self.installed_extras()):
            if package_name(requirement) not in present:
                return f"{package_name(requirement)} is missing"
        return None

    def present(self) -> "dict[str, Path]":
        """The name of each installed package, and the folder with its description."""
        found = self.site_packages().glob("*.dist-info")
        return {package_name(path.name.split("-")[0]): path for path in found}

    def python_version(self) -> "str | None":
        """The version of the environment's Python, None if it does not run."""
        code = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
        try:
            done = subprocess.run(
                [str(self.python), "-I", "-S", "-c", code],
                capture_output=True,
                text=True,
                timeout=30,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    def site_packages(self) -> Path:
        if os.name == "nt":
            return self.folder / "Lib" / "site-packages"
        found = sorted(self.folder.glob("lib/python3*/site-packages"))
        return found[0] if found else self.folder / "lib"

    # -- how it gets into a good one

    def create(self) -> None:
        """A fresh environment that holds pip and nothing else."""
        if importlib.util.find_spec("ensurepip") is None:
            raise Trouble(
                "This Python cannot make environments because its part 'ensurepip' is not "
                "installed: on Debian and Ubuntu install it with 'sudo apt install "
                f"python3.{sys.version_info[1]}-venv', then start again."
            )
        self.clear()
        self.check_disk(0.2 * GB)
        say(f"Making the course's environment in {self.folder}")
        self.folder.mkdir()
        self.mark.write_text("course.py made this folder and may delete it.\n", encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "venv", str(self.folder)], capture_output=True, text=True
        )
        if done.returncode:
            self.log.write_text(done.stdout + done.stderr, encoding="utf-8")
            raise Trouble(
                f"Python could not make the environment {self.folder}; the reason is in {self.log}."
            )

    def clear(self) -> None:
        """Delete what we made there; move aside what we did not make."""
        if not os.path.lexists(self.folder):
            self.remove_trash()
            return
        if Path(sys.prefix).resolve() == self.folder.resolve():
            raise Trouble(
                f"The environment {self.folder} must be made again, and this Python runs in it: "
                "deactivate it and start course.py with another Python."
            )
        ours = self.mark.is_file() and not self.folder.is_symlink()
        aside = free_name(self.root / (".venv.trash" if ours else ".venv.not-ours"))
        try:
            self.folder.rename(aside)
        except OSError as error:
            raise Trouble(
                f"{self.folder} is in the way and cannot be removed ({error.strerror}): close the "
                "programs that use it, or delete it yourself, and start again."
            ) from None
        if not ours:
            say(f"There was a .venv that course.py did not make; it is kept as {aside.name}.")
        self.remove_trash()

    def remove_trash(self) -> None:
        """Delete old environments in a process of its own: tens of thousands of files take long."""
        trash = [str(path) for path in self.root.glob(".venv.trash*")]
        if trash:
            code = (
                "import shutil, sys; [shutil.rmtree(p, ignore_errors=True) for p in sys.argv[1:]]"
            )
            nothing = subprocess.DEVNULL
            self.removal = subprocess.Popen(
                [sys.executable, "-c", code, *trash],
                stdin=nothing,
                stdout=nothing,
                stderr=nothing,
                start_new_session=True,
            )

    def install(self, extras: "set[str]", lock: IO[str]) -> None:
        """Bring in what pyproject.toml and constraints.txt ask for, and stamp the result."""
        self.stamp.unlink(missing_ok=True)
        pip = Pip(self, lock)
        project = str(self.root) + (f"[{','.join(sorted(extras))}]" if extras else "")
        wanted = ["-e", project, "-c", str(self.root / "constraints.txt"), *cpu_builds(pip)]
        archives = pip.resolve(wanted)
        sizes = pip.sizes([a["download_info"]["url"] for a in archives])
        self.announce(archives, sizes)
        pip.install(wanted, archives, sum(filter(None, sizes)))
        stamp = {
            "root": str(self.root),
            "python": self.python_version(),
            "versions": self.versions(),
            "extras": sorted(extras),
        }
        beside = self.stamp.with_suffix(".part")
        beside.write_text(json.dumps(stamp, indent=1), encoding="utf-8")
        beside.replace(self.stamp)

    def announce(self, archives: list[Any], sizes: "list[int | None]") -> None:
        """Say what will be downloaded and what disk it takes; `Trouble` if there is not enough."""
        if not archives:
            return
        total = sum(filter(None, sizes))
        words = "at least" if None in sizes else "at most"
        say(
            f"Download: {words} {human(total)} in {len(archives)} packages (less what pip has kept "
            f"from earlier). On the disk: about {human(disk_needed(total))}."
        )
        # While a package is unpacked, its archive is there too.
        self.check_disk(disk_needed(total) + total)
        names = [package_name(a["metadata"]["name"]) for a in archives]
        if sys.platform == "linux" and not nvidia_gpu() and any("nvidia" in n for n in names):
            say(
                "The address of torch's CPU builds cannot be reached, so this is the build with "
                "CUDA, several GB larger; it works without a GPU as well."
            )

    def check_disk(self, needed: float) -> None:
        free = shutil.disk_usage(self.root).free
        if free < needed and self.removal is not None:
            self.removal.wait()
            free = shutil.disk_usage(self.root).free
        if free < needed:
            raise Trouble(
                f"There is not enough disk space at {self.root}: {human(needed)} are needed and "
                f"{human(free)} are free; make room and start again."
            )


def lost_file(info: Path) -> "str | None":
    """A module or native library that the package's own list names and that is not there."""
    try:
        listed = (info / "RECORD").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return "its RECORD"
    for line in listed.splitlines():
        path = line.rsplit(",", 2)[0].strip('"')
        # These are enough to notice a removed folder, and few enough to look at every time.
        telling = path.endswith(("__init__.py", ".so", ".pyd", ".dll", ".dylib", ".pth"))
        if telling and not os.path.exists(f"{info.parent}/{path}"):
            return path
    return None


def free_name(path: Path) -> Path:
    """`path`, or `path-1`, `path-2`, ...: the first that is not taken."""
    taken = (path.with_name(f"{path.name}-{i}") for i in range(1, 1000))
    return path if not os.path.lexists(path) else next(p for p in taken if not os.path.lexists(p))


def disk_needed(download: int) -> float:
    """The bytes on the disk after the installation, from the bytes of the archives.

    Measured with torch's CPU build: 305 MB of archives become 1.3 GB of modules and byte code.
    What comes on top with a CUDA build are native libraries, packed to about half.
    """
    return 4.3 * min(download, 400 * MB) + 2 * max(0, download - 400 * MB)


@contextlib.contextmanager
def only_one(path: Path) -> "Iterator[IO[str]]":
    """Hold the lock file `path`; wait, and say for whom, while another process holds it.

    The lock is the system's own, so it ends with the processes that hold it: none is ever stale.
    """
    with path.open("a+", encoding="utf-8") as lock:
        told = False
        while not try_lock(lock):
            if not told:
                lock.seek(0)
                who = lock.read().strip() or "unknown"
                say(f"Another start of course.py (process {who}) is setting up; waiting for it.")
                told = True
            time.sleep(0.5)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield lock


def try_lock(file: IO[str]) -> bool:
    """Lock the whole of `file` for this process and its children, if nobody else has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(1 << 20)  # far behind the text, which others may then still read
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


# ---- torch: with CUDA or without -----------------------------------------------------------------


def nvidia_gpu() -> bool:
    """Whether an NVIDIA driver is here, also under WSL."""
    signs = ("/proc/driver/nvidia/version", "/usr/lib/wsl/lib/nvidia-smi")
    return shutil.which("nvidia-smi") is not None or any(os.path.exists(s) for s in signs)


def cpu_builds(pip: "Pip") -> list[str]:
    """The option that lets pip see torch's CPU builds, where they are wanted and in reach.

    Only on Linux is the usual build one for CUDA. pip prefers 2.13.0+cpu to 2.13.0.
    """
    if sys.platform != "linux" or nvidia_gpu() or not pip.answers(CPU_BUILDS + "/torch/"):
        return []
    return ["--extra-index-url", CPU_BUILDS]


# ---- pip -----------------------------------------------------------------------------------------

# Runs inside the environment with the HTTP client that pip brings, so with pip's trust in
# certificates and the system's proxies. Prints one [status, bytes] for each address.
ASK = r"""
import concurrent.futures, json, os, subprocess, sys
from pip._vendor import requests
pip = [sys.executable, "-m", "pip", "config", "get", "global.cert"]
told = subprocess.run(pip, capture_output=True, text=True).stdout.strip()
cert = os.environ.get("PIP_CERT") or told
def ask(url):
    try:
        answer = requests.head(url, timeout=5, allow_redirects=True, verify=cert or True,
                               headers={"Accept-Encoding": "identity"})
        return answer.status_code, int(answer.headers.get("Content-Length") or 0)
    except Exception:
        return 0, 0
with concurrent.futures.ThreadPoolExecutor(16) as pool:
    print(json.dumps(list(pool.map(ask, json.load(sys.stdin)))))
"""


class Pip:
    """The environment's pip: what it would fetch, how large that is, and the installation."""

    def __init__(self, environment: Environment, lock: IO[str]) -> None:
        self.environment = environment
        self.lock = lock
        # Archives wait here while they are fetched: on the disk that was checked for room, and
        # where their growth can be watched.
        self.waiting = environment.folder / "tmp"

    def resolve(self, wanted: list[str]) -> list[Any]:
        """The archives that are missing, without installing any (pip's installation report)."""
        report = self.environment.folder / "course-report.json"
        count = 0

        def follow(line: str, show: Progress) -> None:
            nonlocal count
            count += line.startswith(("Collecting", "Requirement already"))
            show(f"Looking up what is needed: {count} packages")

        self.run([*wanted, "--dry-run", "--report", str(report)], follow)
        items = json.loads(report.read_text(encoding="utf-8"))["install"]
        report.unlink()
        return [i for i in items if "dir_info" not in i["download_info"]]

    def install(self, wanted: list[str], archives: list[Any], total: int) -> None:
        """Fetch and install, and show how far it is."""
        names = {package_name(a["metadata"]["name"]): a["metadata"]["name"] for a in archives}
        width = len(str(len(names)))
        before = self.environment.present()
        fetched: list[str] = []
        installed: list[str] = []
        done_bytes = 0

        def follow(line: str, show: Progress) -> None:
            nonlocal done_bytes
            if line.startswith(("Collecting", "Obtaining")):
                name = package_name(line.split()[1])
                if name in names and name not in fetched:
                    fetched.append(name)
            done_bytes = max(done_bytes, folder_bytes(self.waiting))
            new = self.environment.present().keys() - before.keys()
            installed.extend(n for n in names if n in new and n not in installed)
            if installed:
                count, doing, size = len(installed), f"installed {names[installed[-1]]}", ""
            elif fetched:
                count, doing = len(fetched), f"fetching {names[fetched[-1]]}"
                size = f" ({human(done_bytes)} of {human(total)})" if done_bytes else ""
            else:
                return
            show(f"[{count:{width}}/{len(names)}] {doing}{size}")

        self.run(wanted, follow)
        say(f"Installed {len(names)} packages.")

    def sizes(self, urls: list[str]) -> "list[int | None]":
        """The bytes of each archive, None where they cannot be found out."""
        found: dict[str, int] = {}
        for url in urls:
            if url.startswith("file:"):
                with contextlib.suppress(OSError):
                    found[url] = local_path(url).stat().st_size
        remote = [u for u in urls if not u.startswith("file:")]
        for url, (status, size) in zip(remote, self.ask(remote), strict=True):
            if status == 200 and size:
                found[url] = size
        return [found.get(url) for url in urls]

    def answers(self, url: str) -> bool:
        return self.ask([url])[0][0] == 200

    def ask(self, urls: list[str]) -> "list[tuple[int, int]]":
        """Status and bytes of each address; (0, 0) where there is no answer in a few seconds."""
        nothing = [(0, 0)] * len(urls)
        if not urls:
            return nothing
        try:
            done = subprocess.run(
                [str(self.environment.python), "-c", ASK],
                input=json.dumps(urls),
                capture_output=True,
                text=True,
                timeout=90,
                env=self.environment.variables(),
            )
            return [(a, b) for a, b in json.loads(done.stdout)]
        except (subprocess.TimeoutExpired, ValueError):
            return nothing

    def run(self, arguments: list[str], follow: "Callable[[str, Progress], None]") -> None:
        """`pip install` with `arguments`; `follow` is called with each line, and in between."""
        shutil.rmtree(self.waiting, ignore_errors=True)
        self.waiting.mkdir()
        variables = self.environment.variables()
        # PIP_USER=1 in someone's settings makes pip refuse to install into an environment.
        variables.update(TMPDIR=str(self.waiting), TEMP=str(self.waiting), TMP=str(self.waiting))
        variables.update(PIP_USER="0", PIP_NO_COLOR="1", PYTHONUNBUFFERED="1")
        command = [str(self.environment.python), "-m", "pip", "--no-input", "install"]
        command += ["--disable-pip-version-check", "--progress-bar", "off", "--retries", "2"]
        command += arguments
        # The child holds the lock too: if we are killed, no other start disturbs it.
        keep = () if os.name == "nt" else (self.lock.fileno(),)
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=variables,
            pass_fds=keep,
        )
        lines: list[str] = []
        try:
            with Progress() as show, self.environment.log.open("a", encoding="utf-8") as log:
                print("$", *command, file=log)
                for line in lines_in_time(process, pause=0.3):
                    if line:
                        lines.append(line.strip())
                        print(line, end="", file=log, flush=True)
                    follow(line.strip(), show)
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        finally:
            shutil.rmtree(self.waiting, ignore_errors=True)
        if code:
            raise Trouble(pip_trouble("\n".join(lines), self.environment.log))


def lines_in_time(process: "subprocess.Popen[str]", pause: float) -> "Iterator[str]":
    """The lines a process prints, and an empty one after each `pause` seconds without any."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=pause)
        except queue.Empty:
            yield ""
            continue
        if line is None:
            return
        yield line


def pip_trouble(output: str, log: Path) -> str:
    """One sentence for what pip printed before it gave up."""
    log_words = f"the full log is {log}"
    signs = {
        "There is no room left on the disk": ("No space left on device", "[Errno 28]"),
        "The package index's certificate is not trusted here (a proxy of your company or "
        "school?)": ("CERTIFICATE_VERIFY_FAILED",),
        "The packages cannot be fetched because the network does not answer": (
            "NewConnectionError",
            "NameResolutionError",
            "Failed to establish a new connection",
            "ConnectTimeoutError",
            "ReadTimeoutError",
            "ProxyError",
            "Network is unreachable",
            "Connection refused",
        ),
    }
    for words, texts in signs.items():
        if any(text in output for text in texts):
            return f"{words}; mend that and start again ({log_words})."
    if "No matching distribution found for torch" in output:
        return (
            f"There is no torch for Python {sys.version_info[0]}.{sys.version_info[1]} on this "
            f"system ({sys.platform}): try another Python from 3.11 on ({log_words})."
        )
    errors = [line for line in output.splitlines() if line.startswith("ERROR:")]
    reason = f" ({errors[-1][7:160].strip().rstrip('.')})" if errors else ""
    return f"pip could not install the course's packages{reason}; {log_words}."


def local_path(url: str) -> Path:
    """`file:///a%20b` -> `/a b`."""
    from urllib.request import url2pathname

    return Path(url2pathname(url[len("file:") :].removeprefix("//")))


def folder_bytes(folder: Path) -> int:
    """The bytes of the archives that pip has fetched into its waiting room so far."""
    total = 0
    for path in folder.glob("pip-unpack-*/*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total


# ---- Talking -------------------------------------------------------------------------------------


class Progress:
    """One line that is rewritten on a terminal; elsewhere a plain line every few seconds."""

    def __init__(self, out: "IO[str] | None" = None, every: float = 3.0) -> None:
        self.out = out or sys.stdout
        self.terminal = self.out.isatty()
        self.every = 0.1 if self.terminal else every
        self.shown = ""
        self.at = 0.0

    def __enter__(self) -> "Progress":
        return self

    def __call__(self, text: str) -> None:
        now = time.monotonic()
        if text == self.shown or now - self.at < self.every:
            return
        self.shown, self.at = text, now
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1
            print("\r" + text[:width].ljust(width), end="", file=self.out, flush=True)
        else:
            print(text, file=self.out, flush=True)

    def __exit__(self, *_: object) -> None:
        if self.terminal and self.shown:
            width = shutil.get_terminal_size().columns - 1
            print("\r" + " " * width + "\r", end="", file=self.out, flush=True)


say = functools.partial(print, flush=True)


def human(size: float) -> str:
    """Bytes in words, in the decimal units that disks and downloads are sold in."""
    if size >= GB:
        return f"{size / GB:.1f} GB"
    return f"{max(1, round(size / MB))} MB" if size else "0 MB"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
