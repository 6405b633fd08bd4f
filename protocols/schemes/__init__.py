"""The parties of each scheme as state machines without input or output."""
