"""A method is a list of stages and a way to solve for their affine maps."""
