"""Side-by-side figures; never part of the test run."""
