"""Where a file system is mounted in this mount namespace (proc_pid_mountinfo(5)), hidden mounts left out.

A mount that another one covers still stands in mountinfo, but its path leads elsewhere: such a one is told by the
device number, which is not the one that the path has. Nothing is raised: what cannot be read is not there.
"""

import os
from typing import NamedTuple

from netdiag.model.bpf import BpfMount
from netdiag.model.text import kernel_text


class _Line(NamedTuple):
    """What is used of one line of mountinfo."""

    number: str
    parent: str
    device: str
    path: str
    kind: str

    def reached(self) -> bool:
        """Whether its path leads to it."""
        try:
            device = os.stat(self.path).st_dev
        except OSError:
            return False
        return f"{os.major(device)}:{os.minor(device)}" == self.device


def _plain(escaped: str) -> str:
    """Undo the octal escapes of blanks, tabs, line feeds and backslashes."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        escaped = escaped.replace(code, character)
    return escaped


def _lines() -> list[_Line]:
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    found: list[_Line] = []
    for line in lines:
        fields, separator, rest = line.partition(" - ")
        words = fields.split(" ")
        if separator and len(words) >= 5:
            found.append(_Line(words[0], words[1], words[2], _plain(words[4]), rest.split(" ", 1)[0]))
    return found


def mounts(kind: str) -> list[str]:
    """Mount points of one type of file system, each that can be reached, in the order of mounting."""
    found: list[str] = []
    for line in _lines():
        if line.kind == kind and line.path not in found and line.reached():
            found.append(line.path)
    return found


def bpf_mounts() -> list[BpfMount]:
    """Every bpffs, and which of them lies right under another one."""
    lines = [line for line in _lines() if line.kind == "bpf"]
    upon = {line.parent: line for line in lines}
    found = []
    for line in lines:
        over = upon.get(line.number)
        stacked = over is not None and over.path == line.path and over.device != line.device
        found.append(
            BpfMount(
                path=kernel_text(os.fsencode(line.path)),
                device=line.device,
                hidden=not line.reached(),
                under=over.device if over is not None and stacked else None,
            )
        )
    return found
