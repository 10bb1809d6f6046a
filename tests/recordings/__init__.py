"""The recorded hosts of fixtures/hosts: how each was made, and the test that replays them."""
