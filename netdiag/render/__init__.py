"""A report or a table becomes text: for a terminal, for a program, for a ticket.

Every function here returns strings and touches nothing. Strings that a kernel, a daemon or a snapshot chose are hostile
until they pass ``escape``; each format escapes for its own reader. tabulate lives here and only here.
"""
