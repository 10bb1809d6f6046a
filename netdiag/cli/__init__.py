"""The command line: one verb a file, click lives here and only here, and there is no logic.

A module without an underscore is a verb: ``command`` in it is its click command, and it imports at its top nothing but
click and this room, so that ``netdiag --help`` stays quick. ``_verb`` is what all verbs share, ``_errors`` the exit
statuses, ``_output`` the way to standard output and to files, ``_host`` where a snapshot comes from, ``main`` the outer
edge of the program.
"""
