"""Live tracing: a BPF program for each question, loaded while somebody waits for the answer, and gone afterwards.

``objects`` are the compiled programs of bpf/; ``libbpf`` loads them by the library that iproute2 brings; ``events``
makes of their bytes what they mean, ``reasons`` gives words to numbers and addresses, ``session`` runs one question for
a while and sums it up. Nothing is pinned, every attachment is held by this process alone: when it ends, by whatever
signal, the kernel takes the programs away. Never part of a check.

``Unavailable``, in one line, where the kernel, the rights or the library are lacking.
"""


class Unavailable(Exception):
    """It cannot be traced here; the text says why."""
