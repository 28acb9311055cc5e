"""JupyterLab: the right folder, the right page, no pop-ups, and an end that is an end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from llama_course.errors import CourseError
from llama_course.workbook import lab

EMPTY = json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def test_the_start_notebook_opens_where_there_is_one(tmp_path: Path) -> None:
    assert lab.page(tmp_path) == "/lab"
    (tmp_path / lab.START).write_text(EMPTY, encoding="utf-8")
    assert lab.page(tmp_path) == "/lab/tree/00_start_here.ipynb"


def test_the_command_line(tmp_path: Path) -> None:
    command = lab.lab_command(tmp_path, 8890, browser=True, arguments=["--debug"])
    assert f"--ServerApp.root_dir={tmp_path}" in command
    assert "--ServerApp.port=8890" in command
    assert command[-1] == "--debug"
    assert "--no-browser" not in command
    assert "--no-browser" in lab.lab_command(tmp_path, 8890, browser=False, arguments=[])


def test_settings_come_on_top_of_the_user_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "theirs")
    variables = lab.lab_variables("secret")
    assert variables["JUPYTER_CONFIG_PATH"] == os.pathsep.join([str(lab.SETTINGS), "theirs"])
    assert variables["JUPYTER_TOKEN"] == "secret"
    assert os.environ["JUPYTER_CONFIG_PATH"] == "theirs"


def test_a_taken_port_is_passed_over() -> None:
    first = lab.free_port(18_888)
    with socket.create_server(("127.0.0.1", first)):
        assert lab.free_port(first) > first
        with pytest.raises(CourseError, match="--port"):
            lab.free_port(first, count=1)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process group")
def test_a_real_server(tmp_path: Path) -> None:
    (tmp_path / lab.START).write_text(EMPTY, encoding="utf-8")
    port = lab.free_port(18_900)
    code = (
        "import sys; from llama_course.workbook.lab import open_lab\n"
        f"sys.exit(open_lab(browser=False, port={port}))"
    )
    # Settings, runtime files and workspaces of the user are another's business.
    own = {
        "LLAMA_COURSE_HOME": str(tmp_path),
        "JUPYTER_CONFIG_DIR": str(tmp_path / ".config"),
        "JUPYTER_DATA_DIR": str(tmp_path / ".data"),
        "PYTHONPATH": str(Path(lab.__file__).resolve().parents[2]),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, **own},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        address = next(line.strip() for line in lines if line.startswith("http"))
        assert re.fullmatch(
            rf"http://127\.0\.0\.1:{port}/lab/tree/00_start_here\.ipynb\?token=\w{{48}}", address
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        html = opener.open(address, timeout=20).read().decode("utf-8")
        found = re.search(r'id="jupyter-config-data"[^>]*>\s*(\{.*?\})\s*</script>', html, re.S)
        assert found is not None
        settings = json.loads(found.group(1))
        assert "@jupyterlab/apputils-extension:announcements" in settings["disabledExtensions"]
        assert settings["news"] == {"disabled": True}
        assert settings["treePath"] == "00_start_here.ipynb"
        # As a terminal does on Ctrl-C: to all processes in it.
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        assert "Traceback" not in rest
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
