"""How good generated digits are: metrics, and the frozen classifier whose features they are measured in."""
