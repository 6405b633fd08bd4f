"""Holevo bounds and composable key lengths."""
