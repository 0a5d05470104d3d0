"""How the page looks: one theme, light and dark, with the machine's own fonts."""

from __future__ import annotations

from gradio.themes import Default, ThemeClass

CSS = """
.gradio-container { max-width: 1280px !important; margin: 0 auto; }
.line { min-height: 1.5em; }
.line p { margin: 0.2em 0; }
@media (max-width: 640px) { .gradio-container { padding: 8px !important; } }
"""


def theme() -> ThemeClass:
    """Return the theme; no font is fetched."""
    return Default(
        primary_hue="teal",
        secondary_hue="teal",
        neutral_hue="slate",
        radius_size="md",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        # Gradio's teal is too light for white words on it.
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white",
    )
