"""Properties of the rules: what must hold for every host, shown on the hosts of the rules' own examples and on the
recordings.

``changes.py`` turns one host into another of which the same must be said: rows in another order, interfaces with other
numbers, interfaces with other names, one more thing that is healthy and has nothing to do with the rest.
``shapes.py`` says the same host in other words of the kernel.
``evidence.py`` collects what a host's tables hold, to find what findings say of them.
"""
