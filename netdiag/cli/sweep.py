"""``netdiag sweep``: snapshots of a whole inventory, over SSH, into a folder."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from netdiag.cli import _output
from netdiag.cli._errors import NO_VERDICT, Refused, Terminated, Usage
from netdiag.cli._verb import Seconds, Session, Verb, all_netns_option, interval_option, json_option

if TYPE_CHECKING:
    from netdiag.fleet.sweep.ledger import Ledger
    from netdiag.fleet.sweep.remote import Command
    from netdiag.fleet.sweep.run import Progress, Sweep
    from netdiag.fleet.sweep.ssh import SshTransport
    from netdiag.model.sweep import Plan

SHIPPED_LIMIT = 256
"""MiB of a file for --ship."""


@click.command(cls=Verb, short_help="Collect snapshots of all hosts of an inventory over SSH.")
@click.option("--inventory", metavar="SPEC", help="file:PATH, ansible:PATH, consul:URL or nomad:URL.")
@click.option("-o", "output", required=True, metavar="DIR|STORE",
              help="Each sweep makes a folder in DIR, or is loaded into the store.")  # fmt: skip
@click.option("--spool", metavar="DIR", help="Where snapshots for a store stay [~/.local/state/netdiag/sweeps].")
@click.option("--resume", is_flag=True, help="Go on with the newest sweep of DIR, if it was not finished.")
@click.option("--user", metavar="NAME", help="Log in as NAME, where the inventory does not say.")
@click.option("--identity", multiple=True, metavar="FILE", help="Private key (FILE-cert.pub beside it); repeatable.")
@click.option("--known-hosts", multiple=True, metavar="FILE", help="Host keys and @cert-authority lines; repeatable.")
@click.option("--vault", metavar="URL", help="Let Vault's SSH engine sign a key (token in VAULT_TOKEN).")
@click.option("--vault-role", metavar="ROLE", help="Role of the SSH engine.")
@click.option("--vault-mount", metavar="PATH", default="ssh-client-signer", show_default=True, help="Its mount.")
@click.option("--netdiag", "program", metavar="PATH", default="netdiag", show_default=True, help="netdiag on hosts.")
@click.option("--ship", metavar="FILE", help="netdiag.pyz (make pyz), sent to hosts that have none.")
@click.option("--become", is_flag=True, help="Run it through sudo -n.")
@click.option("--concurrency", type=click.IntRange(1, 4096), default=64, show_default=True, help="Hosts at once.")
@click.option("--deadline", type=Seconds(positive=True), default=60.0, show_default=True, metavar="SECONDS",
              help="Time for each host.")  # fmt: skip
@click.option("--limit", type=click.IntRange(1, 1024), default=64, show_default=True, metavar="MIB",
              help="What a host may send.")  # fmt: skip
@interval_option()
@all_netns_option()
@json_option()
def command(
    session: Session,
    *,
    inventory: str | None,
    output: str,
    spool: str | None,
    resume: bool,
    user: str | None,
    identity: tuple[str, ...],
    known_hosts: tuple[str, ...],
    vault: str | None,
    vault_role: str | None,
    vault_mount: str,
    program: str,
    ship: str | None,
    become: bool,
    concurrency: int,
    deadline: float,
    limit: int,
    interval: float,
    all_netns: bool,
    as_json: bool,
) -> int:
    """Collect a snapshot of every host of an inventory into a folder of DIR, with a ledger of what became of each.

    Every host ends as collected, unreached or refused. Host keys must be known: a host whose key is not known, or has
    changed, is not asked. netdiag fleet check DIR judges what came.

    Exit status: 0 all hosts collected, 1 some not, 3 none.
    """
    if session.replay is not None:
        raise Usage("--replay and sweep exclude each other")
    if bool(vault) != bool(vault_role):
        raise Usage("--vault and --vault-role go together")
    from netdiag.fleet.sweep.remote import Command
    from netdiag.fleet.sweep.run import Limits, Sweep

    store, top = _places(output, spool)
    plan = _plan(top, inventory, resume)
    how = Command(program=program, become=become, interval=interval, deadline=deadline, all_netns=all_netns)
    transport = _transport(
        user=user, files=identity, known=known_hosts, vault=(vault, vault_role, vault_mount), ship=ship, how=how
    )
    limits = Limits(concurrency=concurrency, deadline=deadline, octets=limit << 20)
    ledger = _begun(top, plan)
    with _output.ticker() as tick:
        _run(Sweep(ledger, transport, limits), tick)
    if store is not None:
        _load(ledger, store)
    from netdiag.render.sweep import sweep_json, sweep_text

    if as_json:
        _output.emit([sweep_json(ledger)], utf8=True)
    else:
        _output.emit([sweep_text(ledger, verbose=session.verbose)])
    collected = sum(outcome.status == "collected" for outcome in ledger.outcomes.values())
    return 0 if collected == len(ledger.plan.targets) else 1 if collected else NO_VERDICT


def _places(output: str, spool: str | None) -> tuple[str | None, str]:
    """The store, if it is one, and the folder of sweeps. Raises Usage."""
    from netdiag.fleet.files import remote
    from netdiag.fleet.load import MARKER

    if not output:
        raise Usage("-o is empty")
    if not remote(output) and not os.path.isfile(os.path.join(output, MARKER)):
        if spool is not None:
            raise Usage("--spool is for a store")
        return None, output
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return output, spool or os.path.join(state, "netdiag", "sweeps")


def _load(ledger: "Ledger", store: str) -> None:
    """What was swept, into the store. Raises Refused; the sweep's folder stays, and netdiag fleet load takes it."""
    import time

    from netdiag.fleet.files import FleetRefused
    from netdiag.fleet.store.place import StoreRefused
    from netdiag.fleet.store.write import load_into

    try:
        with _output.progress("loading"):
            load_into([str(ledger.folder)], store, now=time.time())
    except (FleetRefused, StoreRefused) as error:
        raise Refused(f"{error}; what was swept is in {ledger.folder}") from error


