"""nftables as the kernel holds it: tables, chains, rules as expressions, sets with their elements, flowtables.

From nfnetlink (include/uapi/linux/netfilter/nf_tables.h). Rules are kept in the kernel's own terms, an expression a
step over registers, because that is what decides a packet's fate; ``netdiag.index.nfttext`` spells them as ``nft``
does. An expression that nobody here knows is kept with its name and ``opaque`` set: it may match, or not.
"""

import msgspec

REGISTERS = 16
"""32-bit registers; the 128-bit registers 1 to 4 are runs of four of them."""


class NftExpression(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of a rule. Which fields are set depends on ``name``, the kernel's name of the expression."""

    name: str
    """``meta``, ``payload``, ``cmp``, ``lookup``, ``immediate`` ...; extensions of iptables: ``match``, ``target``."""
    key: str | None = None
    """What is loaded, set or asked: ``iifname``, ``state``, the base of a payload, the result of a fib lookup, the name
    of an extension of iptables, ``snat`` or ``dnat``."""
    op: str | None = None
    """Comparison or operation: ``eq``, ``neq``, ``lt``, ``lte``, ``gt``, ``gte``, ``mask``, ``lshift``, ``add`` ..."""
    dreg: int | None = None
    """Number of the first 32-bit register written."""
    sreg: int | None = None
    """Number of the first 32-bit register read."""
    sreg_max: int | None = None
    """Register of the end of a range, of addresses in ``nat``."""
    sreg_port: int | None = None
    """Register of the port, or of the first of a range (``nat``, ``redir``, ``masq``, ``tproxy``)."""
    sreg_port_max: int | None = None
    """Register of the last port of a range."""
    offset: int | None = None
    """Bytes into the header."""
    length: int | None = None
    """Bytes."""
    value: str | None = None
    """Octets in hexadecimal, as they stand in registers: what is compared with, loaded, the lower end of a range."""
    value_max: str | None = None
    """Octets in hexadecimal: the upper end of a range."""
    mask: str | None = None
    """Octets in hexadecimal: and-ed."""
    xor: str | None = None
    """Octets in hexadecimal: xor-ed after the mask."""
    set: str | None = None
    """Name of the set or map that is looked up or updated, of a flowtable, or of a stateful object."""
    invert: bool = False
    """Whether the answer is turned round (``!=`` of a set, ``over`` of a limit)."""
    verdict: str | None = None
    """``accept``, ``drop``, ``continue``, ``break``, ``jump``, ``goto``, ``return``, ``queue``."""
    chain: str | None = None
    """Where a ``jump`` or ``goto`` leads."""
    family: str | None = None
    """``ip`` or ``ip6`` of a ``nat``; layer 3 protocol."""
    flags: tuple[str, ...] = ()
    """Names of the flags that are set."""
    number: int | None = None
    """A number that belongs to ``name``: ICMP type of a reject, hook of a queue, rate of a limit, quota in bytes."""
    code: int | None = None
    """ICMP code of a reject; seconds of a limit's unit."""
    burst: int | None = None
    """Packets or bytes that a limit lets pass at once."""
    packets: int | None = None
    """Counted packets."""
    octets: int | None = None
    """Counted bytes."""
    text: str | None = None
    """Prefix of a log; revision and decoded words of an extension of iptables."""
    inner: tuple[str, ...] = ()
    """Names of the expressions that each element of a set carries (``dynset``)."""
    opaque: bool = False
    """True where netdiag does not know what the expression asks: it may match or not."""


class NftRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One rule: its expressions are done in turn until one does not match or a verdict is reached."""

    handle: int
    """The number by which ``nft delete rule`` knows it; stable while the rule lives."""
    expressions: tuple[NftExpression, ...] = ()
    """In order."""
    comment: str | None = None
    """What the person or program that made it wrote."""
    compat: bool = False
    """Made by iptables-nft, ip6tables-nft, ebtables-nft or arptables-nft."""


class NftChain(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One chain. Only base chains have type, hook, priority and policy; the others are reached by jump and goto."""

    name: str
    """Name in its table."""
    handle: int
    """The kernel's number of it."""
    type: str | None = None
    """``filter``, ``nat`` (sees the first packet of a connection only) or ``route``."""
    hook: str | None = None
    """``prerouting``, ``input``, ``forward``, ``output``, ``postrouting``, ``ingress``, ``egress``."""
    priority: int | None = None
    """Base chains of a hook run in ascending order."""
    policy: str | None = None
    """``accept`` or ``drop``: the verdict where no rule gave one."""
    devices: tuple[str, ...] = ()
    """Interfaces of a chain at ingress or egress."""
    packets: int | None = None
    """Packets that the policy decided, where the chain has a counter."""
    octets: int | None = None
    """Bytes of those."""
    rules: tuple[NftRule, ...] = ()
    """In order."""

    @property
    def base(self) -> bool:
        """Whether packets come here by themselves."""
        return self.hook is not None


class NftElement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One element of a set: a key, or all keys from ``key`` to ``key_end``."""

    key: str = ""
    """Octets in hexadecimal; fields of a concatenation are padded to four bytes each. Empty: the catch-all element."""
    key_end: str | None = None
    """Last key of an interval, included; of a concatenation, each field has its own."""
    value: str | None = None
    """Octets in hexadecimal that a map gives for the key."""
    verdict: str | None = None
    """Verdict that a verdict map gives."""
    chain: str | None = None
    """Where that verdict leads."""
    object: str | None = None
    """Name of the stateful object that an object map gives."""
    timeout_ms: int | None = None
    """How long it lives after it was added."""
    expires_ms: int | None = None
    """How long it lives still."""
    packets: int | None = None
    """Counted packets, where elements have counters."""
    octets: int | None = None
    """Counted bytes."""
    comment: str | None = None
    """What the person or program that made it wrote."""


class NftSet(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A set, map or verdict map; the ones written inside a rule are ``anonymous``."""

    name: str
    """Name in its table; anonymous sets are ``__set0`` and so on."""
    handle: int
    """The kernel's number of it."""
    flags: tuple[str, ...] = ()
    """``anonymous``, ``constant``, ``interval``, ``map``, ``timeout``, ``dynamic``, ``object``, ``concat``."""
    key_type: int = 0
    """nft's number of the key's type; a concatenation has six bits for each field. The kernel does not look at it."""
    key_len: int = 0
    """Bytes of a key."""
    fields: tuple[int, ...] = ()
    """Bytes of each field of a concatenation, without padding."""
    data_type: int | None = None
    """nft's number of the type of the values; 0xffffff00: verdicts."""
    data_len: int | None = None
    """Bytes of a value."""
    size: int | None = None
    """How many elements it can hold; None: no limit."""
    timeout_ms: int | None = None
    """How long elements live that say nothing themselves."""
    elements: tuple[NftElement, ...] = ()
    """In ascending order of their keys, as far as they were read."""
    complete: bool = True
    """False where it holds more elements than netdiag keeps."""
    comment: str | None = None
    """What the person or program that made it wrote."""


class NftFlowtable(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A flowtable: established flows on its devices bypass the rules."""

    name: str
    """Name in its table."""
    handle: int
    """The kernel's number of it."""
    priority: int = 0
    """Where at ingress it stands."""
    devices: tuple[str, ...] = ()
    """Interfaces whose packets are looked up."""
    flags: tuple[str, ...] = ()
    """``offload``, ``counter``."""


class NftObject(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A named stateful object: counter, quota, limit, connection helper and the like."""

    name: str
    """Name in its table."""
    handle: int
    """The kernel's number of it."""
    type: str
    """``counter``, ``quota``, ``ct helper``, ``limit``, ``ct count``, ``tunnel``, ``ct timeout``, ``secmark``,
    ``ct expectation``, ``synproxy``."""
    packets: int | None = None
    """Counted packets, of a counter."""
    octets: int | None = None
    """Counted bytes, of a counter; consumed bytes, of a quota."""


class NftTable(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One table with everything in it."""

    family: str
    """``ip``, ``ip6``, ``inet``, ``arp``, ``bridge``, ``netdev``."""
    name: str
    """Name, unique in its family."""
    handle: int
    """The kernel's number of it."""
    flags: tuple[str, ...] = ()
    """``dormant``: none of its base chains is in force; ``owner``: goes when its process goes; ``persist``."""
    chains: tuple[NftChain, ...] = ()
    """In the kernel's order."""
    sets: tuple[NftSet, ...] = ()
    """Sets and maps, the anonymous ones too."""
    flowtables: tuple[NftFlowtable, ...] = ()
    """Flowtables."""
    objects: tuple[NftObject, ...] = ()
    """Named stateful objects."""

    def chain(self, name: str) -> NftChain | None:
        """The chain of that name."""
        return next((chain for chain in self.chains if chain.name == name), None)

    def set(self, name: str) -> NftSet | None:
        """The set of that name."""
        return next((one for one in self.sets if one.name == name), None)

    @property
    def dormant(self) -> bool:
        """Whether the table is switched off."""
        return "dormant" in self.flags

    @property
    def legacy(self) -> bool:
        """Whether this is a table of iptables-legacy, which nft does not show."""
        return "legacy" in self.flags

    @property
    def compat(self) -> bool:
        """Whether a program of iptables-nft made rules here."""
        return any(rule.compat for chain in self.chains for rule in chain.rules)


class XtTable(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One table of iptables-legacy (xtables): the kernel has it beside nftables."""

    family: str
    """``ip``, ``ip6``, ``arp``, ``bridge``."""
    name: str
    """``filter``, ``nat``, ``mangle``, ``raw``, ``security``."""
    rules: int | None = None
    """How many rules; None: it was not read, and nobody knows what it does."""


class Nft(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that filters in this namespace."""

    generation: int | None = None
    """Counts every change of the nftables ruleset; None: not told."""
    tables: tuple[NftTable, ...] = ()
    """nftables."""
    xtables: tuple[XtTable, ...] = ()
    """Names of the tables of iptables-legacy."""
    legacy: tuple[NftTable, ...] = ()
    """The same tables, as far as they were read, in the terms of nftables; their flag is ``legacy``."""

    def table(self, family: str, name: str) -> NftTable | None:
        """The table of that family and name."""
        return next((table for table in self.tables if (table.family, table.name) == (family, name)), None)
