"""Words for places in the nftables ruleset: subjects, evidence and commands that rules about netfilter share. Pure."""

from netdiag.index.nfttext import rule_text
from netdiag.index.nftverdict import Place, Possible
from netdiag.model.finding import Subject, subject
from netdiag.model.nft import NftChain, NftRule, NftTable
from netdiag.rules.shape import quoted

BLANKET = {"counter", "log", "immediate", "reject", "target"}
"""Expressions of a rule that does the same with everything that comes to it."""


def chain_subject(table: NftTable, chain: NftChain) -> Subject:
    """A chain, by family, table and name."""
    backend = "legacy" if table.legacy else None
    return subject("nft-chain", family=table.family, table=table.name, chain=chain.name, backend=backend)


def chain_name(table: NftTable, chain: NftChain) -> str:
    """``inet filter forward``, as nft's commands name it."""
    return f"{table.family} {table.name} {chain.name}" + (" (iptables-legacy)" if table.legacy else "")


def list_chain(table: NftTable, chain: NftChain) -> str:
    """The command that shows a chain with its handles."""
    if table.legacy:
        return f"{xt_program(table)} -t {quoted(table.name)} -vnL {quoted(chain.name)} --line-numbers"
    return f"nft -a list chain {table.family} {quoted(table.name)} {quoted(chain.name)}"


def xt_program(table: NftTable) -> str:
    """iptables of the old backend, for the table's family."""
    return "ip6tables-legacy" if table.family == "ip6" else "iptables-legacy"


def inserts(table: NftTable, chain: str, nft: list[str], xt: list[str]) -> str:
    """One command line that puts rules at the head of a chain: ``nft`` in nft's words, ``xt`` in those of iptables."""
    if table.legacy:
        return "; ".join(f"{xt_program(table)} -t {quoted(table.name)} -I {quoted(chain)} {line}" for line in xt)
    where = f"{table.family} {quoted(table.name)} {quoted(chain)}"
    return "nft " + quoted("; ".join(f"insert rule {where} {line}" for line in nft))


def is_blanket(rule: NftRule) -> bool:
    """Whether a rule that stops something stops whatever reaches it: a policy written as a last rule."""
    return not {one.name for one in rule.expressions} - BLANKET


def by_default(at: Place) -> bool:
    """Whether the place is a policy, or a rule that does as a policy does."""
    return at.rule is None or is_blanket(at.rule)


def place_words(at: Place) -> str:
    """``the policy of inet filter forward`` or ``rule 5 of inet filter forward (tcp dport 80 drop)``."""
    name = chain_name(at.table, at.chain)
    if at.rule is None:
        return f"the policy of {name}"
    return f"rule {at.rule.handle} of {name} ({rule_text(at.table, at.rule)})"


def fact(found: Possible) -> tuple[str, object, str]:
    """Evidence: where the verdict comes from."""
    if found.at.rule is None:
        name = chain_name(found.at.table, found.at.chain)
        return f"policy of {name}", found.at.chain.policy, f"NFT_MSG_GETCHAIN {name} NFTA_CHAIN_POLICY"
    name = chain_name(found.at.table, found.at.chain)
    text = rule_text(found.at.table, found.at.rule)
    return f"rule {found.at.rule.handle} of {name}", text, f"NFT_MSG_GETRULE {name}"


def refused(at: Place) -> int:
    """Packets that a default has stopped so far; 0 where no counter tells. Where the policy does not count, the first
    rule may, if it sees whatever comes: then that all was stopped is known where no rule behind it accepted any."""
    last = counted(at.rule) if at.rule is not None else at.chain.packets
    if last is not None:
        return last
    first = at.chain.rules[0] if at.chain.rules else None
    accepts = [
        counted(rule) for rule in _behind(at.table, at.chain) if any(e.verdict == "accept" for e in rule.expressions)
    ]
    if first is None or not is_blanket(first) or any(count is None or count for count in accepts):
        return 0
    return counted(first) or 0


def counted(rule: NftRule) -> int | None:
    """Packets of a rule's own counter; None: it has none."""
    return next((one.packets for one in rule.expressions if one.name == "counter"), None)


def _behind(table: NftTable, chain: NftChain) -> list[NftRule]:
    """The rules of a chain and of those that it leads to."""
    seen, left = dict[str, NftChain](), [chain]
    while left:
        one = left.pop()
        if one.name not in seen:
            seen[one.name] = one
            names = {expression.chain for rule in one.rules for expression in rule.expressions if expression.chain}
            left += [each for each in table.chains if each.name in names]
    return [rule for one in seen.values() for rule in one.rules]
