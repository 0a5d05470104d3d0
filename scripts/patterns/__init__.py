"""Pictures to learn styles from, drawn with NumPy and Pillow alone; `scripts/draw_patterns.py` is their command."""
