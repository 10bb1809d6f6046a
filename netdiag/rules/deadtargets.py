"""Rules that send packets to a dead address, for nf-orphan-dnat-to-dead and cni-portmap-stale. Pure."""

from collections.abc import Iterator

from netdiag.index.nfttext import rule_text
from netdiag.index.view import HostView
from netdiag.model.finding import Draft
from netdiag.rules.nftplaces import chain_name, chain_subject, list_chain, xt_program
from netdiag.rules.nftspecimen import meant
from netdiag.rules.shape import Rule, quoted
from netdiag.rules.translations import DeadEnd, Target, dead_end, family_of, targets


def of_cni(at: Target) -> bool:
    """Whether the portmap plugin of CNI made the rule: its targets are always containers of this host."""
    return at.at.chain.name.startswith("CNI-") or at.at.table.name == "cni_hostport"


def dead_targets(view: HostView, *, cni: bool) -> Iterator[tuple[Target, DeadEnd, int]]:
    """The first dead target of each chain, why, and how many there are."""
    found: dict[tuple[str, str, str], list[tuple[Target, DeadEnd]]] = {}
    known: dict[str, DeadEnd | None] = {}
    for one in targets(view):
        if of_cni(one) is not cni:
            continue
        if one.address not in known:
            known[one.address] = dead_end(view, one.address, local_only=cni)
        why = known[one.address]
        if why is not None:
            key = (one.at.table.family, one.at.table.name, one.at.chain.name)
            found.setdefault(key, []).append((one, why))
    for rows in found.values():
        yield *rows[0], len(rows)


def finding(rule: Rule, one: Target, why: DeadEnd, count: int) -> Draft:
    """The report of one chain."""
    at = one.at
    assert at.rule is not None
    text = rule_text(at.table, at.rule)
    port = meant(at.table, at.rule).fields.get("dport")
    what = f"port {port}" if port else "packets"
    more = f" (and {count - 1} more of the chain)" if count > 1 else ""
    where = f"{at.table.family} {quoted(at.table.name)} {quoted(at.chain.name)}"
    version = "-6 " if family_of(one.address) == "inet6" else ""
    return rule.found(
        subject=chain_subject(at.table, at.chain),
        message=f"{chain_name(at.table, at.chain)} sends {what} to {one.address}{more}, and nobody is there: {why.why}",
        evidence=[(f"rule {at.rule.handle} of {chain_name(at.table, at.chain)}", text, "NFT_MSG_GETRULE"), why.fact],
        confirm=[list_chain(at.table, at.chain), f"ip {version}route get {one.address}"],
        fix=f"{xt_program(at.table)} -t {quoted(at.table.name)} -D {quoted(at.chain.name)} {at.rule.handle}"
        if at.table.legacy
        else f"nft delete rule {where} handle {at.rule.handle}",
    )
