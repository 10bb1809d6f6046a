"""Run a command in the guest kernel (run.sh beside this file says what the guest is and sees).

A boot costs about five seconds of one processor, and the start of Python in it half a minute: tests of the repository
that the guest shall run share one boot (oneboot.py beside this file). The command travels on the kernel's command line.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from tests.lab.syscalls import die_with_parent

RUN = Path(__file__).with_name("run.sh")
REPOSITORY = RUN.parents[2]

NO_ANSWER = 99
"""Exit status when the guest never said how the command ended. It is a failure, never a reason to skip."""


def guest(command: str, timeout: float = 300.0, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Run `command` as root in a fresh guest, in the repository's folder: (exit status, what it printed).

    `timeout` is in seconds and covers the boot. `environment` adds VM_SMP, VM_MEMORY and the like for run.sh.
    """
    process = subprocess.Popen(
        [str(RUN), command],
        cwd=REPOSITORY,
        env={**os.environ, "VM_TIMEOUT": f"{timeout:g}", **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
        preexec_fn=lambda: die_with_parent(signal.SIGTERM),
    )
    try:
        output, _ = process.communicate(timeout=timeout + 120)  # the first call also fetches the kernel
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return process.returncode, output
