"""A Spark cluster that is there already, as the engine of questions to a store: the same Parquet, rules and SQL.

``session`` finds the cluster as any Spark program does, ``tables`` shows it the store's parts, ``translate`` turns a
query into Spark's SQL, ``ask`` is the engine of ``fleet query``. ``judging`` runs the rules with mapInPandas: those of
a host where its row is, those between hosts one a task; ``executor`` is what runs there. pyspark, sqlglot and pandas
are imported here and nowhere else, and are optional: ``netdiag[spark]``.
"""
