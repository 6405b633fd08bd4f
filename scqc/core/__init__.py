"""What every room speaks: records, errors, units, randomness, settings, time."""
