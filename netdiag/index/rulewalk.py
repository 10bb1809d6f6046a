"""Policy rules, tried one after the other until one decides.

Mirrors fib_rules_lookup() and fib_rule_match() of net/core/fib_rules.c with the per-family parts of
net/ipv4/fib_rules.c and net/ipv6/fib6_rules.c, and the VRF selection of net/l3mdev/l3mdev.c. Three surprises of the
kernel are kept as they are:

- ``goto`` continues *at* its target: where that does not match, with the rule after it. A target that does not exist
  skips the rule.
- IPv6: suppress_prefixlength looks at what the next hop has cached. Routes that share a nexthop object share the cache
  (rt6_get_pcpu_route() of net/ipv6/route.c), so that the prefix of another route can decide.
- IPv6: when a rule suppressed its result and no later matching rule names a table, older kernels use the suppressed
  route after all (fib6_rule_lookup() took what the last table left behind): that is an alternative then.

Pure. A rule with attributes that netdiag does not know can match less than it seems to: both ways are then followed.
"""

import errno
import ipaddress
from collections.abc import Callable, Sequence
from functools import cached_property

import msgspec
from msgspec.structs import replace

from netdiag.index.links import LinkStack
from netdiag.index.packet import Flow, Found, Hop, Step
from netdiag.model.policyrule import PolicyRule

ACTION_ERRNO = {"unreachable": errno.ENETUNREACH, "prohibit": errno.EACCES, "blackhole": errno.EINVAL}
"""What a rule's own action answers; an action that is not known counts as blackhole (fib4_rule_action())."""
DETACHED = -1
LEGACY_TOS = 0x1C
"""INET_DSCP_LEGACY_TOS_MASK of include/net/dscp.h: IPv4's tos selectors ignore the upper three bits of the DSCP."""
MOST_ALTERNATIVES = 8

TableLookup = Callable[[int, Flow], Found | None]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How the walk over the rules ended."""

    found: Found | None = None
    """The route; None where a rule's own action decided, or nothing did."""
    errno: int = 0
    rule: PolicyRule | None = None
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()
    alternatives: tuple["Outcome", ...] = ()


def _network(text: str | None, length: int, bits: int) -> tuple[int, int]:
    """(value, mask) of a prefix selector; mask 0 matches everything."""
    if text is None or not length:
        return 0, 0
    mask = ((1 << length) - 1) << (bits - length)
    return int(ipaddress.ip_address(text)) & mask, mask


def _port_range(start: int | None, end: int | None) -> tuple[int, int] | None:
    return None if start is None else (start, start if end is None else end)


