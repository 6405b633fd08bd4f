"""Where bench, signal processing, protocols and simulator meet."""
