"""What a network card and its driver say of themselves: generic netlink's ``ethtool`` family, and the ioctl of old.

Source: include/uapi/linux/{ethtool,ethtool_netlink}.h. Features and link modes are bits whose meaning changes with the
kernel, so their names, read once, stand beside them in ``Ethtool``.
"""

import msgspec


class EthtoolCounters(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of one device that speak of errors; those that are zero are left out."""

    ifindex: int
    ifname: str
    counters: dict[str, int] = {}
    """By the driver's own name (``rx_crc_errors_phy``), and the standard ones as ``mac.FCSErrors``."""


class EthtoolDevice(msgspec.Struct, frozen=True, kw_only=True):
    """One device. None: the driver does not say."""

    ifindex: int
    ifname: str
    driver: str | None = None
    """Name of the driver, ETHTOOL_GDRVINFO."""
    firmware: str | None = None
    """Version of the firmware, as the driver spells it."""
    bus_info: str | None = None
    """Where it is plugged in: ``0000:3b:00.0``; None: it is no hardware."""
    link: bool | None = None
    """Whether the driver sees a link."""
    speed: int | None = None
    """Mb/s; None: unknown, or no link."""
    duplex: str | None = None
    """``full`` or ``half``; None: unknown."""
    autoneg: bool | None = None
    """Whether speed and duplex are negotiated."""
    supported: tuple[str, ...] = ()
    """Link modes that the hardware can do: ``1000baseT/Full``."""
    advertised: tuple[str, ...] = ()
    """Link modes that it offers to its partner."""
    partner: tuple[str, ...] = ()
    """Link modes that the partner offered; empty: none, or the driver does not say."""
    features: tuple[int, ...] = ()
    """Features that are on, as words of 32 bits; bit n has the name feature_names[n]."""
    features_hw: tuple[int, ...] = ()
    """Features that can be changed."""
    features_wanted: tuple[int, ...] = ()
    """Features that somebody asked for."""
    features_fixed: tuple[int, ...] = ()
    """Features that can never be changed (nochange)."""
    rings: dict[str, int] = {}
    """Descriptors: ``rx``, ``rx-max``, ``tx``, ``tx-max`` ..."""
    channels: dict[str, int] = {}
    """Queues: ``combined``, ``combined-max``, ``rx``, ``rx-max`` ..."""
    coalesce: dict[str, int] = {}
    """Interrupt moderation: ``rx-usecs``, ``adaptive-rx`` (0 or 1) ..."""
    pause: dict[str, int] = {}
    """Flow control, 0 or 1: ``autonegotiate``, ``rx``, ``tx``."""
    fec: str | None = None
    """Forward error correction in use: ``RS``, ``BASER``, ``None``."""


class Ethtool(msgspec.Struct, frozen=True, kw_only=True):
    """Every device that was asked, with its error counters in one look or two."""

    devices: tuple[EthtoolDevice, ...] = ()
    feature_names: tuple[str, ...] = ()
    """Name of each feature bit."""
    counters: tuple[EthtoolCounters, ...] = ()
    """Error counters of the first look."""
    seconds: float | None = None
    """Seconds between the looks; None: one look only."""
    second: tuple[EthtoolCounters, ...] = ()
    """Error counters of the second look."""

    def has(self, words: tuple[int, ...], feature: str) -> bool | None:
        """Whether a feature's bit is set in one of a device's bit maps; None where this kernel has no such feature, or
        the device was not asked for its features."""
        if not words or feature not in self.feature_names:
            return None
        bit = self.feature_names.index(feature)
        return bit // 32 < len(words) and bool(words[bit // 32] >> bit % 32 & 1)

    def names_of(self, words: tuple[int, ...]) -> list[str]:
        """Names of the features in a bit map."""
        return [name for name in self.feature_names if name and self.has(words, name)]
