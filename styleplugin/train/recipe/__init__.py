"""Recipes: what a run is asked for, as dataclasses and as files; what it will take."""
