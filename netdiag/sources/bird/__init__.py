"""BIRD over its control socket: ``fetch`` asks, ``replies`` reads what came back. The daemon is never configured.

Every conversation begins with ``restrict``, after which BIRD itself refuses all commands but the harmless ones.
"""

from netdiag.sources.bird.client import fetch

__all__ = ["fetch"]
