"""How good the digits of a GAN are. They and three controls are compared with the test images of its data set.

The controls tell how to read the numbers. As many training digits, chosen at random, show what a perfect generator
would get; their distance is the reference distance. Gaussian noise with the mean and the covariance of these digits'
pixels is no digit at all. The same digits blurred are right, and only look worse.
"""

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from dcgan_tf1.data import draws, sources
from dcgan_tf1.errors import DataError
from dcgan_tf1.files import write_whole
from dcgan_tf1.pictures import images
from dcgan_tf1.quality import metrics
from dcgan_tf1.quality.classifier import KINDS, SIDE, Classifier
from dcgan_tf1.quality.judging import class_indices, hold_out, open_judge, part
from dcgan_tf1.quality.scorer import Scorer
from dcgan_tf1.quality.train_classifier import fit
from dcgan_tf1.runs import weights
from dcgan_tf1.sampling.request import Request
from dcgan_tf1.sampling.trained_gan import TrainedGan

_FULL = 32  # the side of measured digits in pixels; smaller ones get a black margin
_MARGIN = (_FULL - SIDE) // 2
_COLUMNS = 20
_LEAST = 10  # images of each split: the metrics look at the fifth neighbour, and halve the splits
_SCORES = 3  # how many classifiers are trained for each accuracy score
_FIRST_SEED = 10  # of their seeds, none of which is that of a published classifier
_EPOCHS = 4  # of their training
_NEIGHBOURS = 10_000  # nearest training digits are sought for this many digits at most, since the search is slow
_ROWS = {
    "frechet_distance": ("Frechet distance", "{:.3f}"),
    "kid": ("kernel distance (KID)", "{:.5f}"),
    "kid_error": ("  its standard error", "{:.5f}"),
    "precision": ("precision", "{:.3f}"),
    "recall": ("recall", "{:.3f}"),
    "density": ("density", "{:.3f}"),
    "coverage": ("coverage", "{:.3f}"),
    "class_divergence": ("class histogram's KL", "{:.5f}"),
    "missing_classes": ("missing classes", "{:d}"),
    "mnist_score": ("classifier score", "{:.3f}"),
    "unsure": ("share of no clear class", "{:.3f}"),
    "label_agreement": ("read as the class asked", "{:.3f}"),
    "neighbour_ratio": ("nearest training / test's", "{:.3f}"),
    "copies": ("exact copies", "{:d}"),
    "specked": ("share with specks", "{:.3f}"),
    "border_energy": ("border energy", "{:.5f}"),
}
"""The rows of the table: for each key of evaluation.json a title and a format."""
_TITLES = {"floor": "real"}  # how the table calls a column that evaluation.json calls otherwise


