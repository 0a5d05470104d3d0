"""File formats: what Pillow does not read or write, or not right, and what stands beside the pixels."""
