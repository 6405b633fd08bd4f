"""Channel coding: the LDPC engine, the classical code, frames, CRC, scrambler."""
