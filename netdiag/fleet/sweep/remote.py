"""What is run on a host, as POSIX shell: the netdiag that is there, else one file that was sent before, or status 127.

The file that is sent (``make pyz``) is kept in the cache of the user, under its digest, for the next night; older ones
go. Only its owner can write there, and its digest is compared before each run. Pure text; nothing can fail.
"""

import hashlib
import shlex
from dataclasses import dataclass

MISSING = 127
"""Exit status for "there is no netdiag", as a shell has it."""
BROKEN = 126
"""Exit status for a file that did not arrive whole."""
CACHE = '"${XDG_CACHE_HOME:-$HOME/.cache}/netdiag/sent"'
SHARE = 0.6
"""Of the host's deadline, what collecting may take; the rest is for the way."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """How netdiag is called on hosts."""

    program: str = "netdiag"
    become: bool = False
    """Through ``sudo -n``."""
    interval: float = 1.0
    deadline: float = 60.0
    """Seconds a host has for everything."""
    all_netns: bool = False

    def arguments(self) -> str:
        """The words behind the program."""
        time = max(self.deadline * SHARE, 1.0)
        interval = min(self.interval, time / 2)
        words = f"collect -o - --interval {interval:g} --deadline {time:g}"
        return f"{words} --all-netns" if self.all_netns else words

    def look(self, digest: str | None) -> str:
        """Run what is there; ``digest`` of the file that could have been sent before."""
        become = "sudo -n " if self.become else ""
        program = shlex.quote(self.program)
        lines = [f"if command -v {program} >/dev/null 2>&1; then exec {become}{program} {self.arguments()}; fi"]
        if digest is not None:
            lines += [
                f"f={CACHE}/{digest}.pyz",
                f'if [ -f "$f" ] && echo "{digest}  $f" | sha256sum -c --status; then'
                f' exec {become}python3 "$f" {self.arguments()}; fi',
            ]
        return _shell([*lines, f"exit {MISSING}"])

    def send(self, digest: str) -> str:
        """Take the file from standard input, then run it."""
        become = "sudo -n " if self.become else ""
        return _shell(
            [
                "umask 077",
                f'd={CACHE}; f="$d/{digest}.pyz"',
                f'mkdir -p "$d" && t=$(mktemp "$d/.XXXXXXXX") || exit {BROKEN}',
                f'cat >"$t" && echo "{digest}  $t" | sha256sum -c --status && mv "$t" "$f"'
                f' || {{ rm -f "$t"; exit {BROKEN}; }}',
                'for o in "$d"/*.pyz; do [ "$o" = "$f" ] || rm -f "$o"; done',
                f'exec {become}python3 "$f" {self.arguments()} </dev/null',
            ]
        )


def _shell(lines: list[str]) -> str:
    return f"exec sh -c {shlex.quote(chr(10).join(lines))}"


def digest_of(content: bytes) -> str:
    """SHA-256, as sha256sum spells it."""
    return hashlib.sha256(content).hexdigest()