class _Selectors:
    """One rule with its names resolved and its addresses as numbers."""

    def __init__(self, rule: PolicyRule, stack: LinkStack) -> None:
        bits = 32 if rule.family == "inet" else 128
        self.rule = rule
        self.v4 = bits == 32
        self.iif, self.iif_is_vrf = _interface(rule.iif, rule.iif_detached, stack)
        self.oif, self.oif_is_vrf = _interface(rule.oif, rule.oif_detached, stack)
        self.mark = rule.fwmark or 0
        self.mask = rule.fwmask if rule.fwmask is not None else (0xFFFFFFFF if rule.fwmark else 0)
        self.uid_start = rule.uid_start or 0
        self.uid_end = 0xFFFFFFFF if rule.uid_end is None else rule.uid_end
        self.src, self.src_mask = _network(rule.src, rule.src_len, bits)
        self.dst, self.dst_mask = _network(rule.dst, rule.dst_len, bits)
        self.sport = _port_range(rule.sport_start, rule.sport_end)
        self.dport = _port_range(rule.dport_start, rule.dport_end)
        self.names_vrf = self.iif_is_vrf or self.oif_is_vrf
        self._passed: dict[str, Step] = {}
        self.anything = rule == PolicyRule(
            family=rule.family,
            priority=rule.priority,
            action=rule.action,
            table=rule.table,
            suppress_prefixlength=rule.suppress_prefixlength,
            suppress_ifgroup=rule.suppress_ifgroup,
            protocol=rule.protocol,
        )

    def mismatch(self, flow: Flow) -> str:
        """The first selector that does not fit, in iproute2's word for it; empty where all do."""
        rule = self.rule
        if self.anything:
            return ""
        if self.iif and not self._interface_fits(flow, self.iif, self.iif_is_vrf, incoming=True):
            return "iif"
        if self.oif and not self._interface_fits(flow, self.oif, self.oif_is_vrf, incoming=False):
            return "oif"
        if (self.mark ^ flow.mark) & self.mask:
            return "fwmark"
        if rule.tun_id and rule.tun_id != flow.tun_id:
            return "tun_id"
        if rule.l3mdev and not flow.l3mdev:
            return "l3mdev"
        if not self.uid_start <= flow.uid <= self.uid_end:
            return "uidrange"
        # IPv6 leaves "from" unmatched for a packet without a source (RT6_LOOKUP_F_HAS_SADDR); IPv4 compares zero.
        if self.src_mask and ((flow.src_number ^ self.src) & self.src_mask or not (self.v4 or flow.src_number)):
            return "from"
        if (flow.dst_number ^ self.dst) & self.dst_mask:
            return "to"
        if rule.dscp is not None and rule.dscp != flow.tos >> 2:
            return "dscp"
        if rule.tos and rule.tos != (flow.tos & LEGACY_TOS if self.v4 else flow.tos):
            return "tos"
        if rule.ip_proto and rule.ip_proto != flow.ip_proto:
            return "ipproto"
        if self.sport and not self.sport[0] <= flow.sport <= self.sport[1]:
            return "sport"
        if self.dport and not self.dport[0] <= flow.dport <= self.dport[1]:
            return "dport"
        return ""

    def passed(self, misfit: str) -> Step:
        """The step over a rule that does not match: the same one for all packets."""
        step = self._passed.get(misfit)
        if step is None:
            step = self._passed[misfit] = Step(rule=self.rule, matched=False, outcome=misfit or "inverted")
        return step

    @staticmethod
    def _interface_fits(flow: Flow, index: int, is_vrf: bool, *, incoming: bool) -> bool:
        if is_vrf:
            return flow.l3mdev_oif != incoming and flow.l3mdev == index
        return (flow.iif if incoming else flow.oif) == index

    def depends_on_kernel(self, flow: Flow) -> bool:
        """An ``iif`` or ``oif`` that names a VRF: newer kernels (6.14) mean all its members, older ones itself."""
        for index, is_vrf, incoming in ((self.iif, self.iif_is_vrf, True), (self.oif, self.oif_is_vrf, False)):
            if is_vrf:
                newer = self._interface_fits(flow, index, True, incoming=incoming)
                if newer != self._interface_fits(flow, index, False, incoming=incoming):
                    return True
        return False


def _interface(name: str | None, detached: bool, stack: LinkStack) -> tuple[int, bool]:
    """(ifindex, is a VRF) of a rule's interface; 0 without one, DETACHED where there is no such interface now."""
    if name is None:
        return 0, False
    link = None if detached else stack.by_name.get(name)
    return (DETACHED, False) if link is None else (link.ifindex, link.kind == "vrf")


