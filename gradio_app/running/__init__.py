"""How the work behind a button runs: in one thread, watched, stopped, on a GPU that a Space lends."""
