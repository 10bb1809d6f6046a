"""Tests of the room that touches a host."""
