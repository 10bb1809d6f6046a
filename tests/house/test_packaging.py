"""The packaging says what it must, and says nothing about the machine it was written on."""

import configparser
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import netdiag

ROOT = Path(__file__).parents[2]
HOUSE_FILES = ["setup.cfg", "pyproject.toml", "Makefile", ".ci/run", ".ci/venv", ".ci/apt", ".ci/bird1"]
SCRIPTS = [name for name in HOUSE_FILES if name.startswith(".ci/")]


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_the_version_is_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", netdiag.__version__)


def test_the_licence_is_the_gpl(setup_cfg: configparser.ConfigParser) -> None:
    assert setup_cfg["metadata"]["license"] == "GPL-2.0-or-later"
    assert "Version 2, June 1991" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_bcc_never_comes_from_pypi(setup_cfg: configparser.ConfigParser) -> None:
    """PyPI's bcc is an unrelated package; installing it on somebody's router would run a stranger's code as root."""
    wanted = setup_cfg["options"]["install_requires"] + "".join(setup_cfg["options.extras_require"].values())
    assert not re.search(r"^\s*bcc\b", wanted, re.MULTILINE)


def test_every_dependency_has_a_lower_bound(setup_cfg: configparser.ConfigParser) -> None:
    options = setup_cfg["options"]["install_requires"].split()
    extras = [line for extra in setup_cfg["options.extras_require"].values() for line in extra.split()]
    for requirement in options + extras:
        assert re.fullmatch(r"[a-z0-9-]+>=[0-9.]+(,<[0-9.]+)?", requirement), requirement


def test_pyproject_parses() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        assert tomllib.load(file)["tool"]["ruff"]["line-length"] == 120


@pytest.mark.parametrize("name", HOUSE_FILES)
def test_no_package_registry_is_named(name: str) -> None:
    """pip and apt already know where packages come from; a name here would break a mirror or a closed network."""
    assert not re.search(r"https?://|index-url|find-links|trusted-host", (ROOT / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_sound(name: str) -> None:
    path = ROOT / name
    assert os.access(path, os.X_OK)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("#!/bin/bash\n")
    assert "\nset -eu\n" in text
    subprocess.run(["bash", "-n", str(path)], check=True, timeout=10)
