"""Rules about what people told netdiag."""
