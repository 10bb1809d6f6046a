"""The packet's way, on small hosts and against real ones."""
