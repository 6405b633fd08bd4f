"""Privacy amplification: shorten the key to what the other side cannot know."""