def _line(done: "Progress") -> str:
    counts = done.counts
    return (
        f"{done.done} of {done.total} hosts: {counts['collected']} collected, {counts['unreached']} unreached, "
        f"{counts['refused']} refused; {done.running} at work"
    )


def _transport(
    *,
    user: str | None,
    files: tuple[str, ...],
    known: tuple[str, ...],
    vault: tuple[str | None, str | None, str],
    ship: str | None,
    how: "Command",
) -> "SshTransport":
    """Everything that SSH needs. Raises Refused."""
    from netdiag.fleet.sweep.ssh import Identity, SshRefused, SshTransport, known_hosts
    from netdiag.fleet.sweep.vault import VaultSigner
    from netdiag.fleet.webapi import ApiRefused

    url, role, mount = vault
    try:
        signer = VaultSigner(url, role, mount, how.deadline * 4) if url and role else None
        identity = Identity(user=user, files=files, vault=signer)
        return SshTransport(identity, known_hosts(known), how, _shipped(ship))
    except (SshRefused, ApiRefused) as error:
        raise Refused(str(error)) from error


def _shipped(path: str | None) -> bytes | None:
    """The file for hosts without netdiag. Raises Refused."""
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            content = file.read((SHIPPED_LIMIT << 20) + 1)
    except (OSError, ValueError) as error:
        raise Refused(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > SHIPPED_LIMIT << 20 or b"PK\x03\x04" not in content[:256]:
        raise Refused(f"{path}: is not what make pyz builds")
    return content


def _plan(output: str, inventory: str | None, resume: bool) -> "Ledger | Plan":
    """The sweep to go on with, or the plan of a new one. Raises Usage, Refused."""
    from datetime import UTC, datetime

    import netdiag
    from netdiag.fleet.inventory import InventoryRefused, UnknownInventory, read_inventory
    from netdiag.fleet.sweep import ledger
    from netdiag.fleet.sweep.run import utc
    from netdiag.model.sweep import Plan

    try:
        found = ledger.unfinished(output) if resume else None
        if found is not None:
            _output.complain(f"going on with {found.folder}: {len(found.waiting)} of {len(found.plan.targets)} hosts")
            return found
        if inventory is None:
            raise Usage("nothing to resume; give --inventory SPEC" if resume else "--inventory SPEC is missing")
        if os.path.exists(output) and not os.path.isdir(output):
            raise Usage(f"{output}: is not a directory")
        told = read_inventory(inventory)
    except UnknownInventory as error:
        raise Usage(str(error)) from error
    except InventoryRefused as error:
        raise Refused(str(error)) from error
    except ledger.LedgerRefused as error:
        raise Refused(str(error)) from error
    return Plan(
        netdiag=netdiag.__version__,
        started=utc(datetime.now(UTC)),
        inventory=f"{str(inventory).partition(':')[0]}:{told.source}",
        targets=told.targets,
    )


def _begun(output: str, plan: "Ledger | Plan") -> "Ledger":
    """The ledger, with a folder. Raises Usage."""
    from netdiag.fleet.sweep import ledger
    from netdiag.snapshotfile import OutputRefused

    if isinstance(plan, ledger.Ledger):
        return plan
    try:
        return ledger.begin(output, plan)
    except (ledger.LedgerRefused, OutputRefused) as error:
        raise Usage(str(error)) from error


def _run(sweep: "Sweep", tick: Callable[[str], None]) -> None:
    """Until all hosts have ended. Raises Usage where the folder cannot be written, Terminated."""
    import asyncio
    import resource
    import signal

    from netdiag.fleet.sweep.ledger import LedgerRefused
    from netdiag.snapshotfile import OutputRefused

    async def stoppable() -> None:
        # A signal handler that raises would hit whichever task is running, and cost one host instead of the sweep.
        loop, task, terminated = asyncio.get_running_loop(), asyncio.current_task(), False

        def stop() -> None:
            nonlocal terminated
            terminated = True
            if task is not None:
                task.cancel()

        async def shown() -> None:
            while True:
                tick(_line(sweep.progress))
                await asyncio.sleep(_output.TICK)

        loop.add_signal_handler(signal.SIGTERM, stop)
        watching = asyncio.create_task(shown())
        try:
            await sweep.run()
        except asyncio.CancelledError:
            if terminated:
                raise Terminated from None
            raise
        finally:
            watching.cancel()

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a host takes a few; 1024 is soon too little
    try:
        asyncio.run(stoppable())
    except (LedgerRefused, OutputRefused) as error:
        raise Usage(str(error)) from error
