"""The store of a fleet: many nights of snapshots as Parquet files, on a path or behind any fsspec URL.

::

    STORE/netdiag-store.json                              says that it is one, and of which version
    STORE/loads/<time>-<load>.json                        one for each load that is finished: the parts that it wrote
    STORE/snapshots/night=2026-11-25/region=fra/<part>.parquet    a row a snapshot: who, when, every table whole
    STORE/<view>/night=.../region=.../<part>.parquet              the same tables as rows, made for questions

A part that no load names is not there for a reader: a load that was killed leaves nothing that is seen, and a reader
sees a load whole or not at all. A night lasts from noon to noon, UTC, and has the date of its first half.

``place`` is where files are, ``columns`` turns structs into columns, ``views`` says which there are, ``write`` fills a
store, ``read`` makes hosts of it again. pyarrow and fsspec are imported here and nowhere else.
"""
