"""Control laws: pure; the loops that run them are in scqc.runs."""
