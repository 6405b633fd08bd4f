"""Error correction, checksums and the one LDPC engine."""
