"""Training a WCT model."""
