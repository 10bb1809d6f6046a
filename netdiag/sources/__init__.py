"""The only room that touches a host.

``protocol`` says what can be asked of a host. ``live`` asks the kernel, ``record`` asks through another source and
writes
every raw reply down, ``replay`` answers from such a recording. Whoever asks cannot tell which of the three it has.
Everything here only reads: no configuration is changed, no module is loaded, no packet is sent.
"""
