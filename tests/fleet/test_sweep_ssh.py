"""The sweep over real SSH, on loopback: known keys, certificates, a netdiag that is sent, hosts that do harm."""

import asyncio
import stat
from pathlib import Path

import asyncssh
import pytest

from netdiag.fleet.sweep.remote import Command, digest_of
from netdiag.fleet.sweep.run import Limits, Sweep
from netdiag.fleet.sweep.ssh import Identity, SshRefused, SshTransport, known_hosts
from netdiag.fleet.sweep.vault import VaultSigner
from netdiag.model.sweep import Outcome, Target
from tests.fleet.sshhosts import Estate, SshHost
from tests.fleet.test_sweep import begun, of
from tests.fleet.webserver import Api

pytestmark = pytest.mark.timed

DEADLINE = 3.0


def transport(estate: Estate, known: str, **given: object) -> SshTransport:
    identity = Identity(files=(str(estate.folder / "id"),)) if "identity" not in given else given.pop("identity")
    shipped = given.pop("shipped", None)
    return SshTransport(identity, known_hosts([known]), Command(deadline=DEADLINE, **given), shipped)  # type: ignore[arg-type]


async def swept(estate: Estate, way: SshTransport, targets: list[Target]) -> dict[str, Outcome]:
    ledger = begun(estate.folder / f"store{len(list(estate.folder.glob('store*')))}", [])
    ledger.plan = type(ledger.plan)(netdiag="0", started="x", inventory="x", targets=tuple(targets))
    await Sweep(ledger, way, Limits(deadline=DEADLINE, octets=1 << 20)).run()
    return ledger.outcomes


def healthy(host: SshHost) -> None:
    (host.home / "snapshot").write_bytes(of(host.name))
    host.netdiag('[ "$1 $2 $3" = "collect -o -" ] && cat "$HOME/snapshot"')


def test_healthy_dead_and_hostile_hosts(tmp_path: Path) -> None:
    async def story() -> None:
        async with Estate(tmp_path) as estate:
            for name in ("fra-a", "fra-b"):
                healthy(await estate.host(name))
            scripts = {
                "endless": "exec cat /dev/zero",
                "chatter": "exec cat /dev/zero >&2",
                "drip": "printf PK; exec tail -f /dev/null",
                "broken": "echo first >&2; echo 'no \033[31mroot' >&2; exit 3",
                "killed": "kill -9 $$",
                "garbage": "echo hello",
            }
            for name, script in scripts.items():
                (await estate.host(name)).netdiag(script)
            await estate.host("without")
            liar = await estate.host("liar")
            healthy(liar)
            (liar.home / "snapshot").write_bytes(of("fra-a"))
            for name in ("changed", "unknown"):
                healthy(await estate.host(name))
            known = estate.known_hosts(*(set(estate.hosts) - {"unknown"}))
            content = Path(known).read_text().splitlines()
            stranger = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
            content = [line.partition(" ")[0] + " " + stranger if "[changed]" in line else line for line in content]
            Path(known).write_text("\n".join(content))
            targets = [host.target for host in estate.hosts.values()] + [
                Target(name="closed", address="127.0.0.1", port=1),
                Target(name="silent", address="127.0.0.1", port=estate.silent()),
                Target(name="nameless", address="no-such-host.invalid"),
            ]
            outcomes = await swept(estate, transport(estate, known), targets)
        told = {name: f"{outcome.status}: {outcome.reason}" for name, outcome in outcomes.items()}
        assert told == {
            "fra-a": "collected: ",
            "fra-b": "collected: ",
            "endless": "refused: sent more than 1048576 bytes; the rest was not read",
            "chatter": "refused: wrote more than 1048576 bytes to standard error",
            "drip": "unreached: no whole snapshot within 3 s; 2 bytes came",
            "broken": "unreached: netdiag ended with status 3: no \x1b[31mroot",
            "killed": told["killed"],
            "garbage": "refused: not a readable snapshot: not a zip file, or cut short",
            "without": "unreached: there is no netdiag on the host; --ship FILE sends one",
            "liar": "refused: wrong identity: the snapshot is of fra-a",
            "changed": "refused: the host key is not the one known for changed",
            "unknown": told["unknown"],
            "closed": "unreached: 127.0.0.1 port 1: connection refused",
            "silent": "unreached: no whole snapshot within 3 s; 0 bytes came",
            "nameless": told["nameless"],
        }
        assert told["killed"].startswith("unreached: netdiag ended ")
        assert told["unknown"].startswith("refused: ") and "known for unknown" in told["unknown"]
        assert told["nameless"].startswith("unreached: no-such-host.invalid: ")
        # Hosts whose key is not right were asked nothing.
        assert not estate.hosts["changed"].commands and not estate.hosts["unknown"].commands

    asyncio.run(story())


