"""Emulated instruments: registers and state machines, no physics."""
