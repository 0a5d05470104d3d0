"""Color: spaces and profiles of files, and conversions of tensors."""
