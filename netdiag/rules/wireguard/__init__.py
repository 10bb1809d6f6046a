"""Rules about WireGuard devices and their peers."""
