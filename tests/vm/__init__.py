"""A guest with another kernel, for what this machine's kernel lacks: run.sh boots it, guest.py calls it from tests."""
