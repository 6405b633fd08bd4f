"""Digitisers and oscilloscopes."""
