"""Training the encoders of the optimization."""
