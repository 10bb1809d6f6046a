"""Many hosts: a folder of snapshots read, judged by the hosts' own rules and by those that need several hosts.

``inventory`` knows which hosts there are, ``sweep`` collects them into a folder, ``load`` reads the folder, ``judge``
makes the report; the rules are in netdiag/rules with ``scope="fleet"`` and see netdiag.index.fleet.FleetView. ``way``
follows one packet from host to host, ``matrix`` holds all pairs of a mesh, ``canary`` judges a roll-out; ``store``
keeps nights and answers SQL.
"""
