"""Pure functions on arrays: the compiled inner loops of every score."""
