"""Starting netdiag is cheap: what a verb does not use is not imported (CONTRACT: `--help` is quick on a sick host)."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("numpy", "pyroute2", "msgspec", "scapy", "tabulate", "bcc", "asyncio", "multiprocessing")
HEAVY += ("pyarrow", "duckdb", "fsspec")

PROGRAM = """
import sys
sys.argv = {argv!r}
try:
    from netdiag.cli.main import main
    main()
except SystemExit as stop:
    assert stop.code in (0, None), stop.code
print("loaded:", *(name for name in {heavy!r} if name in sys.modules))
"""


@pytest.mark.parametrize("argv", [["netdiag", "--help"], ["netdiag", "--version"], ["netdiag", "check", "--help"]])
def test_help_imports_nothing_heavy(argv: list[str]) -> None:
    # -S would hide the virtualenv; -I keeps this directory and the environment out of it.
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM.format(argv=argv, heavy=HEAVY)],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_module_and_script_are_the_same_program() -> None:
    script = Path(sys.executable).with_name("netdiag")
    as_module, as_script = (
        subprocess.run([*command, "--version"], cwd="/", capture_output=True, text=True, timeout=60, check=False)
        for command in ([sys.executable, "-m", "netdiag"], [str(script)])
    )
    assert as_module.returncode == as_script.returncode == 0, as_module.stderr + as_script.stderr
    assert as_module.stdout == as_script.stdout
