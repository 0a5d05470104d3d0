"""How the page looks: one theme, light and dark, with the machine's own fonts."""

from __future__ import annotations

from gradio.themes import Default, ThemeClass

CSS = """
.gradio-container { max-width: min(1280px, 100vw) !important; margin: 0 auto; overflow-x: clip; }
.line { min-height: 6em; }
.gradio-container input[role=combobox] { text-overflow: ellipsis; padding-right: 2.5em; }
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
        # Gradio's own are too light for white words on them.
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white",
        button_cancel_background_fill="#b91c1c",
        button_cancel_background_fill_hover="#991b1b",
        button_cancel_background_fill_dark="#b91c1c",
        button_cancel_background_fill_hover_dark="#dc2626",
        button_cancel_text_color="white",
    )
