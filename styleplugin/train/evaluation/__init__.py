"""What a student can do: figures, quality gate, curves, report."""
