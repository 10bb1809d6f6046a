"""SSH, by asyncssh: a host's key is known or its certificate is signed by a known authority, or nothing is asked of it.

Keys are looked up under the host's alias, else the address where that is a name, else its name, and where none stands
there, under the address itself; never under an address that a name happened to resolve to. No password is ever tried,
no file of SSH's own configuration is read, no agent is forwarded. Names are resolved in threads of their own, so that a
resolver that hangs holds up its own host only.
"""

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netdiag.fleet.sweep.accept import is_address
from netdiag.fleet.sweep.remote import BROKEN, MISSING, Command, digest_of
from netdiag.fleet.sweep.transport import Refused, Sink, Unreached
from netdiag.fleet.sweep.vault import VaultSigner
from netdiag.model.sweep import Target

if TYPE_CHECKING:
    import asyncssh

PIECE = 1 << 16
SAID = 1000
"""Bytes of standard error that are kept."""
CHATTER = 1 << 20
"""Bytes of standard error that are borne."""
CONNECTING = 0.3
"""Of the host's deadline, what addresses that do not answer may take before the last is tried."""
KNOWN_HOSTS = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")


class SshRefused(Exception):
    """SSH cannot be set up: no known hosts, a key that cannot be read; one line."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """With what the sweep shows itself."""

    user: str | None = None
    files: tuple[str, ...] = ()
    """Private keys; a certificate lies beside as FILE-cert.pub."""
    vault: VaultSigner | None = None


def known_hosts(files: Sequence[str]) -> "asyncssh.SSHKnownHosts":
    """Host keys and authorities of the files, or of the usual ones that are there. Raises SshRefused."""
    import asyncssh

    wanted = list(files) or [path for name in KNOWN_HOSTS if os.path.exists(path := os.path.expanduser(name))]
    if not wanted:
        raise SshRefused(f"no host key is known: neither {' nor '.join(KNOWN_HOSTS)} is there; give --known-hosts FILE")
    try:
        return asyncssh.read_known_hosts(wanted)
    except (OSError, ValueError) as error:
        name = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else f"{', '.join(wanted)}: {error}"
        raise SshRefused(" ".join(name.split())) from error


class SshTransport:
    """One connection a host."""

    def __init__(
        self,
        identity: Identity,
        known: "asyncssh.SSHKnownHosts",
        command: Command,
        shipped: bytes | None = None,
    ) -> None:
        import asyncssh

        asyncssh.set_log_level(logging.CRITICAL)  # what went wrong is told once, in the ledger
        self.identity = identity
        self.known = known
        self.command = command
        self.shipped = shipped
        self.digest = digest_of(shipped) if shipped is not None else None
        try:
            self.keys: Any = asyncssh.load_keypairs(list(identity.files)) if identity.files else ()
        except (OSError, ValueError) as error:
            raise SshRefused(f"{', '.join(identity.files)}: {' '.join(str(error).split())}") from error

    async def fetch(self, target: Target, sink: Sink) -> None:
        """Run netdiag on the host. Raises Unreached, Refused."""
        connection = await self._connected(target)
        try:
            status, said = await self._run(connection, self.command.look(self.digest), sink, None)
            if status == MISSING and not sink.octets and self.shipped is not None and self.digest is not None:
                status, said = await self._run(connection, self.command.send(self.digest), sink, self.shipped)
        finally:
            connection.abort()
        if status == MISSING and not sink.octets:
            raise Unreached("there is no netdiag on the host" + ("" if self.shipped else "; --ship FILE sends one"))
        if status == BROKEN and not sink.octets:
            raise Unreached(f"netdiag could not be put there{said}")
        if status != 0:
            ended = "by a signal" if status is None or status < 0 else f"with status {status}"
            raise Unreached(f"netdiag ended {ended}{said}")

    async def _connected(self, target: Target) -> "asyncssh.SSHClientConnection":
        """A connection to the first address that answers. Raises Unreached, Refused."""
        port = target.port or 22
        failed = ""
        addresses = await _addresses(target.address, port)
        for number, address in enumerate(addresses, 1):
            alone = None if number == len(addresses) else self.command.deadline * CONNECTING / len(addresses)
            try:
                async with asyncio.timeout(alone):
                    return await self._connection(target, address, port)
            except OSError as error:
                words = os.strerror(error.errno) if error.errno else str(error)
                failed = (words or "no answer").lower()
        raise Unreached(f"{target.address} port {port}: {failed or 'no address'}")

    async def _connection(self, target: Target, address: str, port: int) -> "asyncssh.SSHClientConnection":
        import asyncssh

        user = target.user or self.identity.user
        options: dict[str, Any] = {"client_keys": self.keys} if self.keys else {}
        if self.identity.vault is not None:
            options = {"client_keys": [await self.identity.vault.pair(user or _self())], "agent_path": None}
        lookup = _Lookup(self.known, target)
        try:
            return await asyncssh.connect(
                address,
                port,
                config=None,
                known_hosts=lookup,
                host_key_alias=lookup.alias,
                username=user or _self(),
                preferred_auth=("publickey",),
                login_timeout=0,  # the sweep's own deadline is the only one
                **options,
            )
        except asyncssh.HostKeyNotVerifiable as error:
            raise Refused(lookup.complaint(error.reason)) from error
        except asyncssh.PermissionDenied as error:
            raise Unreached(f"permission denied for {user or _self()}") from error
        except asyncssh.Error as error:
            if isinstance(error, asyncssh.KeyExchangeFailed) and "host key" in error.reason:
                raise Refused(f"it shows no host key of the kinds that are known for {lookup.alias}") from error
            raise Unreached(f"SSH: {error.reason}") from error
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, asyncssh.ConfigParseError) as error:
            raise Unreached(f"no key to show: {error}") from error

    async def _run(
        self, connection: "asyncssh.SSHClientConnection", command: str, sink: Sink, given: bytes | None
    ) -> tuple[int | None, str]:
        """Exit status, and the last words of standard error as the end of a sentence. Raises Unreached, Refused."""
        import asyncssh

        try:
            process = await connection.create_process(
                command, encoding=None, stdin=asyncssh.PIPE if given is not None else asyncssh.DEVNULL
            )
            said = bytearray()
            tasks = [
                asyncio.create_task(_into(process.stdout, sink.write)),
                asyncio.create_task(_into(process.stderr, _keeper(said))),
            ]
            if given is not None:
                tasks.append(asyncio.create_task(_give(process, given)))
            try:
                await asyncio.gather(*tasks)
                await process.wait_closed()
            finally:
                for task in tasks:
                    task.cancel()
        except (OSError, asyncssh.Error) as error:
            raise Unreached(f"the connection broke: {error}") from error
        words = said.decode("utf-8", "backslashreplace").strip().rpartition("\n")[2].strip()
        return process.returncode, f": {words}" if words else ""


class _Lookup:
    """Called by asyncssh for the keys of a host; remembers whether there are any."""

    def __init__(self, known: "asyncssh.SSHKnownHosts", target: Target) -> None:
        self.known = known
        self.address = target.address if is_address(target.address) else ""
        self.alias = target.host_key_alias or (target.name if self.address else target.address)
        self.any = False

    def __call__(self, host: str, addr: str, port: int | None) -> Any:
        found = self.known.match(self.alias, "", port)
        if not any(found) and self.address:
            found = self.known.match("", self.address, port)
        self.any = any(found[:2])
        return found

    def complaint(self, reason: str) -> str:
        """Why the host is not asked; ``reason``: asyncssh's words, of which those on certificates are worth telling."""
        if self.any:
            what = reason.partition(" for host")[0].lower()
            more = f": {what}" if "certificate" in what or "revoked" in what else ""
            return f"the host key is not the one known for {self.alias}{more}"
        return f"no host key is known for {self.alias}"


