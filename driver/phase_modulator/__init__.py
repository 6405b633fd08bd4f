"""Voltage sources of phase modulators."""
