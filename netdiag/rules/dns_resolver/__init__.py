"""Rules about how names are resolved."""
