"""A run on disk: its folders, its checkpoints and its log."""
