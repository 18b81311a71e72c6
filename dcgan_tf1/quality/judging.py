"""Which classifier judges the images of a data set, and which real images generated ones are compared with.

A frozen classifier of MNIST's digits judges what it can read, and images without labels. Other labelled data gets a
classifier of its own, which is trained on it once. Nothing that trains a GAN ever sees a classifier.
"""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dcgan_tf1.data import draws, idx
from dcgan_tf1.data.classes import DIGITS, labels_of
from dcgan_tf1.data.readers import shorten
from dcgan_tf1.data.sources import Dataset
from dcgan_tf1.errors import DataError, one_line
from dcgan_tf1.pictures import images
from dcgan_tf1.quality.classifier import SIDE, Classifier
from dcgan_tf1.quality.scorer import Scorer
from dcgan_tf1.quality.train_classifier import open_fitted

MEASURED = 5000
"""How many digits are measured during training, and how many images of the data set they are compared with at most."""
_LEAST_HELD_OUT = 10
_MOST_HELD_OUT = 10_000
_READS = 0.95  # the share of labels from which on the frozen classifier reads a data set


def hold_out(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The indices of the images in two parts: four fifths of each class, and the last fifth, 10,000 images at most.

    Raises DataError if there are too few images.
    """
    count, classes = len(data.images), class_indices(data)
    order = draws.batch_indices(count, count, 0, 0)
    classes = np.zeros(count, int) if classes is None else classes
    chosen = np.zeros(count, bool)
    for label in range(classes.max() + 1):
        members = order[classes[order] == label]
        chosen[members[: len(members) // 5]] = True
    held_out = order[chosen[order]][:_MOST_HELD_OUT]
    if len(held_out) < _LEAST_HELD_OUT:
        fault = f"found {count} images, expected at least {5 * _LEAST_HELD_OUT} to measure by, 5 or more of a class"
        raise DataError(one_line(f"--dataset: {shorten(data.name)}: {fault}"))
    return order[~np.isin(order, held_out)], held_out


def class_indices(data: Dataset) -> np.ndarray | None:
    """The classes of the images, integers [N] from 0 on; None: they are not of different classes."""
    if data.labels is None or (data.labels == data.labels[0]).all():
        return None
    return data.indices_of(data)


def part(data: Dataset, indices: np.ndarray) -> Dataset:
    """Some images of `data`, as a data set of its own."""
    shown = data.images[indices]
    labels = None if data.labels is None else data.labels[indices]
    return data._replace(images=shown, labels=labels, digest=idx.digest(shown))


@contextlib.contextmanager
def open_judge(train: Dataset, test: Dataset, name: str = "a") -> Iterator[Classifier]:
    """The classifier in whose features images like `test` are compared, open until the `with` block ends.

    A line says which it is, and how well it reads the images of `test`.

    Args:
        train: what a classifier of the data set is trained on, where there is none.
        name: the frozen classifier; see `quality.classifier.KINDS`.
    """
    with Classifier.load(name) as classifier:
        if train.is_mnist or _reads(classifier, train, test):
            yield classifier
            return
    shown, labels = images.fit(test.images, SIDE), train.indices_of(test)
    with open_fitted(train._replace(images=images.fit(train.images, SIDE))) as classifier:
        accuracy = classifier.accuracy(shown, labels)
        print(one_line(f"a classifier trained on {train.name} reads {accuracy:.2%} of {len(shown)} others"), flush=True)
        yield classifier


def _reads(classifier: Classifier, train: Dataset, test: Dataset) -> bool:
    """Whether the frozen classifier judges images that are not MNIST's; if so, a line says why."""
    if class_indices(train) is None:
        seen = "note: without labels, images are compared in the features of a classifier of MNIST's digits"
        print(f"{seen}; its distances tell which of two runs on the same data is nearer, and no more")
        return True
    labels = train.indices_of(test)
    if train.images.ndim > 3 or train.names or not np.array_equal(train.labels_in_order, labels_of(DIGITS)):
        return False
    accuracy = classifier.accuracy(images.fit(test.images, SIDE), labels)
    if accuracy >= _READS:
        print(f"the classifier of MNIST's digits reads {accuracy:.2%} of {len(labels)} images", flush=True)
    return accuracy >= _READS


class Measure(NamedTuple):
    """What images are compared with during training."""

    scorer: Scorer
    held_out: np.ndarray  # the indices of the images of the data set that they are compared with


@contextlib.contextmanager
def open_measure(data: Dataset) -> Iterator[Measure]:
    """What `--eval_every` compares generated images with, open until the `with` block ends.

    For MNIST that is its last 5,000 training images. Of other data a fifth is held out from the classifier, and not
    from the GAN; a line tells the reference distance, that of the other four fifths.

    Raises DataError if there are too few images, or labels that nothing can learn.
    """
    if data.is_mnist:
        with Classifier.load() as classifier:
            held_out = np.arange(len(data.images))[-MEASURED:]
            yield Measure(Scorer(classifier, images.fit(data.images[held_out], SIDE)), held_out)
        return
    rest, held_out = hold_out(data)
    held_out, others = held_out[:MEASURED], rest[:MEASURED]
    with open_judge(part(data, rest), part(data, held_out)) as classifier:
        scorer = Scorer(classifier, images.fit(data.images[held_out], SIDE))
        reference = scorer.distance(images.fit(data.images[others], SIDE))
        counts = f"{len(held_out)} images; {len(others)} other real ones"
        print(f"Frechet distances are measured against {counts} are at {reference:.3f}", flush=True)
        yield Measure(scorer, held_out)
