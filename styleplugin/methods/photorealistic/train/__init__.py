"""Training the photorealistic students."""
