"""The real daemons inside lab hosts: BIRD 2, wireguard-go; and what else is loaded: nftables rule sets, BPF objects.

Facts from bird(8), BIRD's user guide on its control socket, wg(8) and the cross-platform userspace interface of
WireGuard (https://www.wireguard.com/xplatform/), nft(8). Every daemon is started in the foreground as a child of the
test process, so that its host takes it down, and is waited for until it answers.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from subprocess import Popen

from tests.lab.host import Host, LabError
from tests.lab.wait import wait_until

BIRD_SOCKET = "/run/bird/bird.ctl"
_START = 10.0  # seconds; a busy machine needs one, a daemon that needs ten has failed


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """A daemon that answers; what it printed is in the file `log` of its host."""

    host: Host
    process: Popen[str]
    log: str

    def kill(self) -> None:
        """End it at once, as a crash would; files that it made stay behind."""
        self.process.kill()
        self.process.wait()


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One peer of a WireGuard interface; keys as in wg(8), base64."""

    public_key: str
    allowed_ips: Sequence[str] = ()
    endpoint: str | None = None
    preshared_key: str | None = None
    persistent_keepalive: int | None = None


def birdd(host: Host, conf: str, *, ctl: str = BIRD_SOCKET, program: str = "bird") -> Daemon:
    """Start BIRD with this configuration and wait until its control socket answers.

    `program` may be a path to another version of BIRD. Raises LabError with BIRD's own words if it does not start.
    """
    name = Path(ctl).stem
    host.write(f"/etc/bird/{name}.conf", conf)
    log = f"/run/log/{name}.log"
    argv = [program, "-f", "-c", f"/etc/bird/{name}.conf", "-s", ctl]
    if program == "bird":
        argv += ["-P", f"/run/bird/{name}.pid"]
    process = host.spawn(*argv, output=log)
    _await(host, process, log, lambda: _answers(ctl), f"BIRD in {host.name} answers")
    return Daemon(host=host, process=process, log=log)


def birdc(host: Host, command: str, ctl: str = BIRD_SOCKET) -> str:
    """What BIRD's own client prints for one command. Raises LabError if there is no daemon."""
    return host.run("birdc", "-s", ctl, command).stdout


def wireguard(host: Host, ifname: str, private_key: str, port: int, peers: Sequence[Peer] = ()) -> Daemon:
    """A userspace WireGuard interface by wireguard-go, configured and still down (`ip link set dev wg0 up`)."""
    log = f"/run/log/{ifname}.log"
    process = host.spawn("wireguard-go", "-f", ifname, output=log)
    path = f"/run/wireguard/{ifname}.sock"
    _await(host, process, log, lambda: _connects(path), f"wireguard-go in {host.name} has made {ifname}")
    configure(host, ifname, private_key, port, peers)
    return Daemon(host=host, process=process, log=log)


def configure(host: Host, ifname: str, private_key: str, port: int, peers: Sequence[Peer] = ()) -> None:
    """Give a WireGuard interface, kernel's or userspace, its keys and peers (`wg setconf`)."""
    lines = ["[Interface]", f"PrivateKey = {private_key}", f"ListenPort = {port}"]
    for peer in peers:
        lines += ["[Peer]", f"PublicKey = {peer.public_key}"]
        lines += [f"AllowedIPs = {', '.join(peer.allowed_ips)}"] if peer.allowed_ips else []
        lines += [f"Endpoint = {peer.endpoint}"] if peer.endpoint else []
        lines += [f"PresharedKey = {peer.preshared_key}"] if peer.preshared_key else []
        lines += [f"PersistentKeepalive = {peer.persistent_keepalive}"] if peer.persistent_keepalive else []
    host.run("wg", "setconf", ifname, "/dev/stdin", text="\n".join(lines) + "\n")


def key_pair(host: Host) -> tuple[str, str]:
    """A new private key and its public key, base64, by wg(8)."""
    private = host.run("wg", "genkey").stdout.strip()
    return private, host.run("wg", "pubkey", text=private).stdout.strip()


def nft(host: Host, ruleset: str) -> None:
    """Load an nftables rule set, as `nft -f` takes it."""
    host.run("nft", "-f", "-", text=ruleset + "\n")


def bpf(host: Host, name: str, source: str) -> str:
    """Compile C for BPF and put the object into the host: its path there, for `ip`, `tc` and `bpftool`.

    `bpf/bpf_helpers.h` and `linux/bpf.h` can be included. Each source is compiled once a process.
    """
    path = f"/run/bpf/{name}.o"
    content = _compiled(source)

    def work() -> None:
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_bytes(content)

    host.call(work)
    return path


@cache
def _compiled(source: str) -> bytes:
    include = f"-I/usr/include/{os.uname().machine}-linux-gnu"  # where Debian keeps asm/types.h
    clang = ["clang", "-O2", "-g", "-Wall", "-Werror", "-target", "bpf", include, "-x", "c", "-c", "-", "-o", "-"]
    done = subprocess.run(clang, input=source.encode(), capture_output=True, check=False)
    if done.returncode != 0:
        raise LabError(f"clang: {done.stderr.decode(errors='replace')}")
    return done.stdout


def _await(host: Host, process: Popen[str], log: str, ready: Callable[[], bool], what: str) -> None:
    """Wait until `ready`, asked inside the host, is true; LabError with the log if the daemon ends or stays silent."""
    try:
        wait_until(lambda: process.poll() is not None or host.call(ready), _START, what)
    except TimeoutError as error:
        raise LabError(f"{error}\n{host.read(log)}") from error
    if process.returncode is not None:
        raise LabError(f"not so: {what}; it exited with {process.returncode}\n{host.read(log)}")


def _connects(path: str) -> bool:
    """Whether something listens on this local socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        return client.connect_ex(path) == 0


def _answers(path: str) -> bool:
    """Whether a BIRD at this control socket greets with its welcome, `0001 BIRD ... ready.`; one that dies does not."""
    with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
        client.settimeout(1)
        return client.connect_ex(path) == 0 and client.recv(64).startswith(b"0001 ")
    return False
