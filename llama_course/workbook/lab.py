"""JupyterLab on the learner's folder, with the course's settings and nobody else's changed."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from llama_course.errors import CourseError
from llama_course.workbook.home import home, prepare, repository

START = "00_start_here.ipynb"
# Jupyter's settings for the course: no pop-up with news, no search for updates.
SETTINGS = Path(__file__).with_name("jupyter")
SECONDS_TO_START = 60.0


def open_lab(browser: bool = True, port: int | None = None, arguments: Sequence[str] = ()) -> int:
    """Serve the learner's folder in JupyterLab until Ctrl-C; return its exit code.

    Opens the start notebook in a browser, or with `browser=False` only prints its address.
    `port` is the first free one from 8888 on when None. `arguments` go to JupyterLab as they are.
    """
    if importlib.util.find_spec("jupyterlab") is None:
        raise CourseError(
            "JupyterLab is not installed here; start the course by 'python course.py'."
        )
    root = home()
    for path in prepare(root, repository()):
        print(f"new in {root.name}: {path.relative_to(root).as_posix()}")
    port = free_port() if port is None else port
    token = secrets.token_hex(24)
    address = f"http://127.0.0.1:{port}{page(root)}?token={token}"
    command = lab_command(root, port, browser, arguments)
    # No terminal input: Jupyter would otherwise ask on Ctrl-C whether one is sure.
    process = subprocess.Popen(command, env=lab_variables(token), stdin=subprocess.DEVNULL)
    with ended_with_us(process):
        if not answers(process, port):
            code = process.poll()
            if code is None:
                raise CourseError(
                    f"JupyterLab did not answer on port {port} within {SECONDS_TO_START:.0f} s; "
                    "try another port with --port."
                )
            return code or 1
        print(f"JupyterLab serves {root}. Stop it with Ctrl-C. Its address:", flush=True)
        print(address, flush=True)
        try:
            return process.wait()
        except KeyboardInterrupt:
            print(f"\nStopping JupyterLab. Your notebooks are in {root}", flush=True)
            return 0


def page(root: Path) -> str:
    """The path of the page that opens: the start notebook, or the folder where there is none."""
    return f"/lab/tree/{START}" if (root / START).is_file() else "/lab"


def lab_command(root: Path, port: int, browser: bool, arguments: Sequence[str]) -> list[str]:
    """The command line of the server."""
    command = [sys.executable, "-m", "jupyterlab"]
    command += [f"--ServerApp.root_dir={root}", f"--LabApp.default_url={page(root)}"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    command += ["--ServerApp.log_level=WARN", "--LabApp.log_level=WARN"]
    if not browser:
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # a container, most often
    return [*command, *arguments]


def lab_variables(token: str) -> dict[str, str]:
    """The server's environment variables: our settings beside the user's, and the token."""
    paths = [str(SETTINGS), *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
    return {
        **os.environ,
        "JUPYTER_CONFIG_PATH": os.pathsep.join(paths),
        # The kernel of this environment, not one of the same name in the user's folder.
        "JUPYTER_PREFER_ENV_PATH": "1",
        # By a variable, since anyone on the machine can read a command line.
        "JUPYTER_TOKEN": token,
    }


def free_port(first: int = 8888, count: int = 100) -> int:
    """The first port from `first` on that nobody listens on."""
    for port in range(first, first + count):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            if os.name != "nt":  # there the option means something else
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise CourseError(f"No port from {first} to {first + count - 1} is free; give one with --port.")


def answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server answers on `port`; False if it ended or took too long."""
    # Not by way of a proxy, which would not know this machine's own addresses.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < end and process.poll() is None:
        try:
            opener.open(f"http://127.0.0.1:{port}/api", timeout=2).close()
            return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    return False


@contextlib.contextmanager
def ended_with_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End `process` when the block is left, by Ctrl-C or by a request to terminate as well."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if process.poll() is None:
            process.terminate()  # Jupyter ends its kernels, then itself
            try:
                process.wait(10)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                process.kill()
                process.wait()
