"""From a file to a model: what is known, where it lies, and what it is built as."""
