"""What Alice and Bob send each other, and how it is packed."""
