"""Message authentication that holds against unlimited computing power."""