class RuleWalk:
    """The rules of one family, in the order of the dump, which is the order in which the kernel tries them."""

    def __init__(self, rules: Sequence[PolicyRule], stack: LinkStack, family: str, lookup_table: TableLookup) -> None:
        self.rules = tuple(rule for rule in rules if rule.family == family)
        self._stack = stack
        self._v4 = family == "inet"
        self._lookup_table = lookup_table
        self._selectors = [_Selectors(rule, stack) for rule in self.rules]
        first: dict[int, int] = {}
        for position, rule in enumerate(self.rules):
            first.setdefault(rule.priority, position)
        self._targets = [
            None if rule.goto is None or rule.goto_unresolved else first.get(rule.goto) for rule in self.rules
        ]

    @cached_property
    def tables(self) -> frozenset[int]:
        """Every table that some rule names, and those of the VRFs."""
        named = {rule.table for rule in self.rules if rule.table is not None}
        vrfs = {link.info.get("table") for link in self._stack.links if link.kind == "vrf"}
        return frozenset(named | {table for table in vrfs if isinstance(table, int)})

    @cached_property
    def destination_edges(self) -> list[int]:
        """Addresses as numbers, rising, at which a "to" begins or is over: between two of them no rule can tell."""
        edges = set()
        for one in self._selectors:
            if one.dst_mask:
                bits = 32 if self._v4 else 128
                edges |= {one.dst, one.dst + (1 << bits) - one.dst_mask}
        return sorted(edges)

    @property
    def port_selectors(self) -> tuple[bool, bool]:
        """Whether some rule asks for the source port, and for the destination port."""
        return any(one.sport for one in self._selectors), any(one.dport for one in self._selectors)

    def walk(self, flow: Flow) -> Outcome:
        """Try the rules until one decides; ENETUNREACH where none does."""
        self._enter_vrf(flow)
        return self._walk(_Progress(flow, [MOST_ALTERNATIVES]))

    def _enter_vrf(self, flow: Flow) -> None:
        """l3mdev_update_flow(): the VRF of the outgoing interface counts, else that of the incoming one."""
        link = self._stack.by_index.get(flow.oif) if flow.oif else None
        if link is not None:
            if not flow.l3mdev:
                flow.l3mdev, flow.l3mdev_oif = self._vrf_index(flow.oif), True
            flow.oif = 0 if link.kind == "vrf" else flow.oif
        elif flow.iif > 1 and not flow.l3mdev:
            flow.l3mdev = self._vrf_index(flow.iif)

    def _vrf_index(self, ifindex: int) -> int:
        vrf = self._stack.vrf(ifindex)
        return vrf.ifindex if vrf is not None else 0

    def _walk(self, progress: "_Progress") -> Outcome:
        while progress.position < len(self.rules):
            rule = self.rules[progress.position]
            if not self._matches(rule, progress):
                progress.position += 1
                continue
            if rule.action == "goto":
                target = self._targets[progress.position]
                progress.note(rule, f"goto {rule.goto}" + (": there is no such rule" if target is None else ""))
                # The kernel refuses to jump back; a snapshot that claims it must not hang us.
                progress.position = max(target or 0, progress.position + 1)
            elif rule.action == "lookup":
                found = self._look_up(rule, progress)
                if found is not None:
                    return progress.end(rule, found, found.errno)
                progress.position += 1
            elif rule.action == "nop":
                progress.note(rule, "nop")
                progress.position += 1
            else:
                progress.note(rule, rule.action, decisive=True)
                return progress.end(rule, None, ACTION_ERRNO.get(rule.action, errno.EINVAL))
        if progress.left_behind is not None and not self._v4:
            rule, found = progress.left_behind
            progress.others.append(progress.fork({}).end(rule, found, found.errno))
            progress.notes.append(
                f"older kernels use the route that rule {rule.priority} suppressed, for want of another"
            )
        return progress.end(None, None, errno.ENETUNREACH)

    def _matches(self, rule: PolicyRule, progress: "_Progress") -> bool:
        """Whether the rule matches; where that cannot be known, the other way is walked as an alternative."""
        selectors = self._selectors[progress.position]
        misfit = selectors.mismatch(progress.flow)
        matched = (misfit == "") != rule.invert
        doubt = ""
        if rule.unknown and not misfit:
            doubt = "has selectors that netdiag does not know"
        elif selectors.names_vrf and selectors.depends_on_kernel(progress.flow):
            doubt = "names a VRF, which not all kernels understand alike"
        if doubt and progress.position in progress.assumed:
            matched = progress.assumed[progress.position]
        elif doubt and progress.budget[0] > 0:
            progress.budget[0] -= 1
            progress.notes.append(f"rule {rule.priority} {doubt}")
            progress.others.append(self._walk(progress.fork({progress.position: not matched})))
        if not matched:
            progress.steps.append(selectors.passed(misfit))
        return matched

    def _look_up(self, rule: PolicyRule, progress: "_Progress") -> Found | None:
        """What the rule's table answers, unless the walk has to go on."""
        table = self._vrf_table(progress.flow) if rule.l3mdev else rule.table
        found = None if table is None else self._lookup_table(table, progress.flow)
        progress.left_behind = None
        if found is None:
            progress.note(rule, f"lookup {table}: no route")
            return None
        if found.doubtful:
            progress.notes.append("source-specific routes can get lost when the plain route of their prefix is deleted")
            fork = progress.fork({})
            fork.flow = replace(progress.flow, skip_doubtful=True)
            progress.others.append(self._walk(fork))
        if found.errno == errno.EAGAIN:
            progress.note(rule, f"lookup {table}: throw")
            return None
        reason = "" if found.errno else self._suppressed(rule, found)
        if not found.errno and self._judged_by_another(rule, found):
            progress.notes.append("routes that share a nexthop object: suppressed by the prefix of the one used first")
            if reason:
                progress.others.append(progress.fork({}).end(rule, found, 0))
            else:
                progress.others.append(self._walk(progress.fork({}, skip=True)))
        if reason:
            progress.note(rule, f"lookup {table}: suppressed, {reason}")
            progress.left_behind = (rule, found)
            return None
        kept = self._outside_group(rule, found)
        if len(kept) < len(found.hops):
            progress.notes.append("flows that are spread to the suppressed interface group go on to later rules")
            progress.others.append(self._walk(progress.fork({}, skip=True)))
            found = replace(found, hops=kept)
        progress.note(rule, f"lookup {table}: route found", decisive=True)
        return found

    def _vrf_table(self, flow: Flow) -> int | None:
        link = self._stack.by_index.get(flow.l3mdev)
        table = link.info.get("table") if link is not None else None
        return table if isinstance(table, int) else None

    def _suppressed(self, rule: PolicyRule, found: Found) -> str:
        """Why a rule refuses a route that was found; empty where it does not."""
        if rule.suppress_prefixlength is not None and found.prefixlen <= rule.suppress_prefixlength:
            return f"its prefix is no longer than {rule.suppress_prefixlength}"
        if rule.suppress_ifgroup is None:
            return ""
        groups = {self._group(index) for index in found.devices}
        return f"its interface is in group {rule.suppress_ifgroup}" if groups == {rule.suppress_ifgroup} else ""

    def _judged_by_another(self, rule: PolicyRule, found: Found) -> bool:
        """Whether a route that shares its nexthop object would fare otherwise under suppress_prefixlength."""
        limit = rule.suppress_prefixlength
        if limit is None or self._v4:
            return False
        return any((length <= limit) != (found.prefixlen <= limit) for length in found.other_prefixlens)

    def _outside_group(self, rule: PolicyRule, found: Found) -> tuple[Hop, ...]:
        """IPv6 looks at the interface of the next hop that the hash chose: some flows pass, others go on."""
        if rule.suppress_ifgroup is None or self._v4 or found.errno:
            return found.hops
        pairs = zip(found.hops, found.devices, strict=True)
        return tuple(hop for hop, index in pairs if self._group(index) != rule.suppress_ifgroup)

    def _group(self, ifindex: int) -> int | None:
        link = self._stack.by_index.get(ifindex)
        return link.group if link is not None else None


