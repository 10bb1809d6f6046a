"""Addresses that the CNI plugin host-local has given out, as its files say (/var/lib/cni/networks, or its dataDir)."""

import msgspec


class CniAllocation(msgspec.Struct, frozen=True, kw_only=True):
    """One address that is given out."""

    network: str
    """Name of the CNI network."""
    address: str
    """The address, which is the name of the file."""
    container_id: str
    """Sandbox or allocation that it was given to: the first line of the file."""
    ifname: str | None = None
    """Interface inside, the second line; null: an older plugin."""
    folder: str = "/var/lib/cni/networks"
    """Where the plugin keeps the network's folder (dataDir)."""
    running: bool = False
    """A process runs in a control group that is named after the container."""


class Cni(msgspec.Struct, frozen=True, kw_only=True):
    """What host-local keeps."""

    allocations: tuple[CniAllocation, ...] = ()
    """By network and address."""
