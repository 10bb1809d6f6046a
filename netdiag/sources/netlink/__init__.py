"""Netlink: a transport of our own, and decoders from the kernel's messages to the model.

``requests`` builds the questions, ``transport`` asks them and streams the answers into a sink. ``columns`` (with
``routes`` and ``neighbours``) decodes what comes by the hundred thousand into NumPy columns; ``links`` and
``addresses`` decode by hand what every host has by the dozen to the thousand; ``small`` uses pyroute2's message
classes for what is small or deep. pyroute2 is imported only here, and only when it is needed.
"""
