"""What it checks
  Rules of both backends of iptables are in force for the same family: tables of iptables-legacy, and tables that
  iptables-nft made in nftables; and one of them can drop what the other never sees.

Why it matters
  The kernel runs both, one after the other. iptables -S (the nft one on a modern system) and nft list ruleset do not
  show the old tables, so "the rule is nowhere, and packets are dropped". It comes from a container or a tool that
  brings its own iptables, or from an upgrade that switched the alternative without flushing.

Confirm
  iptables-legacy-save; ip6tables-legacy-save
  iptables-nft-save; nft list ruleset
  update-alternatives --display iptables

Fix
  Decide for one backend. iptables-legacy-save > FILE, then iptables-legacy -t TABLE -F and -P ... ACCEPT for each
  table, and load what is still wanted with iptables-nft-restore. Flushing takes rules away that may protect the host:
  load them in the other backend first, and restart the program that made them with the right iptables.

Not flagged
  Empty tables of the old backend: they appear when somebody only lists them. Old tables beside tables of nft itself
  (no iptables-nft rules): two owners, each with its own tool, as Docker beside a firewall of nft. Rules on both sides
  that only translate or count, without a drop on either: info.

References
  wiki.nftables.org "Legacy xtables tools"; net/ipv4/netfilter/ip_tables.c; net/netfilter/nft_compat.c
"""

from collections.abc import Iterable, Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.nft import NftTable
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, iifname, plain, port, rule, table, verdict
from netdiag.rules.nftplaces import chain_subject, xt_program
from netdiag.rules.nftspecimen import verdicts
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="nf-legacy-and-nft-both",
    title="both backends of iptables hold rules for the same family",
    severity="warning",
    reads=("nft",),
    explains=("nf-accept-does-not-win",),
)

TABLES = {"filter", "nat", "mangle", "raw", "security"}
CHAINS = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}


def check(view: HostView) -> Iterator[Draft]:
    for family in ("ip", "ip6"):
        old = [one for one in view.nft.legacy if one.family == family and _filled(one)]
        new = [one for one in view.nft.tables if one.family == family and _of_iptables(one) and _filled(one)]
        if old and new:
            yield _finding(family, old, new)


def _of_iptables(one: NftTable) -> bool:
    """Whether iptables-nft made the table: what it can say in nft's own terms carries no mark but the names."""
    named = one.name in TABLES and any(chain.base and chain.name in CHAINS for chain in one.chains)
    return named and not one.dormant


def _filled(one: NftTable) -> bool:
    return any(chain.rules or chain.policy == "drop" for chain in one.chains)


def _stops(tables: Iterable[NftTable]) -> bool:
    return any(
        chain.policy == "drop"
        or any(e.key == "REJECT" for one in chain.rules for e in one.expressions)
        or any(said == "drop" for one in chain.rules for said, _, _ in verdicts(table, one))
        for table in tables
        for chain in table.chains
    )


def _words(tables: Iterable[NftTable]) -> str:
    """``2 rules``; the policies that drop, where there is no rule."""
    count = sum(len(chain.rules) for table in tables for chain in table.chains)
    dropping = [chain.name for table in tables for chain in table.chains if chain.policy == "drop"]
    if not count and dropping:
        return f"the policy drop of {', '.join(dropping)}"
    return f"{count} rule{'' if count == 1 else 's'}"


