"""A headless Chromium that is told what to do over a pair of pipes (--remote-debugging-pipe): no port, no library."""

import base64
import fcntl
import json
import os
import select
import subprocess
import time
from pathlib import Path
from typing import Any

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--remote-debugging-pipe",
]
PATIENCE = 60.0


class Browser:
    """One browser with one page."""

    def __init__(self, profile: Path) -> None:
        said, heard = os.pipe(), os.pipe()
        # Chromium reads commands from descriptor 3 and writes answers to 4: both ends are first moved out of their way.
        ours = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (said[0], heard[1])]
        launch = f'exec chromium "$@" 3<&{ours[0]} 4>&{ours[1]} {ours[0]}<&- {ours[1]}>&-'
        self.process = subprocess.Popen(
            ["bash", "-c", launch, "bash", *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=ours,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(profile)},
        )
        for end in (said[0], heard[1], *ours):
            os.close(end)
        self.out, self.back = said[1], heard[0]
        self.buffer = b""
        self.number = 0
        self.events: list[dict[str, Any]] = []
        self.session: str | None = None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Security"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its result."""
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        return self._until(lambda answer: answer.get("id") == self.number)

    def _until(self, wanted: Any) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while True:
            while b"\0" in self.buffer:
                raw, _, self.buffer = self.buffer.partition(b"\0")
                answer = json.loads(raw)
                if "id" not in answer:
                    self.events.append(answer)
                if wanted(answer):
                    assert "error" not in answer, answer["error"]
                    result: dict[str, Any] = answer.get("result", answer)
                    return result
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.back], [], [], left)[0], "chromium does not answer"
            chunk = os.read(self.back, 1 << 20)
            assert chunk, "chromium is gone"
            self.buffer += chunk

    def open(self, page: Path, *, width: int, dark: bool) -> None:
        """Show a file at that width, and wait until it has loaded."""
        self.events.clear()
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask("Page.navigate", url=page.as_uri())
        if not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._until(lambda answer: answer.get("method") == "Page.loadEventFired")

    def value(self, expression: str) -> Any:
        """What a piece of JavaScript gives. The page's own policy does not bind the debugger."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def picture(self, path: Path) -> None:
        """The whole page as a PNG."""
        content = self.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(content))

    def close(self) -> None:
        """End it."""
        os.close(self.out)
        os.close(self.back)
        self.process.terminate()
        self.process.wait(20)
