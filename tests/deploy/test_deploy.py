"""The files that make hosts send their snapshots call netdiag as it can be called; neither Ansible nor Nomad is run."""

import configparser
import re
import runpy
import shlex
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import yaml

from netdiag.cli.collect import command

pytestmark = pytest.mark.timed

DEPLOY = Path(__file__).parents[2] / "deploy"
ROLE = DEPLOY / "ansible/roles/netdiag"
OPTIONS = {name for parameter in command.params for name in parameter.opts}


def calls_collect(words: list[str]) -> None:
    assert words[0] == "collect" and {word for word in words if word.startswith("-")} <= OPTIONS
    command.make_context("collect", [re.sub(r"\$\{.*?\}", "1", word) for word in words[1:]])


def test_systemd() -> None:
    units = {}
    for name in ("service", "timer"):
        units[name] = configparser.ConfigParser(interpolation=None)
        units[name].optionxform = str  # type: ignore[assignment]
        units[name].read(DEPLOY / f"systemd/netdiag-collect.{name}")
    program, *words = shlex.split(units["service"]["Service"]["ExecStart"])
    assert program.startswith("/")
    calls_collect(words)
    assert "RandomizedDelaySec" in units["timer"]["Timer"] and units["timer"]["Install"]["WantedBy"] == "timers.target"


def test_nomad() -> None:
    text = (DEPLOY / "nomad/netdiag.nomad.hcl").read_text()
    told = re.sub(r'"(?:[^"\\]|\\.)*"|#.*', '""', text)
    assert told.count("{") == told.count("}") and told.count("[") == told.count("]")
    arguments = re.search(r"args = \[(.*?)\]", text, re.DOTALL)
    assert arguments is not None and 'type        = "sysbatch"' in text
    calls_collect(
        [word.strip().strip('"') or "" for word in arguments[1].replace("var.upload", "/x/").split(",") if word.strip()]
    )


class Ended(Exception):
    pass


def module(monkeypatch: pytest.MonkeyPatch, params: dict[str, Any]) -> dict[str, Any]:
    """What the module tells Ansible, which is played."""
    import subprocess

    said: dict[str, Any] = {}

    class AnsibleModule:
        def __init__(self, argument_spec: dict[str, Any], supports_check_mode: bool) -> None:
            assert supports_check_mode and set(params) <= set(argument_spec)
            self.params = {key: spec.get("default") for key, spec in argument_spec.items()} | params

        def run_command(self, words: list[str]) -> tuple[int, str, str]:
            done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
            return done.returncode, done.stdout, done.stderr

        def exit_json(self, **told: Any) -> None:
            said.update(told)
            raise Ended

        def fail_json(self, **told: Any) -> None:
            said.update(told, failed=True)
            raise Ended

    names = ("ansible", "ansible.module_utils", "ansible.module_utils.basic")
    for name in names:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules[names[-1]].AnsibleModule = AnsibleModule  # type: ignore[attr-defined]
    with pytest.raises(Ended):
        runpy.run_path(str(ROLE / "library/netdiag_collect.py"), run_name="__main__")
    return said


def test_the_module_of_ansible(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    program = tmp_path / "netdiag"
    program.write_text('#!/bin/sh\necho "$@" > "$3"\n')
    program.chmod(0o755)
    told = module(monkeypatch, {"program": str(program), "hostname": "fra-a", "all_netns": True})
    words = Path(told["snapshot"]).read_text().split()
    assert told["octets"] > 0 and told["changed"] is False and Path(told["folder"]) == Path(told["snapshot"]).parent
    calls_collect(words)
    assert "fra-a" in words
    program.write_text("#!/bin/sh\necho one >&2\necho 'netdiag: no root' >&2\nexit 70\n")
    before = set(tmp_path.iterdir())
    told = module(monkeypatch, {"program": str(program)})
    assert told == {"failed": True, "msg": "netdiag collect: netdiag: no root", "rc": 70}
    assert set(tmp_path.iterdir()) == before


def test_the_role_of_ansible() -> None:
    tasks = yaml.safe_load((ROLE / "tasks/main.yml").read_text())
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    source = (ROLE / "library/netdiag_collect.py").read_text()
    documented = yaml.safe_load(re.search(r'DOCUMENTATION = r"""(.*?)"""', source, re.DOTALL)[1])  # type: ignore[index]
    (collect,) = [task["netdiag_collect"] for task in tasks if "netdiag_collect" in task]
    assert set(collect) == set(documented["options"])
    used = set(re.findall(r"netdiag_[a-z_]+", (ROLE / "tasks/main.yml").read_text()))
    assert used - set(defaults) == {"netdiag_collect", "netdiag_collected"} and set(defaults) <= used
    for path in (DEPLOY / "ansible/collect.yml", ROLE / "meta/main.yml"):
        assert yaml.safe_load(path.read_text())
