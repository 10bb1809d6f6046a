"""Make the recordings of fixtures/hosts anew: ``python -m tests.recordings [--reports-only] [NAME...]``. Needs root.

For each host: the recording, and the report that replaying it must give. ``--reports-only`` keeps the recordings and
writes the reports again, for when a rule was added or reworded: read the difference before it is committed.
"""

import shutil
import sys

from tests.lab import Lab
from tests.recordings.test_recordings import FOLDER, report_of
from tests.recordings.worlds import WORLDS


def record(name: str) -> None:
    """One host into fixtures/hosts/NAME."""
    target = FOLDER / name
    with Lab() as lab:
        host = WORLDS[name](lab)
        shutil.rmtree(target / "recording", ignore_errors=True)
        target.mkdir(parents=True, exist_ok=True)
        code, _, said = host.netdiag("record", "-o", str(target / "recording"))
        if code:
            raise SystemExit(f"{name}: {said}")


def main(arguments: list[str]) -> None:
    """Record and report."""
    names = [name for name in arguments if not name.startswith("-")] or list(WORLDS)
    for name in names:
        if "--reports-only" not in arguments:
            record(name)
        (FOLDER / name / "expected.json").write_text(report_of(FOLDER / name / "recording"), encoding="utf-8")
    lines = [
        "# Recorded hosts",
        "",
        "Each folder holds a recording (`netdiag record`) and the report it must give.",
        "",
    ]
    lines += [f"- `{name}`: {build.__doc__}" for name, build in WORLDS.items()]
    lines += ["", "Made by `python -m tests.recordings`, see tests/recordings/worlds.py.", ""]
    (FOLDER / "README.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
