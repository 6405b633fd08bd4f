"""SCPI over any transport: queries, binary blocks, the device's error queue."""
