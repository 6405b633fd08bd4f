"""Links to instruments; every call has a deadline."""