def test_netdiag_is_sent_once_and_used_again(tmp_path: Path) -> None:
    pyz = (
        b"import sys, os; sys.stdout.buffer.write(open(os.environ['HOME'] + '/snapshot', 'rb').read())\n"
        + b"#" * 300_000
    )

    async def story() -> None:
        async with Estate(tmp_path) as estate:
            host = await estate.host("fra-a")
            (host.home / "snapshot").write_bytes(of("fra-a"))
            way = transport(estate, estate.known_hosts("fra-a"), shipped=pyz)
            sent = host.home / ".cache/netdiag/sent"
            for looks, expected in ((2, "collected"), (3, "collected")):
                outcome = (await swept(estate, way, [host.target]))["fra-a"]
                assert (outcome.status, len(host.commands)) == (expected, looks), outcome.reason
            assert stat.S_IMODE(sent.stat().st_mode) == 0o700
            (file,) = sent.iterdir()
            file.write_bytes(b"print('not what was sent')")  # then it is sent anew
            (sent / "older.pyz").write_bytes(b"")
            assert (await swept(estate, way, [host.target]))["fra-a"].status == "collected"
            assert [path.name for path in sent.iterdir()] == [f"{digest_of(pyz)}.pyz"]
            healthy(host)  # what is installed comes first
            host.commands.clear()
            assert (await swept(estate, way, [host.target]))["fra-a"].status == "collected" and len(host.commands) == 1

    asyncio.run(story())


def test_certificates_of_hosts_and_of_vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "vault-secret")

    def sign(body: bytes) -> tuple[int, dict[str, object]]:
        import json

        told = json.loads(body)
        key = asyncssh.import_public_key(told["public_key"])
        certificate = authority.generate_user_certificate(key, "sweep", principals=[told["valid_principals"]])
        assert told["cert_type"] == "user" and told["ttl"] == "60s"
        return 200, {"data": {"signed_key": certificate.export_certificate().decode()}}

    async def story() -> None:
        nonlocal authority
        async with Estate(tmp_path) as estate:
            authority = estate.users_authority
            for name, certified in (("fra-a", "fra-a"), ("fra-b", "somebody-else")):
                healthy(await estate.host(name, certified=certified))
            known = estate.known_hosts()
            targets = [host.target for host in estate.hosts.values()]
            with Api() as api:
                api.answers["/v1/ssh/sign/sweep"] = sign
                identity = Identity(vault=VaultSigner(api.url, "sweep", "ssh", 1.0))
                outcomes = await swept(estate, transport(estate, known, identity=identity), targets)
                assert outcomes["fra-a"].status == "collected", outcomes["fra-a"].reason
                assert outcomes["fra-b"].reason == (
                    "the host key is not the one known for fra-b: certificate principal mismatch"
                )
                assert [row[3]["x-vault-token"] for row in api.asked] == ["vault-secret"]
                api.answers["/v1/ssh/sign/other"] = 400, {"errors": ["unknown role"]}
                identity = Identity(vault=VaultSigner(api.url, "other", "ssh", 1.0))
                outcomes = await swept(estate, transport(estate, known, identity=identity), targets[:1])
                assert outcomes["fra-a"].reason.startswith("no certificate from Vault: http://127.0.0.1")
            stranger = asyncssh.generate_private_key("ssh-ed25519")
            stranger.write_private_key(str(tmp_path / "stranger"))
            identity = Identity(files=(str(tmp_path / "stranger"),))
            outcomes = await swept(estate, transport(estate, known, identity=identity), targets[:1])
            assert outcomes["fra-a"].reason == "permission denied for ops"

    authority: asyncssh.SSHKey
    asyncio.run(story())


def test_known_hosts_and_keys_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad").write_text("@nonsense x ssh-ed25519 AAAA\n")
    for path in (str(tmp_path / "none"), str(tmp_path / "bad")):
        with pytest.raises(SshRefused, match=path):
            known_hosts([path])
    monkeypatch.setattr("netdiag.fleet.sweep.ssh.KNOWN_HOSTS", ("/nonexistent",))
    with pytest.raises(SshRefused, match="no host key is known"):
        known_hosts([])
    (tmp_path / "known").write_text("")
    with pytest.raises(SshRefused, match="bad: "):
        SshTransport(Identity(files=(str(tmp_path / "bad"),)), known_hosts([str(tmp_path / "known")]), Command())
