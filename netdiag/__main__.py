"""``python -m netdiag`` is the same program as ``netdiag``."""

from netdiag.cli.main import main

if __name__ == "__main__":
    main()
