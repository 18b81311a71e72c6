"""Pictures: grids, films and figures."""
