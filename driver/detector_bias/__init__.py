"""Supplies of superconducting detectors."""
