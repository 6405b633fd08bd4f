"""Optical switches and shutters."""
