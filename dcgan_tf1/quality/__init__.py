"""How good generated digits are: metrics, and the frozen classifier whose features they are measured in."""

MIN_CONFIDENCE = 0.9
"""The probability that the classifier must give a digit's class, by default, before the digit counts as one of it."""
