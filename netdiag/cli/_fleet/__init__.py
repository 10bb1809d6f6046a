"""The verbs below ``netdiag fleet``, one a file."""
