"""The nftables ruleset of this namespace, and the tables of iptables-legacy beside it.

Source: nfnetlink dumps of nf_tables (net/netfilter/nf_tables_api.c); /proc/net/{ip,ip6,arp}_tables_names and
getsockopt(2), see netdiag.sources.xtables. Needs
CAP_NET_ADMIN in the namespace (else denied). Asking a kernel without nf_tables would load the module, so it is asked
only where /proc/modules, modules.builtin, the kernel's own configuration or the lack of any module loader show that
it is there already; absent where nothing does. Inconsistent where the ruleset changed while it was read.
"""

import zlib

import msgspec

from netdiag.collectors import Collected, Options
from netdiag.model.coverage import Status
from netdiag.model.nft import Nft, NftFlowtable, NftObject, NftRule, NftSet, NftTable, XtTable
from netdiag.sources import xtables
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink import nftables
from netdiag.sources.netlink.attributes import DecodeError
from netdiag.sources.netlink.messages import DumpRequest
from netdiag.sources.netlink.nftexpressions import flag_names
from netdiag.sources.protocol import Source, Unreadable

ATTEMPTS = 3
"""How often a ruleset that changes while it is read is read again."""
ELEMENTS_IN_ALL = 131072
XT_NAMES = {"ip": "ip_tables_names", "ip6": "ip6_tables_names", "arp": "arp_tables_names"}


def _read(source: Source, path: str) -> bytes:
    try:
        return source.read(path)
    except Unreadable:
        return b""


def has_module(source: Source, module: str, option: str) -> bool:
    """Whether a part of the kernel is there, without asking for it: ``nf_tables``, ``CONFIG_NF_TABLES``."""
    if f"\n{module} ".encode() in b"\n" + _read(source, "/proc/modules"):
        return True
    try:
        if not source.read("/proc/sys/kernel/modprobe").strip():
            return True  # nothing can be loaded: asking is safe, and the answer tells
    except Unreadable as trouble:
        if trouble.why == "absent":
            return True  # a kernel without loadable modules
    _, release = source.uname()
    if f"/{module}.ko\n".encode() in _read(source, f"/lib/modules/{release}/modules.builtin"):
        return True
    try:
        config = zlib.decompress(_read(source, "/proc/config.gz"), 31)
    except zlib.error:
        return False
    return f"\n{option}=y\n".encode() in config


def read_xtables(source: Source) -> tuple[tuple[XtTable, ...], tuple[NftTable, ...]]:
    """Tables of iptables-legacy that somebody has used in this namespace: reading their names makes none."""
    found: list[XtTable] = []
    read: list[NftTable] = []
    for family, name in XT_NAMES.items():
        for table in sorted(_read(source, f"/proc/self/net/{name}").decode("ascii", "replace").split()):
            rules = None
            if family in xtables.SHAPES:
                try:
                    read.append(xtables.parse(family, source.fetch("xtables", f"{family} {table}")))
                    rules = sum(len(chain.rules) for chain in read[-1].chains)
                except (Unreadable, ValueError):
                    pass
            found.append(XtTable(family=family, name=table, rules=rules))
    return tuple(found), tuple(read)


def _generation(source: Source) -> int | None:
    (reply,) = source.ask("NFT_MSG_GETGEN", nl.NETLINK_NETFILTER, nftables.GETGEN, [bytes(4)])
    if reply.errno in (1, 13):
        raise Unreadable("denied", "NFT_MSG_GETGEN: CAP_NET_ADMIN is missing")
    return nftables.generation_of(reply)


