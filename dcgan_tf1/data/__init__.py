"""Data sets: where they come from, how their files are read, and what is drawn at random for training and sampling."""
