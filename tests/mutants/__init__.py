"""Mutants: each rule is made wrong in one place at a time, and its examples must notice.

``make mutants`` runs all of them and prints how many each rule's examples killed; ``test_mutants.py`` runs a sample
with the other tests. ``places.py`` says what may be mutated, ``operators.py`` how, ``trial.py`` runs the examples
against one mutant, ``survivors.toml`` lists by hand those that live on, and why.

What is mutated is what decides: comparisons are turned round (``>`` to ``>=``, ``==`` to ``!=``), operands of ``and``
and ``or`` and conditions of comprehensions are dropped, tests negated, numbers changed by one, truth values and
severities by another, in ``check()`` and all that it calls in netdiag/rules. Left alone is what only makes the words of
a finding (message, evidence, confirm, fix, subject) or ties it to others (touches, breaks), which drills prove; what
only puts things in order; and lists of names, which an example a name would only say again.
"""
