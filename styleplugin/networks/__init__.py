"""Network definitions: plain modules built from a frozen spec; no files, no devices."""
