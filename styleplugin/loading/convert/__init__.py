"""Other people's checkpoints, read once and turned into our format."""
