"""eBPF of this host, read through bpf(2), bpffs and /proc; ``fetch`` is the only door.

Keys are ``programs``, ``maps``, ``links``, ``interfaces PLAIN NETKIT`` (indexes with commas), ``namespace``, ``cgroups
HOOK,...``, ``sockmaps ID,...``, ``entries ID,...``, ``keys ID,...``, ``pins``, ``mounts`` and ``holders``.
Each is answered by a ``Reply`` in JSON: rows of netdiag.model.bpf in the kernel's order, and in ``trouble`` why they
may not be all. Raises OSError where nothing can be asked at all.
"""

from netdiag.sources.bpf.answer import fetch

__all__ = ["fetch"]
