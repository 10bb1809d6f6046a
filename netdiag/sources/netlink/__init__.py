"""Netlink: a transport of our own, and decoders from the kernel's messages to the model.

``requests`` builds the questions. ``transport`` asks them over ``sockets`` and streams the answers into a sink; its
vocabulary (DumpRequest, Sink, DumpResult, NetlinkError) is in ``messages``. Three sorts of sinks:

- ``columns``, with ``routes`` and ``neighbours``: what comes by the hundred thousand, into NumPy columns;
- ``links`` (with ``linkkinds``, ``devconf``) and ``addresses``: what every host has by the dozen to the thousand;
- ``small``: rules, nexthop objects, neighbour tables, namespace ids, message by message with ``attributes``.

A sink has feed() and reset(), its result, and two counters, ``malformed`` and ``unknown``. None raises on what it is
fed.
"""
