"""Runs the stages of every method over one tile or many, with the same result."""
