"""Answer from a recording (see netdiag.sources.record) as the host did then, in the same order.

A call that the recording does not hold is ``Unreadable("absent", "not in this recording")``: an old recording stays
usable when netdiag learns to ask more. A directory that is no recording raises RecordingRefused.
"""

import json
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from netdiag.sources.netlink.messages import DumpRequest, DumpResult, Reply, Sink
from netdiag.sources.protocol import Clock, Kind, RecordingRefused, Unreadable
from netdiag.sources.record import SCHEMA

CHUNK = 64 << 10
"""About how many bytes of a recorded dump are fed at once, as the kernel would."""
MANIFEST_LIMIT = 64 << 20


def _json(path: Path, directory: str) -> Any:
    try:
        if path.stat().st_size > MANIFEST_LIMIT:
            raise RecordingRefused(directory, f"{path.name} is larger than {MANIFEST_LIMIT >> 20} MiB")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordingRefused(directory, f"no {path.name}: not a recording") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RecordingRefused(directory, f"{path.name}: {error}") from error


class ReplaySource:
    """The host of a recording. Raises RecordingRefused where ``directory`` is none."""

    writes_files = False

    def __init__(self, directory: str | Path, collector: str = "host") -> None:
        self.directory = Path(directory)
        if collector == "host":
            manifest = _json(self.directory / "recording.json", str(directory))
            schema = manifest.get("schema") if isinstance(manifest, dict) else None
            if schema != SCHEMA:
                raise RecordingRefused(str(directory), f"schema is {schema!r}, this version replays {SCHEMA}")
        self.folder = self.directory / collector
        self.queues: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        calls = self.folder / "calls.json"
        entries = _json(calls, str(directory)) if calls.exists() else []
        if not isinstance(entries, list):
            raise RecordingRefused(str(directory), f"{collector}/calls.json is not a list")
        for entry in entries:
            if (
                not isinstance(entry, dict)
                or not isinstance(entry.get("call"), str)
                or not isinstance(entry.get("key"), str)
            ):
                raise RecordingRefused(str(directory), f"{collector}/calls.json holds something that is not a call")
            self.queues[entry["call"], entry["key"]].append(entry)

    def scoped(self, collector: str) -> "ReplaySource":
        return ReplaySource(self.directory, collector)

    def _next(self, call: str, key: str) -> dict[str, Any]:
        queue = self.queues.get((call, key))
        if not queue:
            raise Unreadable("absent", f"{key.splitlines()[0] if key else call}: not in this recording")
        # The last answer stands for every later call: a longer watch of a short recording sees a host at rest.
        entry = queue.pop(0) if len(queue) > 1 else queue[0]
        refusal = entry.get("unreadable")
        if refusal is not None:
            raise Unreadable(refusal["why"], refusal["detail"])
        return entry

    def _content(self, entry: dict[str, Any]) -> bytes:
        if "text" in entry:
            return str(entry["text"]).encode("utf-8")
        name = str(entry["file"])
        if os.sep in name or name.startswith("."):
            raise RecordingRefused(str(self.directory), f"a reply points outside the recording: {name}")
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise RecordingRefused(str(self.directory), f"{name}: {os.strerror(error.errno or 0)}") from error

    def dump(self, request: DumpRequest, sink: Sink) -> DumpResult:
        entry = self._next("dump", request.key)
        raw = memoryview(self._content(entry))
        start = position = 0
        while position + 16 <= len(raw):
            length = int.from_bytes(raw[position : position + 4], "little")
            if length < 16 or position + length > len(raw):
                break
            position += (length + 3) & ~3
            if position - start >= CHUNK:
                sink.feed(raw[start:position])
                start = position
        if position > start:
            sink.feed(raw[start : min(position, len(raw))])
        return DumpResult(
            consistent=bool(entry["consistent"]),
            attempts=int(entry["attempts"]),
            octets=int(entry["octets"]),
            detail=str(entry["detail"]),
        )

    def ask(self, name: str, protocol: int, type: int, bodies: Sequence[bytes]) -> list[Reply]:
        key = f"{name} protocol={protocol} type={type} " + " ".join(body.hex() for body in bodies)
        rows = self._next("ask", key)["answers"]
        return [Reply(octets=bytes.fromhex(row["octets"]), errno=row["errno"], text=row["text"]) for row in rows]

    def read(self, path: str) -> bytes:
        return self._content(self._next("read", path))

    def read_many(self, paths: Sequence[str]) -> dict[str, bytes]:
        contents = self._next("read_many", "\n".join(paths))["contents"]
        return {path: self._content(entry) for path, entry in contents.items()}

    def listdir(self, path: str) -> tuple[str, ...]:
        return tuple(os.fsdecode(bytes.fromhex(name)) for name in self._next("listdir", path)["names"])

    def readlink(self, path: str) -> str:
        return str(self._next("readlink", path)["text"])

    def fetch(self, kind: Kind, key: str) -> bytes:
        return self._content(self._next("fetch", f"{kind} {key}"))

    def inside(self, inode: int, path: str) -> "ReplaySource":
        self._next("inside", f"{inode}")
        return ReplaySource(self.directory, f"netns-{inode}")

    def clock(self, which: Clock) -> float:
        return float(self._next("clock", which)["value"])

    def uname(self) -> tuple[str, str]:
        name, release = self._next("uname", "")["value"]
        return str(name), str(release)

    def wait(self, seconds: float) -> None:
        """A replay does not wait: the second sample is already written."""
