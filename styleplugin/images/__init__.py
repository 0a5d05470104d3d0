"""Pictures in and out: upright, sRGB, alpha aside, 16 bit kept."""