class _Progress:
    """How far a walk has come."""

    def __init__(self, flow: Flow, budget: list[int]) -> None:
        self.flow = flow
        self.budget = budget
        """How many more alternatives may be followed, shared by all of them."""
        self.position = 0
        self.steps: list[Step] = []
        self.notes: list[str] = []
        self.others: list[Outcome] = []
        self.assumed: dict[int, bool] = {}
        self.left_behind: tuple[PolicyRule, Found] | None = None

    def fork(self, assumed: dict[int, bool], *, skip: bool = False) -> "_Progress":
        """The same walk with other answers from here on, or from the next rule on."""
        fork = _Progress(self.flow, self.budget)
        fork.position = self.position + skip
        fork.steps = list(self.steps)
        fork.assumed = self.assumed | assumed
        fork.left_behind = self.left_behind
        return fork

    def note(self, rule: PolicyRule, outcome: str, *, decisive: bool = False) -> None:
        self.steps.append(Step(rule=rule, matched=True, outcome=outcome, decisive=decisive))

    def end(self, rule: PolicyRule | None, found: Found | None, number: int) -> Outcome:
        return Outcome(
            found=found,
            errno=number,
            rule=rule,
            steps=tuple(self.steps),
            notes=tuple(self.notes),
            alternatives=tuple(self.others),
        )
