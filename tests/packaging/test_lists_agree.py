"""pyproject.toml, constraints.txt and environment.yml name the same packages."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import llama_course

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib"}


def parsed(lines: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(r.name): r for r in map(Requirement, lines)}


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = {}
    for line in lines:
        if line.strip() and not line.startswith("#"):
            name, version = line.split("==")
            found[canonicalize_name(name)] = Version(version)
    return found


@pytest.mark.parametrize("extra", ["", "dev", "peers"])
def test_each_tested_version_is_one_that_pyproject_allows(extra: str) -> None:
    wanted = parsed(EXTRAS[extra] if extra else PROJECT["dependencies"])
    assert wanted
    for name, requirement in wanted.items():
        assert name in pins(), f"constraints.txt does not pin {name}"
        assert pins()[name] in requirement.specifier, f"{requirement} against {pins()[name]}"


def test_constraints_fit_every_build_of_torch() -> None:
    assert pins()["torch"] == Version("2.13.0")
    assert not [name for name, version in pins().items() if version.local]
    assert "llama-course" not in pins()


def test_environment_yml_asks_for_the_same_core() -> None:
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    listed = yaml.safe_load(text)["dependencies"]
    by_pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    assert by_pip == ["-e ."]
    conda = [entry.replace(" ", "") for entry in listed if isinstance(entry, str)]
    found = {CONDA_NAMES.get(name, name): r for name, r in parsed(conda).items()}
    assert str(found.pop("python").specifier) == PROJECT["requires-python"]
    assert found.pop("pip")
    core = parsed(PROJECT["dependencies"])
    assert {n: r.specifier for n, r in found.items()} == {n: r.specifier for n, r in core.items()}


def test_a_learner_needs_no_peer_and_no_grader() -> None:
    core = parsed(PROJECT["dependencies"])
    assert not core.keys() & parsed(EXTRAS["peers"] + EXTRAS["instructor"]).keys()


def test_the_version_is_said_once() -> None:
    assert PROJECT["version"] == llama_course.__version__
