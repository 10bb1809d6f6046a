"""Where a file system is mounted in this mount namespace (proc_pid_mountinfo(5)), hidden mounts left out.

A mount that another one covers still stands in mountinfo, but its path leads elsewhere: such a one is told by the
device number, which is not the one that the path has. Nothing is raised: what cannot be read is not there.
"""

import os


def _plain(escaped: str) -> str:
    """Undo the octal escapes of blanks, tabs, line feeds and backslashes."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        escaped = escaped.replace(code, character)
    return escaped


def mounts(kind: str) -> list[str]:
    """Mount points of one type of file system, each that can be reached, in the order of mounting."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    found: list[str] = []
    for line in lines:
        fields, separator, rest = line.partition(" - ")
        words = fields.split(" ")
        if not separator or len(words) < 5 or rest.split(" ", 1)[0] != kind:
            continue
        path = _plain(words[4])
        try:
            device = os.stat(path).st_dev
        except OSError:
            continue
        if f"{os.major(device)}:{os.minor(device)}" == words[2] and path not in found:
            found.append(path)
    return found
