"""What a channel does to light and radio waves: arrays in, arrays out."""
