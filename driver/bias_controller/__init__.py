"""Bias controllers of modulators."""
