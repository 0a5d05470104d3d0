"""Figures by networks that trained nothing, exactly as the project's evaluation defines them.

    evaluator = Evaluator()
    for pair in pairs("selection"):
        content, style = read(pair.content), read(pair.style)
        figures = evaluator(content, style, output)     # {"e_style": 0.29, "e_content": 1.1, ...}

Selection pairs may be looked at as often as one likes; reporting pairs are for tables that are published.
"""

from .evaluator import FIGURES, Evaluator
from .halo import halo
from .pairs import Pair, pairs, photo_pairs, read

__all__ = ["FIGURES", "Evaluator", "Pair", "halo", "pairs", "photo_pairs", "read"]