class _Ruleset:
    """One reading of everything."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.consistent = True
        self.malformed = 0

    def dump(self, request: DumpRequest, kind: int) -> list[nftables.Row]:
        sink = nftables.RowSink(kind)
        self.consistent &= self.source.dump(request, sink).consistent
        return sink.rows

    def read(self) -> tuple[NftTable, ...]:
        """Every table with what is in it."""
        tables = self.dump(nftables.tables(), 0)
        chains = self.dump(nftables.chains(), 3)
        rules: dict[tuple[str, str, str], list[NftRule]] = {}
        for row in self.dump(nftables.rules(), 6):
            key = (row.family, nftables.text(row.found, 1), nftables.text(row.found, 2))
            rules.setdefault(key, []).append(nftables.rule_of(row))
        sets = self._sets()
        flowtables: dict[tuple[str, str], list[NftFlowtable]] = {}
        for row in self._flowtables():
            place = (row.family, nftables.text(row.found, 1))
            flowtables.setdefault(place, []).append(nftables.flowtable_of(row))
        objects: dict[tuple[str, str], list[NftObject]] = {}
        for row in self.dump(nftables.objects(), 18):
            objects.setdefault((row.family, nftables.text(row.found, 1)), []).append(nftables.object_of(row))
        found = []
        for row in tables:
            name = nftables.text(row.found, 1)
            place = (row.family, name)
            own = tuple(
                nftables.chain_of(chain, tuple(rules.get((*place, nftables.text(chain.found, 3)), ())))
                for chain in chains
                if (chain.family, nftables.text(chain.found, 1)) == place
            )
            found.append(
                NftTable(
                    family=row.family,
                    name=name,
                    handle=nftables.wide(row.found, 4),
                    flags=flag_names(nftables.TABLE_FLAGS, nftables.number(row.found, 2)),
                    chains=own,
                    sets=tuple(sets.get(place, ())),
                    flowtables=tuple(flowtables.get(place, ())),
                    objects=tuple(objects.get(place, ())),
                )
            )
        return tuple(found)

    def _flowtables(self) -> list[nftables.Row]:
        try:
            return self.dump(nftables.flowtables(), 22)
        except Unreadable as trouble:
            if trouble.why == "denied":
                raise
            return []  # Linux before 4.16

    def _sets(self) -> dict[tuple[str, str], list[NftSet]]:
        found: dict[tuple[str, str], list[NftSet]] = {}
        left = ELEMENTS_IN_ALL
        for row in self.dump(nftables.sets(), 9):
            table = nftables.text(row.found, 1)
            one = nftables.set_of(row)
            if left > 0:
                sink = nftables.ElementSink(one)
                self.consistent &= self.source.dump(nftables.elements(row.family, table, one.name), sink).consistent
                self.malformed += sink.malformed
                one = sink.finish()
                left -= len(one.elements)
            else:
                one = msgspec.structs.replace(one, complete=False)
            found.setdefault((row.family, table), []).append(one)
        return found


def collect(source: Source, options: Options) -> Collected:
    """The whole ruleset, read again where it changed meanwhile."""
    names, legacy = read_xtables(source)
    if not has_module(source, "nf_tables", "CONFIG_NF_TABLES"):
        if names:
            return Collected(tables={"nft": Nft(xtables=names, legacy=legacy)}, rows=len(names))
        raise Unreadable("absent", "the kernel has no nf_tables loaded")
    ruleset = _Ruleset(source)
    tables: tuple[NftTable, ...] = ()
    for attempt in range(ATTEMPTS):
        ruleset = _Ruleset(source)
        before = _generation(source)
        try:
            tables = ruleset.read()
        except DecodeError as error:
            raise Unreadable("failed", f"nf_tables: {error}") from error
        except Unreadable:
            # A set or table that went between two dumps answers ENOENT.
            if attempt == ATTEMPTS - 1 or _generation(source) == before:
                raise
            continue
        if ruleset.consistent and _generation(source) == before:
            break
    else:
        ruleset.consistent = False
    rows = sum(len(chain.rules) for table in tables for chain in table.chains)
    status: Status = "ok"
    detail = ""
    if ruleset.malformed:
        status, detail = "partial", f"{ruleset.malformed} elements could not be decoded"
    elif not ruleset.consistent:
        status, detail = "inconsistent", "the ruleset changed while it was read"
    return Collected(
        tables={"nft": Nft(generation=before, tables=tables, xtables=names, legacy=legacy)},
        rows=rows,
        status=status,
        detail=detail,
    )
