"""Servers that speak the instruments' wire protocols; framing only."""
