"""Polarisation controllers."""
