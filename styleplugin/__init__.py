"""Neural style transfer with small distilled models."""
