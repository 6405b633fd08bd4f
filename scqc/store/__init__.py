"""HDF5 captures and results: write, sealed read, salvage."""
