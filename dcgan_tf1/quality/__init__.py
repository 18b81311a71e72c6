"""How good generated digits are: metrics, and the frozen classifier whose features they are measured in."""

MIN_CONFIDENCE = 0.9
"""How sure the classifier must be of a digit, by default, for the digit to count as one of its class."""
