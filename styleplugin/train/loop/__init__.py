"""The training loop and what belongs to it: optimizer, checkpoints, log, several processes."""
