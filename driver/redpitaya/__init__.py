"""Red Pitaya boards: generator and digitiser in one box."""
