"""Runs of the photon-counting scheme: pulses out, time tags in, message and key."""
