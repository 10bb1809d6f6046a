"""Rules about routes, routing tables, policy rules and the settings that decide between them."""
