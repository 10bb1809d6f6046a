"""Ask through another source and write every raw reply into a directory: a fixture, or a bug report.

Layout (``netdiag.recording/1``)::

    recording.json               who recorded, and the order of collectors
    COLLECTOR/calls.json         every call of that collector in order: what was asked, the answer or the refusal
    COLLECTOR/NNNN.bin           netlink messages and other replies that are not short text

One folder a collector, because collectors run side by side in processes of their own. Secrets never arrive here:
sources
blank them before they return.
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from netdiag.sources.netlink.messages import DumpRequest, DumpResult, Reply, Sink
from netdiag.sources.protocol import Clock, Kind, Source, Unreadable

SCHEMA = "netdiag.recording/1"
INLINE_LIMIT = 8192
"""Text up to this many bytes stands in calls.json, where a person can read it."""


class Calls:
    """The calls of one collector, in order; written after each call, so that a killed collector leaves what it had."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.entries: list[dict[str, Any]] = []
        self.files = 0
        directory.mkdir(parents=True, exist_ok=True)

    def file(self) -> Path:
        """A fresh file for one reply."""
        self.files += 1
        return self.directory / f"{self.files:04}.bin"

    def content(self, raw: bytes) -> dict[str, Any]:
        """Where a reply stands: inline where it is short text, else in a file."""
        if len(raw) <= INLINE_LIMIT:
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError:
                pass
            else:
                return {"text": text}
        path = self.file()
        path.write_bytes(raw)
        return {"file": path.name}

    def add(self, entry: dict[str, Any]) -> None:
        """Append one call and save."""
        self.entries.append(entry)

    def save(self) -> None:
        """Write calls.json under its final name only when it is whole."""
        path = self.directory / "calls.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.entries, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, path)


class TeeSink:
    """Hands every buffer on and writes it down; a dump that starts again starts the file again."""

    def __init__(self, sink: Sink, path: Path) -> None:
        self.sink = sink
        self.out = path.open("wb")

    def feed(self, buffer: memoryview) -> None:
        self.out.write(buffer)
        self.sink.feed(buffer)

    def reset(self) -> None:
        self.out.seek(0)
        self.out.truncate()
        self.sink.reset()


class RecordingSource:
    """Another source, with every reply written below ``directory``."""

    writes_files = True

    def __init__(self, inner: Source, directory: str | Path, collector: str = "host") -> None:
        self.inner = inner
        self.directory = Path(directory)
        self.calls = Calls(self.directory / collector)

    def scoped(self, collector: str) -> "RecordingSource":
        return RecordingSource(self.inner.scoped(collector), self.directory, collector)

    def _noted(self, call: str, key: str, answer: Callable[[], Any], encode: Callable[[Any], dict[str, Any]]) -> Any:
        entry: dict[str, Any] = {"call": call, "key": key}
        try:
            value = answer()
        except Unreadable as error:
            self.calls.add({**entry, "unreadable": {"why": error.why, "detail": error.detail}})
            self.calls.save()
            raise
        self.calls.add({**entry, **encode(value)})
        self.calls.save()
        return value

    def dump(self, request: DumpRequest, sink: Sink) -> DumpResult:
        path = self.calls.file()
        tee = TeeSink(sink, path)

        def encode(result: DumpResult) -> dict[str, Any]:
            return {
                "file": path.name,
                "consistent": result.consistent,
                "attempts": result.attempts,
                "octets": result.octets,
                "detail": result.detail,
            }

        try:
            result: DumpResult = self._noted("dump", request.key, lambda: self.inner.dump(request, tee), encode)
        finally:
            tee.out.close()
        return result

    def ask(self, name: str, protocol: int, type: int, bodies: Sequence[bytes]) -> list[Reply]:
        def encode(answers: list[Reply]) -> dict[str, Any]:
            rows = [{"errno": answer.errno, "text": answer.text, "octets": answer.octets.hex()} for answer in answers]
            return {"answers": rows}

        key = f"{name} protocol={protocol} type={type} " + " ".join(body.hex() for body in bodies)
        answers: list[Reply] = self._noted("ask", key, lambda: self.inner.ask(name, protocol, type, bodies), encode)
        return answers

    def read(self, path: str) -> bytes:
        content: bytes = self._noted("read", path, lambda: self.inner.read(path), self.calls.content)
        return content

    def read_many(self, paths: Sequence[str]) -> dict[str, bytes]:
        def encode(contents: dict[str, bytes]) -> dict[str, Any]:
            return {"contents": {path: self.calls.content(raw) for path, raw in contents.items()}}

        key = "\n".join(paths)
        found: dict[str, bytes] = self._noted("read_many", key, lambda: self.inner.read_many(paths), encode)
        return found

    def listdir(self, path: str) -> tuple[str, ...]:
        names: tuple[str, ...] = self._noted(
            "listdir",
            path,
            lambda: self.inner.listdir(path),
            lambda found: {"names": [os.fsencode(n).hex() for n in found]},
        )
        return names

    def readlink(self, path: str) -> str:
        target: str = self._noted("readlink", path, lambda: self.inner.readlink(path), lambda found: {"text": found})
        return target

    def fetch(self, kind: Kind, key: str) -> bytes:
        content: bytes = self._noted("fetch", f"{kind} {key}", lambda: self.inner.fetch(kind, key), self.calls.content)
        return content

    def inside(self, inode: int, path: str) -> "RecordingSource":
        inner: Source = self._noted("inside", f"{inode}", lambda: self.inner.inside(inode, path), lambda _: {})
        return RecordingSource(inner, self.directory, f"netns-{inode}")

    def clock(self, which: Clock) -> float:
        value: float = self._noted("clock", which, lambda: self.inner.clock(which), lambda found: {"value": found})
        return value

    def uname(self) -> tuple[str, str]:
        value: tuple[str, str] = self._noted("uname", "", self.inner.uname, lambda found: {"value": list(found)})
        return value

    def wait(self, seconds: float) -> None:
        self.inner.wait(seconds)

    def finish(self, netdiag_version: str) -> None:
        """Write recording.json: only now is the directory a recording. Raises OSError."""
        collectors = sorted(path.parent.name for path in self.directory.glob("*/calls.json"))
        manifest = {"schema": SCHEMA, "netdiag": netdiag_version, "collectors": collectors}
        temporary = self.directory / "recording.tmp"
        temporary.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, self.directory / "recording.json")
