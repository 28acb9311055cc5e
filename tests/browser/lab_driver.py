"""A JupyterLab as a learner starts it, and a Chromium that clicks and types in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from playwright.sync_api import Locator, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Nothing of the browser's own goes to the network; root (in CI) may not use its sandbox.
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
VISIBLE = ".jp-NotebookPanel:not(.lm-mod-hidden)"  # the tab in front
PATIENCE = 90_000  # milliseconds; a busy machine starts kernels slowly
REPO = Path(__file__).parents[2]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def write(path: Path, **values: str) -> None:
    """One of JupyterLab's files of user settings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f"{path.name}.jupyterlab-settings").write_text(
        json.dumps(values), encoding="utf-8"
    )


class Lab:
    """`with Lab(home) as lab: page = lab.open("exercises/04_rmsnorm.ipynb")`."""

    def __init__(self, home: Path, dark: bool = False) -> None:
        self.home = home
        self.dark = dark

    def __enter__(self) -> Lab:
        variables = {**os.environ, "LLAMA_COURSE_HOME": str(self.home), "OMP_NUM_THREADS": "1"}
        variables["PYTHONPATH"] = str(REPO)
        settings = self.home.with_name("settings") / "@jupyterlab"
        write(settings / "notebook-extension" / "tracker", windowingMode="none")
        if self.dark:
            write(settings / "apputils-extension" / "themes", theme="JupyterLab Dark")
        variables["JUPYTERLAB_SETTINGS_DIR"] = str(settings.parent)
        command = [sys.executable, "-m", "llama_course.cli", "lab", "--no-browser"]
        command += ["--port", str(free_port())]
        self.log = self.home.with_name(f"{self.home.name}.log")
        with self.log.open("w", encoding="utf-8") as log:
            self.server = subprocess.Popen(
                command, cwd=REPO, env=variables, stdout=log, stderr=subprocess.STDOUT
            )
        self.address, self.token = self._wait_for_address()
        self._playwright = sync_playwright().start()
        self.browser = self._playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.browser.close()
        self._playwright.stop()
        self.server.send_signal(signal.SIGINT)
        try:
            self.server.wait(20)
        except subprocess.TimeoutExpired:
            self.server.kill()

    def _wait_for_address(self) -> tuple[str, str]:
        for _ in range(300):
            text = self.log.read_text(encoding="utf-8")
            found = re.search(r"(http://[^/\s]+)/lab\S*[?]token=(\w+)", text)
            if found:
                return found[1], found[2]
            if self.server.poll() is not None:
                raise RuntimeError(f"JupyterLab ended: {text}")
            time.sleep(0.3)
        raise RuntimeError("JupyterLab gave no address")

    def open(self, path: str, height: int = 2400) -> Page:
        """A notebook of the learner's folder; all its cells are drawn, seen or not."""
        page = self.browser.new_page(viewport={"width": 1200, "height": height})
        page.set_default_timeout(PATIENCE)
        page.goto(f"{self.address}/lab/tree/{path}?token={self.token}&reset")
        page.locator(f"{VISIBLE} .jp-Cell").first.wait_for()
        self.wait_until_idle(page)
        return page

    @staticmethod
    def wait_until_idle(page: Page) -> None:
        """Until the kernel of the notebook in front rests."""
        indicator = f"{VISIBLE} .jp-Notebook-ExecutionIndicator[data-status=idle]"
        page.locator(indicator).first.wait_for(state="attached")

    @staticmethod
    def menu(page: Page, *names: str) -> None:
        """Click through the menus: `menu(page, "Run", "Run All Cells")`."""
        page.locator(".lm-MenuBar-itemLabel", has_text=re.compile(f"^{names[0]}$")).click()
        for name in names[1:]:
            item = page.locator(".lm-Menu-itemLabel", has_text=re.compile(f"^{name}$"))
            item.first.hover()
            item.first.click()

    @staticmethod
    def cell(page: Page, text: str) -> Locator:
        """The code cell whose source has `text`."""
        return page.locator(f"{VISIBLE} .jp-CodeCell").filter(
            has=page.locator(".jp-InputArea-editor", has_text=text)
        )

    def type_into(self, page: Page, cell: Locator, code: str) -> None:
        """Replace a cell's source, as one who selects all and pastes."""
        cell.locator(".cm-content").click()
        page.keyboard.press("Control+A")
        page.keyboard.insert_text(code)

    def run_all(self, page: Page) -> None:
        """Run every cell and wait until the kernel rests."""
        self.menu(page, "Run", "Run All Cells")
        page.wait_for_timeout(500)
        self.wait_until_idle(page)

    def output(self, cell: Locator) -> Any:
        """What stands below a cell."""
        return cell.locator(".jp-OutputArea-output").last
