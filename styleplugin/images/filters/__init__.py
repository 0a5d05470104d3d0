"""Filters: what a pixel becomes by its place and its neighbors."""
