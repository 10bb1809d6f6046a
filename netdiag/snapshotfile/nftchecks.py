"""Are the values of a loaded ruleset values that the kernel could have told? The other half of ``checks``.

Octets are hexadecimal, registers exist, lengths and type numbers have the width that they have on the wire, so that
what spells or evaluates a rule may compute with them. What is wrong raises ``ValueError`` that names the field.
"""

from collections.abc import Iterable

from netdiag.model.nft import REGISTERS, Nft, NftElement, NftExpression, NftSet

U32_MAX = 2**32 - 1
LENGTH_MAX = 2**16 - 1
"""Bytes: a length in netlink's attributes (nla_len) has 16 bits."""
REGISTER_FIELDS = ("dreg", "sreg", "sreg_max", "sreg_port", "sreg_port_max")


def check_nft(nft: Nft) -> None:
    """Raise ValueError where a rule or a set holds what no kernel says."""
    for table in (*nft.tables, *nft.legacy):
        for chain in table.chains:
            for rule in chain.rules:
                for one in rule.expressions:
                    _expression(one)
        for known in table.sets:
            _set(known)


def _expression(one: NftExpression) -> None:
    _octets("nft.expressions", one, ("value", "value_max", "mask", "xor"))
    for name in REGISTER_FIELDS:
        _within(f"nft.expressions.{name}", getattr(one, name), REGISTERS - 1)
    for name in ("offset", "length"):
        _within(f"nft.expressions.{name}", getattr(one, name), U32_MAX)


def _set(known: NftSet) -> None:
    for name in ("key_type", "data_type", "size"):
        _within(f"nft.sets.{name}", getattr(known, name), U32_MAX)
    for length in (known.key_len, known.data_len, *known.fields):
        _within("nft.sets.key_len, data_len or fields", length, LENGTH_MAX)
    for element in known.elements:
        _octets("nft.sets.elements", element, ("key", "key_end", "value"))


def _octets(field: str, one: NftExpression | NftElement, names: Iterable[str]) -> None:
    for name in names:
        text = getattr(one, name)
        try:
            bytes.fromhex(text or "")
        except ValueError:
            raise ValueError(f"{field}.{name} is {text[:60]!r}, not octets in hexadecimal") from None


def _within(field: str, value: int | None, high: int) -> None:
    if value is not None and not 0 <= value <= high:
        raise ValueError(f"{field} is {value}, outside 0 to {high}")
