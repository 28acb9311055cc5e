"""Run a notebook in a fresh kernel of its own, and keep outputs that are the same every time."""

from __future__ import annotations

import copy
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat

from llama_course.errors import CourseError
from llama_course.workbook.cells import Notebook
from llama_course.workbook.run_tests import PINNED

SECONDS_PER_CELL = 120
ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")


def execute(nb: Notebook, root: Path, where: str) -> Notebook:
    """A copy of `nb` with outputs, run from top to bottom with this Python's packages.

    The kernel has an empty learner's folder and no settings of this machine's user. `where` names
    the source in errors. Raises `CourseError` for a cell that fails, warns, or prints what would
    be another text tomorrow (an address, a path of this machine).
    """
    with tempfile.TemporaryDirectory(prefix="llama-course-", ignore_cleanup_errors=True) as name:
        home = Path(name) / "my_work"
        home.mkdir()
        variables = kernel_variables(Path(name), home, root)
        done = _run(nb, home, variables, where)
        for cell in done["cells"]:
            if cell["cell_type"] == "code":
                cell["outputs"] = clean(cell["outputs"])
                ignored = "nbval-ignore-output" in cell["metadata"].get("tags", [])
                _refuse(cell, where, ignored, (name, str(root)))
    return done


def kernel_variables(folder: Path, home: Path, root: Path) -> dict[str, str]:
    """The environment of the kernel."""
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("LLAMA_COURSE_", "MPL"))},
        **PINNED,
        "LLAMA_COURSE_HOME": str(home),
        "IPYTHONDIR": str(folder / "ipython"),
        "PYTHONPATH": path,
        "HF_HUB_OFFLINE": "1",
    }


def _run(nb: Notebook, home: Path, variables: dict[str, str], where: str) -> Notebook:
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    class ThisPython(AsyncKernelManager):
        """This very Python, whatever the machine's users have installed under its name."""

        @property
        def kernel_spec(self) -> KernelSpec:
            argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            argv.append("--log-level=ERROR")
            return KernelSpec(argv=argv, display_name="Python 3", language="python")

    node = nbformat.from_dict(copy.deepcopy(nb))
    client = NotebookClient(
        node,
        shutdown_kernel="immediate",
        kernel_manager_class=ThisPython,
        kernel_name="python3",
        timeout=SECONDS_PER_CELL,
        record_timing=False,
        resources={"metadata": {"path": str(home)}},
    )
    try:
        client.execute(env=variables)
    except CellExecutionError as error:
        cell = _failed(node)
        reason = " ".join(f"{error.ename}: {error.evalue}".split())[:400]
        raise CourseError(f"{where}: cell {cell} raised {reason}") from None
    except CellTimeoutError:
        raise CourseError(
            f"{where}: cell {_failed(node)} ran for more than {SECONDS_PER_CELL} s: "
            "make it smaller."
        ) from None
    except DeadKernelError:
        raise CourseError(f"{where}: the kernel died in cell {_failed(node)}.") from None
    done: Notebook = nbformat.from_dict(node)
    for cell in done["cells"]:
        cell["metadata"].pop("execution", None)
    done["metadata"] = copy.deepcopy(nb["metadata"])  # the client writes versions there
    return done


def _failed(node: Any) -> str:
    """The name of the cell that was run last."""
    ran = [cell for cell in node.cells if cell.cell_type == "code" and cell.get("outputs")]
    bad = [cell for cell in ran if any(out.output_type == "error" for out in cell.outputs)]
    return str((bad or ran or node.cells)[-1].id).split("-", 1)[-1]


def clean(outputs: list[Any]) -> list[dict[str, Any]]:
    """Outputs without what differs from run to run: pieces of a stream, tracebacks, metadata."""
    kept: list[dict[str, Any]] = []
    for output in outputs:
        output = {key: value for key, value in dict(output).items() if key != "transient"}
        if output["output_type"] == "stream":
            last = kept[-1] if kept else {}
            if last.get("name") == output["name"] and last["output_type"] == "stream":
                last["text"] += output["text"]
                continue
        elif output["output_type"] == "error":
            output["traceback"] = [f"{output['ename']}: {output['evalue']}"]
        elif "metadata" in output:
            alt = output["metadata"].get("image/png", {}).get("alt")
            output["metadata"] = {"image/png": {"alt": alt}} if alt else {}
        kept.append(output)
    return kept


def _refuse(cell: Any, where: str, ignored: bool, local: tuple[str, ...]) -> None:
    name = str(cell["id"]).split("-", 1)[-1]
    for output in cell["outputs"]:
        text = output_text(output)
        if output.get("name") == "stderr":
            raise CourseError(
                f"{where}: cell {name} writes to stderr ({text.strip()[:120]!r}); a reader would "
                "take it for a fault, so mend what it warns of."
            )
        if any(path in text for path in local):
            raise CourseError(f"{where}: cell {name} prints a path of this machine.")
        if not ignored and ADDRESS.search(text):
            raise CourseError(f"{where}: cell {name} prints a memory address, new in each run.")


def output_text(output: Any) -> str:
    """All text of an output."""
    data = output.get("data", {})
    texts = [value for kind, value in data.items() if kind.startswith("text/")]
    return "\n".join([output.get("text", ""), *texts, *output.get("traceback", [])])