def evaluate(
    source: weights.WeightsSource,
    train: sources.Dataset,
    test: sources.Dataset,
    logs: Path,
    count: int,
    seed: int,
    classifier_name: str,
    with_cas: bool = False,
) -> None:
    """Measure `count` digits of `source`, print the table, and write evaluation.json and evaluation.png to `logs`.

    They are compared in the features that `quality.judging` chooses. Where there is no test split, both `train` and
    `test` being all images, a fifth of them takes its place, which the GAN has seen and the classifier has not.

    Args:
        train, test: the images of the data set that the GAN was trained on.
        seed: of the digits and of the controls.
        classifier_name: the frozen classifier, where that is the one; see `quality.classifier.KINDS`.
        with_cas: whether to measure how well a classifier learns from generated digits too.

    Raises:
        CheckpointError: the weights of the GAN, or the classifier's, are not what they should be.
        DataError: there are too few images, or a test image has a label that no training image has.
        OutputError: `logs`, which must be there, cannot be written.
    """
    began = time.monotonic()
    if train.digest == test.digest:
        rest, held_out = hold_out(train)
        taken = f"{len(held_out)} of the training images take its place, which the GAN has been trained on"
        print(f"note: without a test split, {taken}")
        train, test = part(train, rest), part(train, held_out)
    for shown, which in ((train.images, "training"), (test.images, "test")):
        if len(shown) < _LEAST:
            raise DataError(f"--dataset: found {len(shown)} {which} images, expected {_LEAST} at least to measure by")
    labels = class_indices(train)
    print(f"generating {count} digits of step {source.step}", flush=True)
    chosen = draws.batch_indices(len(train.images), min(count, len(train.images)), seed, 0)
    real = train.images[chosen]
    with TrainedGan(weights.read_weights(source)) as gan:
        # The classes are as frequent as in the data.
        wanted = np.resize(labels[chosen], count) if gan.classes and labels is not None else None
        asked = None if wanted is None else np.array(gan.classes)[wanted]
        generated = gan.generate(gan.latent(count, seed), asked)
        scores = _accuracy_scores(gan, train, test, seed) if with_cas else None
    columns = {"generated": generated, "floor": real, "noise": _noise(real, seed), "blurred": _blurred(real)}
    known = {"floor": None if labels is None else labels[chosen], "generated": wanted}
    table = {}
    with open_judge(train, test, classifier_name) as classifier:
        inner, inner_test = (images.fit(data.images, SIDE) for data in (train, test))
        scorer = Scorer(classifier, inner_test)
        usual = _neighbour_distance(inner_test, inner)
        for column, digits in columns.items():
            print(f"measuring {_TITLES.get(column, column)}", flush=True)
            measured = scorer.measure(images.fit(digits, SIDE), known.get(column))
            table[column] = {**measured, **_pixel_metrics(images.fit(digits, _FULL), inner, usual)}
        picture = _picture(classifier, images.fit(generated, SIDE), inner)
        judge = classifier.name

    distance, reference = (table[column]["frechet_distance"] for column in ("generated", "floor"))
    record = {
        "step": source.step,
        "dataset": source.dataset,
        "num_digits": count,
        "seed": seed,
        "classifier": judge,
        "frechet_over_floor": _ratio(distance, reference),
        "seconds": round(time.monotonic() - began, 1),
        "metrics": {column: _or_null(values) for column, values in table.items()},
    } | ({"accuracy_scores": scores} if scores else {})
    write_whole(logs / "evaluation.json", json.dumps(record, indent=1).encode() + b"\n")
    images.save_png(logs / "evaluation.png", picture, scale=2)
    print(_text(table))
    times = "" if not reference else f", {distance / reference:.1f} times the reference distance"
    print(f"Frechet distance {distance:.3f}{times}")
    if scores:
        read, of_real = (f"{np.mean(x):.2%} (standard deviation {np.std(x, ddof=1):.2%})" for x in scores.values())
        print(
            f"a classifier trained on generated digits reads {read} of the test digits; on as many real ones {of_real}"
        )
    print(f"{logs / 'evaluation.json'}, {logs / 'evaluation.png'}")


def _or_null(values: dict[str, Any]) -> dict[str, Any]:
    """The values, with None for what is infinite or no number, which JSON cannot say."""
    odd = [name for name, value in values.items() if isinstance(value, float) and not math.isfinite(value)]
    return values | dict.fromkeys(odd)


