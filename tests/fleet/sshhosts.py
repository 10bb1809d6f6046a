"""SSH hosts on loopback: real asyncssh servers, each with a key of its own, that run commands in a real shell.

``Estate`` holds them; each host has a folder as its home with a ``bin`` on its PATH, where a test puts a ``netdiag``.
"""

import asyncio
import os
import signal
import socket
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from netdiag.fleet.inventory import Target


@dataclass
class SshHost:
    name: str
    home: Path
    key: asyncssh.SSHKey
    port: int = 0
    commands: list[str] = field(default_factory=list)

    @property
    def target(self) -> Target:
        return Target(name=self.name, address="127.0.0.1", port=self.port, user="ops")

    def netdiag(self, script: str) -> None:
        """A netdiag that is this shell script."""
        path = self.home / "bin" / "netdiag"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


async def said(pipe: Any, to: Any) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    while piece := await reader.read(65536):
        to.write(piece)
        await to.drain()


async def given(process: Any, run: "subprocess.Popen[bytes]") -> None:
    assert run.stdin is not None
    while piece := await process.stdin.read(65536):
        await asyncio.to_thread(run.stdin.write, piece)
    run.stdin.close()


class Door(asyncssh.SSHServer):
    """Lets in whoever has a key or certificate that the host knows."""


class Estate:
    """The hosts, an authority for their keys, and the client's key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hosts: dict[str, SshHost] = {}
        self.stack = ExitStack()
        self.running: list[subprocess.Popen[bytes]] = []
        self.authority = asyncssh.generate_private_key("ssh-ed25519")
        self.users_authority = asyncssh.generate_private_key("ssh-ed25519")
        self.client = asyncssh.generate_private_key("ssh-ed25519")
        self.client.write_private_key(str(folder / "id"))
        (folder / "id").chmod(0o600)

    async def __aenter__(self) -> "Estate":
        return self

    async def __aexit__(self, *_: object) -> None:
        for run in self.running:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
        self.stack.close()

    async def host(self, name: str, *, certified: str | None = None) -> SshHost:
        """A host; ``certified``: it shows a certificate of the authority for this name."""
        home = self.folder / name
        (home / "bin").mkdir(parents=True)
        host = SshHost(name, home, asyncssh.generate_private_key("ssh-ed25519"))
        certificate = (
            self.authority.generate_host_certificate(host.key, "h", principals=[certified]) if certified else None
        )
        allowed = self.client.export_public_key().decode()
        signed = f"cert-authority {self.users_authority.export_public_key().decode()}"

        async def shell(process: Any) -> None:
            host.commands.append(process.command)
            path = f"{home / 'bin'}:{os.environ['PATH']}"
            run = subprocess.Popen(
                ["/bin/sh", "-c", process.command], cwd=home, env={"HOME": str(home), "PATH": path},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
            )  # fmt: skip
            self.running.append(run)
            feed = asyncio.create_task(given(process, run))
            try:
                await asyncio.gather(said(run.stdout, process.stdout), said(run.stderr, process.stderr))
                process.exit(await asyncio.to_thread(run.wait))
            except (OSError, asyncssh.Error):
                run.kill()  # nobody listens any more
            finally:
                feed.cancel()

        listener = await asyncssh.listen(
            "127.0.0.1", 0, server_factory=Door, process_factory=shell, encoding=None,
            server_host_keys=[(host.key, certificate)] if certificate else [host.key],
            authorized_client_keys=asyncssh.import_authorized_keys(f"{allowed}\n{signed}\n"),
        )  # fmt: skip
        self.stack.callback(listener.close)
        host.port = listener.get_port()
        self.hosts[name] = host
        return host

    def silent(self) -> int:
        """A port that takes connections and says nothing."""
        server = socket.create_server(("127.0.0.1", 0))
        self.stack.callback(server.close)
        return int(server.getsockname()[1])

    def known_hosts(self, *names: str) -> str:
        """A file with the keys of these hosts, and the authority."""
        lines = [
            f"[{name}]:{self.hosts[name].port} {self.hosts[name].key.export_public_key().decode()}" for name in names
        ]
        lines.append(f"@cert-authority * {self.authority.export_public_key().decode()}")
        path = self.folder / "known_hosts"
        path.write_text("\n".join(line.strip() for line in lines) + "\n")
        return str(path)
