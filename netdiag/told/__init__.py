"""What people tell netdiag: files of TOML, read strictly. A typing error is refused, with file and key, never ignored.

``intent`` is what the host is meant to be, ``suppressions`` what has been accepted. Both end as objects of
netdiag.model.intent; whatever is wrong with a file is ``ToldRefused`` with one line, and nothing else can fail.
"""

from netdiag.told.strict import ToldRefused

__all__ = ["ToldRefused"]
