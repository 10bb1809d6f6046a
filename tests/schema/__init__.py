"""The published schemas describe what is really printed and written."""
