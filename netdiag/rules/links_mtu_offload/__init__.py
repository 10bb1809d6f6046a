"""Interfaces: their sizes, their carrier, their offloads."""
