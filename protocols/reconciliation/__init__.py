"""Reverse reconciliation: Alice finds Bob's raw key from her own data."""
