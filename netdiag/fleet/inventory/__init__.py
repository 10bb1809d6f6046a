"""Which hosts there are: ``file:``, ``ansible:``, ``consul:`` and ``nomad:`` as lists of ``Target``.

``target`` is what all give, ``read_inventory`` takes the words of --inventory. Nothing is sent to a host here; a
catalogue is asked over HTTP with a token of the environment. Whatever is wrong is InventoryRefused, one line; words
that name no kind of inventory are UnknownInventory.
"""

from netdiag.fleet.inventory import ansible, consul, hostsfile, nomad
from netdiag.fleet.inventory.target import Inventory, InventoryRefused, UnknownInventory
from netdiag.model.sweep import Target

KINDS = {"file": hostsfile.read, "ansible": ansible.read, "consul": consul.read, "nomad": nomad.read}

__all__ = ["Inventory", "InventoryRefused", "Target", "UnknownInventory", "read_inventory"]


def read_inventory(words: str) -> Inventory:
    """The inventory that ``KIND:PLACE`` names. Raises InventoryRefused, UnknownInventory."""
    kind, colon, place = words.partition(":")
    if not colon or kind not in KINDS or not place:
        raise UnknownInventory(f"{words}: an inventory is one of {', '.join(f'{name}:...' for name in KINDS)}")
    return KINDS[kind](place)
