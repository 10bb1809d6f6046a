"""Checks of the house itself: its laws, its packaging, its imports."""
