"""The same convolutions by faster ways."""
