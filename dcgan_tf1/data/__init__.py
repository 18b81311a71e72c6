"""Data sets: where they come from, how their files are read, and what is drawn from them at random."""
