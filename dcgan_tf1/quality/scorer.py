"""Digits compared with real ones, in the features of a frozen classifier."""

from typing import Any

import numpy as np

from dcgan_tf1.quality import MIN_CONFIDENCE, metrics
from dcgan_tf1.quality.classifier import Classifier


class Scorer:
    """Compares digits with `real`, uint8 [n, 28, 28], as `classifier` sees them."""

    def __init__(self, classifier: Classifier, real: np.ndarray) -> None:
        self._classifier = classifier
        self._features, probabilities = classifier.features_and_probabilities(real)
        self._statistics = metrics.statistics(self._features)
        self._histogram = metrics.class_histogram(probabilities)

    def distance(self, digits: np.ndarray) -> float:
        """The Frechet distance between `digits`, uint8 [m, 28, 28], and the real ones."""
        features, _ = self._classifier.features_and_probabilities(digits)
        return metrics.frechet_distance(metrics.statistics(features), self._statistics)

    def measure(self, digits: np.ndarray, labels: np.ndarray | None = None) -> dict[str, Any]:
        """The metrics of `digits`, uint8 [m, 28, 28], by their keys in evaluation.json.

        Args:
            labels: the classes that the digits should be of, integers [m]; None: they are of no class in particular.
        """
        features, probabilities = self._classifier.features_and_probabilities(digits)
        histogram = metrics.class_histogram(probabilities)
        kid, kid_error = metrics.kid(features, self._features)
        return {
            "frechet_distance": metrics.frechet_distance(metrics.statistics(features), self._statistics),
            "kid": kid,
            "kid_error": kid_error,
            **metrics.precision_recall_density_coverage(self._features, features)._asdict(),
            "class_divergence": metrics.class_divergence(histogram, self._histogram),
            "missing_classes": metrics.missing_classes(histogram, self._histogram),
            "mnist_score": metrics.mnist_score(probabilities),
            "unsure": float((probabilities.max(1) < MIN_CONFIDENCE).mean()),
            "label_agreement": None if labels is None else float((probabilities.argmax(1) == labels).mean()),
        }
