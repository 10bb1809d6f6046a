"""A fleet's report as one HTML file: no script, no picture, no font and no address from anywhere.

It opens from a mail attachment. The content security policy inside forbids everything but its own style, so that even
a text that slipped past the escaping could load and run nothing. ``style`` is how it looks, ``meshmap`` and ``plots``
draw, ``page`` puts it together. Nothing can fail.
"""

from netdiag.render.fleetpage.page import fleet_page

__all__ = ["fleet_page"]
