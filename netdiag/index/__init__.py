"""Lookups built once over a host's tables, pure: policy routing, the link stack, who owns an address.

``view.HostView`` is the door through which rules come in; the others mirror kernel functions named in their docstrings.
"""