def _accuracy_scores(
    gan: TrainedGan, train: sources.Dataset, test: sources.Dataset, seed: int
) -> dict[str, list[float]]:
    """The classification accuracy score (Ravuri and Vinyals 2019), three times each for generated and for real images.

    A classifier is trained on as many generated images as there are training images, as many of each class, and another
    one on the training images. Each score is the share of test images that such a classifier reads correctly. The
    classifiers have the shape of `b`, and seeds of their own.
    """
    count = len(train.images)
    print(f"generating {count} digits, and training {2 * _SCORES} classifiers", flush=True)
    parts = list(gan.select(Request(count, seed=seed, balanced=True)))
    names, indices = train.classes()
    asked = np.concatenate([part.indices for part in parts])
    sets = {
        "generated": (np.concatenate([images.fit(part.digits, SIDE) for part in parts]), asked),
        "real": (images.fit(train.images, SIDE), indices),
    }
    shape = KINDS["b"]._replace(classes=len(names), channels=1 if train.images.ndim == 3 else 3)
    scores: dict[str, list[float]] = {name: [] for name in sets}
    for score in range(_SCORES):
        for name, (shown, labels) in sets.items():
            seeded = shape._replace(seed=_FIRST_SEED + score)
            with Classifier.open(seeded, fit(seeded, shown, labels, _EPOCHS)) as classifier:
                scores[name].append(classifier.accuracy(images.fit(test.images, SIDE), train.indices_of(test)))
    return scores


def _pixel_metrics(digits: np.ndarray, training: np.ndarray, usual: float) -> dict[str, Any]:
    """The metrics of `digits`, uint8 [n, 32, 32], that need no classifier; `usual` is the distance of real digits."""
    inner = images.fit(digits, SIDE)
    return {
        "neighbour_ratio": _ratio(_neighbour_distance(inner, training), usual),
        "copies": metrics.exact_copies(inner, training),
        "specked": metrics.specked(digits),
        "border_energy": metrics.border_energy(digits, _MARGIN),
    }


def _ratio(value: float, reference: float) -> float | None:
    """`value` / `reference`; None where the reference is 0, as it is for images that are all alike."""
    return value / reference if reference else None


def _neighbour_distance(digits: np.ndarray, training: np.ndarray) -> float:
    """The median distance from `digits`, uint8 [n, 28, 28], to their nearest training digits."""
    distances, _ = metrics.nearest_neighbours(digits[:_NEIGHBOURS], training)
    return float(np.median(distances))


def _noise(digits: np.ndarray, seed: int) -> np.ndarray:
    """Gaussian noise with the mean and the covariance of the pixels of uint8 [n, h, w], in the same shape."""
    mean, covariance = metrics.statistics(digits.reshape(len(digits), -1))
    values, vectors = np.linalg.eigh(covariance)
    normal = np.random.default_rng(seed).standard_normal((len(digits), len(mean)))
    pixels = mean + normal * np.sqrt(values.clip(0)) @ vectors.T
    return pixels.round().clip(0, 255).astype(np.uint8).reshape(digits.shape)


def _blurred(digits: np.ndarray) -> np.ndarray:
    """Digits, uint8 [n, h, w], or [n, h, w, 3], blurred by a Gaussian with a standard deviation of one pixel."""
    return ndimage.gaussian_filter(digits.astype(np.float32), (0, 1, 1, 0)[: digits.ndim]).round().astype(np.uint8)


def _text(table: dict[str, dict[str, Any]]) -> str:
    lines = ["".join(["metric".ljust(26), *(_TITLES.get(column, column).rjust(12) for column in table)])]
    for key, (title, shown) in _ROWS.items():
        cells = ("" if column[key] is None else shown.format(column[key]) for column in table.values())
        lines.append("".join([title.ljust(26), *(cell.rjust(12) for cell in cells)]))
    return "\n".join(lines)


def _picture(classifier: Classifier, digits: np.ndarray, training: np.ndarray) -> np.ndarray:
    """A picture of samples, and below them for each class a row of samples over their nearest training digits."""
    classes = classifier.features_and_probabilities(digits)[1].argmax(1)
    blank = np.full((_COLUMNS, *digits.shape[1:]), images.BACKGROUND, np.uint8)
    rows = [digits[: 5 * _COLUMNS], blank]
    for label in range(classifier.classes):
        examples = digits[classes == label][:_COLUMNS]
        if len(examples):
            _, nearest = metrics.nearest_neighbours(examples, training)
            rows += [np.concatenate([part, blank])[:_COLUMNS] for part in (examples, training[nearest])]
    return images.grid(np.concatenate(rows), _COLUMNS)