def _keeper(said: bytearray) -> Any:
    """Keeps the last bytes, and refuses an endless flow."""
    came = 0

    def keep(piece: bytes) -> None:
        nonlocal came
        came += len(piece)
        if came > CHATTER:
            raise Refused(f"wrote more than {CHATTER} bytes to standard error")
        said.extend(piece)
        del said[:-SAID]

    return keep


async def _into(stream: Any, take: Any) -> None:
    while piece := await stream.read(PIECE):
        take(piece)


async def _give(process: "asyncssh.SSHClientProcess[bytes]", content: bytes) -> None:
    view = memoryview(content)
    try:
        for start in range(0, len(view), PIECE):
            process.stdin.write(bytes(view[start : start + PIECE]))
            await process.stdin.drain()
        process.stdin.write_eof()
    except (BrokenPipeError, ConnectionError):
        return  # it ended before it had everything; its status tells why


async def _addresses(name: str, port: int) -> list[str]:
    """Addresses of a name, in the resolver's order. Raises Unreached."""
    if is_address(name.partition("%")[0]):
        return [name]
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def settle(found: list[str], error: OSError | None) -> None:
        if not answer.done():
            answer.set_result(found) if error is None else answer.set_exception(error)

    def resolve() -> None:
        found: list[str] = []
        failed: OSError | None = None
        try:
            rows = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
            found = list(dict.fromkeys(str(row[4][0]) for row in rows))
        except (OSError, UnicodeError) as error:
            failed = error if isinstance(error, OSError) else OSError(str(error))
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, found, failed)

    threading.Thread(target=resolve, daemon=True, name=f"resolve {name}").start()
    try:
        return await answer
    except OSError as error:
        raise Unreached(f"{name}: {error.strerror or error}") from error


def _self() -> str:
    import getpass

    return getpass.getuser()