def _finding(family: str, old: list[NftTable], new: list[NftTable]) -> Draft:
    program, first = xt_program(old[0]), old[0]
    base = next(
        (chain for chain in first.chains if chain.base and (chain.rules or chain.policy == "drop")), first.chains[0]
    )
    names = ", ".join(one.name for one in old)
    stops = _stops(old) or _stops(new)
    modern = program.replace("legacy", "nft")
    return RULE.found(
        subject=subject("nft-chain", family=family, table=first.name, chain=base.name, backend="legacy"),
        message=f"{_words(old)} of {program} ({names}) and {_words(new)} of {modern} are in force together: each tool"
        " shows only its own",
        evidence=[
            (f"tables of {program}", names, f"/proc/net/{family}_tables_names, IPT_SO_GET_ENTRIES"),
            ("policies of the old backend", _policies(old), "IPT_SO_GET_ENTRIES"),
            (f"tables of {modern}", ", ".join(one.name for one in new), "NFT_MSG_GETRULE NFTA_RULE_COMPAT"),
        ],
        confirm=[f"{program} -t {first.name} -S", f"{modern} -S"],
        fix=f"{program}-save, then {program} -t {first.name} -F, and load what is still wanted with {modern}-restore",
        severity="warning" if stops else "info",
        breaks=[chain_subject(one, chain) for one in old for chain in one.chains],
    )


def _policies(tables: list[NftTable]) -> str:
    found = [
        f"{one.name} {chain.name} {chain.policy}" for one in tables for chain in one.chains if chain.policy == "drop"
    ]
    return ", ".join(found) or "accept"


def examples() -> Iterator[Example]:
    drop, take = rule(port(6, 80), verdict("drop")), rule(iifname("docker0"), verdict("accept"))

    def side(*rules: object, policy: str = "accept", compat: bool = False, family: str = "ip") -> NftTable:
        marked = [rule(one.expressions, compat=compat) for one in rules]  # type: ignore[attr-defined]
        return table(chain("FORWARD", *marked, hook="forward", policy=policy), family=family)

    def case(name: str, why: str, host: HostBuilder, fires: int = 0, severity: object = None) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=fires, severity=severity)  # type: ignore[arg-type]

    new = side(take, compat=True)
    about = HostBuilder().nft(new, legacy=(side(drop),))
    yield case("both with rules", "the old one drops unseen", about, 1, "warning")
    policy = HostBuilder().nft(new, legacy=(side(policy="drop"),))
    yield case("an old policy", "no rule, but it drops", policy, 1, "warning")
    six = HostBuilder().nft(side(take, compat=True, family="ip6"), legacy=(side(drop, family="ip6"),))
    yield case("IPv6", "ip6tables has two backends too", six, 1, "warning")
    nat = rule(plain("counter"), verdict("accept"))
    harmless = HostBuilder().nft(new, legacy=(side(nat),))
    yield case("nothing drops", "confusing, not broken", harmless, 1, "info")
    yield case("listed only", "empty tables of the old backend", HostBuilder().nft(new, legacy=(side(),)))
    other = table(chain("forward", drop, hook="forward"), family="ip", name="firewall")
    own = HostBuilder().nft(other, legacy=(side(take),))
    yield case("nft itself beside the old backend", "Docker beside a firewall of nft: two owners", own)
    yield case("one backend", "as it should be", HostBuilder().nft(new))
    apart = HostBuilder().nft(new, legacy=(side(drop, family="ip6"),))
    yield case("other family", "they do not meet", apart)
    modern = HostBuilder().nft(side(drop), legacy=(side(nat),))
    yield case("the new one drops", "said in nft's own terms", modern, 1, "warning")
    reject = side(rule(plain("target", key="REJECT")))
    yield case("rejects", "a target that stops", HostBuilder().nft(new, legacy=(reject,)), 1, "warning")
    for name, why, one in (
        ("nothing in the new one", "the tables are there, and empty", side()),
        ("dormant", "switched off", table(*side(drop).chains, family="ip", dormant=True)),
        ("a table of another name", "iptables has its own", table(*side(drop).chains, family="ip", name="fw")),
        (
            "a chain of another name",
            "nft's user wrote forward",
            table(chain("forward", drop, hook="forward"), family="ip"),
        ),
        (
            "a chain that no hook calls",
            "only its name is that of iptables",
            table(chain("FORWARD", drop), chain("fw", drop, hook="forward"), family="ip"),
        ),
    ):
        yield case(f"new side: {name}", why, HostBuilder().nft(one, legacy=(side(drop),)))
