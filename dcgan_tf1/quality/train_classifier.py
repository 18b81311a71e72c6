"""Training of the classifiers that images are judged by."""

import contextlib
import hashlib
import os

import numpy as np
import tensorflow as tf

from dcgan_tf1.data import draws, sources
from dcgan_tf1.data.readers import open_data_file
from dcgan_tf1.errors import DataError, OutputError, one_line
from dcgan_tf1.files import cache_folder, make_folder, write_whole
from dcgan_tf1.networks.frozen import session_options
from dcgan_tf1.networks.layers import ForwardPass
from dcgan_tf1.quality.classifier import KINDS, SCOPE, SIDE, Classifier, Kind, network
from dcgan_tf1.runs.log import Progress
from dcgan_tf1.runs.weights import seal

v1 = tf.compat.v1

_BATCH = 100
EPOCHS = 14  # passes over all images
LEAST_SHOWN = 60_000  # how many images are shown at least in a training, however few there are
_RATE = 2e-3  # the learning rate of the first step; it falls to 0 in a straight line


def open_fitted(data: sources.Dataset) -> contextlib.AbstractContextManager[Classifier]:
    """A classifier of kind `a` for `data`, open until the `with` block ends.

    It is trained on all of `data`, images of 28x28 pixels, at the first call. Later calls find its weights in the
    cache. Raises DataError if there are no labels.
    """
    labels = data.indices_of(data)
    digest = hashlib.sha256(data.digest.encode() + labels.astype("<i4").tobytes()).hexdigest()
    folder = cache_folder()
    path = folder / "classifiers" / f"{digest[:32]}.npz" if folder else None
    classes, channels = int(labels.max()) + 1, 1 if data.images.ndim == 3 else 3
    kind = KINDS["a"]._replace(file=str(path), sha256="", classes=classes, channels=channels)
    if path and os.path.exists(path):  # a folder that may not be searched has nothing
        with contextlib.suppress(DataError), open_data_file(path) as content, np.load(content) as file:
            arrays = dict(file)
            if arrays.pop("sha256") == seal({}, arrays):
                return Classifier.open(kind, arrays)
        print(one_line(f"note: {path} is not used, since it is damaged"))
    print(one_line(f"training a classifier of {data.name} once"), flush=True)
    weights = fit(kind, data.images, labels, EPOCHS)
    try:
        if path:
            make_folder(path.parent)
            sealed = {**weights, "sha256": np.array(seal({}, weights))}
            write_whole(path, lambda file: np.savez_compressed(file, **sealed))  # type: ignore[arg-type]
    except OutputError as error:
        print(one_line(f"warning: {error}; going on without, so it is trained again next time"))
    return Classifier.open(kind, weights)


def fit(kind: Kind, images: np.ndarray, labels: np.ndarray, epochs: int) -> dict[str, np.ndarray]:
    """Train a classifier from the seed of its kind. Its weights in float16, by variable.

    Args:
        images: uint8 [n, 28, 28], or [n, 28, 28, 3] in colour.
        labels: integers [n], each from 0 to kind.classes - 1.
        epochs: passes over the images; of few images there are more, so that LEAST_SHOWN are shown in all.
    """
    batch = min(_BATCH, len(images))
    steps = max(epochs, LEAST_SHOWN // len(images)) * (len(images) // batch)
    with tf.Graph().as_default() as graph:
        v1.set_random_seed(kind.seed)
        image = v1.placeholder(tf.uint8, [batch, *images.shape[1:]])
        label = v1.placeholder(tf.int32, [batch])
        transform = v1.placeholder(tf.float32, [batch, 8])
        rate = v1.placeholder(tf.float32, [])
        moved = tf.raw_ops.ImageProjectiveTransformV3(
            images=image[..., tf.newaxis] if kind.channels == 1 else image,
            transforms=transform,
            output_shape=[SIDE, SIDE],
            fill_value=0.0,
            interpolation="BILINEAR",
        )
        forward = ForwardPass(training=True)
        with v1.variable_scope(SCOPE):
            _, logits = network(moved[..., 0] if kind.channels == 1 else moved, kind, forward)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=label, logits=logits))
        weights = {variable.op.name: variable for variable in v1.global_variables()}
        share = v1.placeholder(tf.float32, [])
        averages = [average.assign_sub((average - value) * share) for average, value, _ in forward.statistics]
        train_op = tf.group(v1.train.AdamOptimizer(rate).minimize(loss), *averages)
        init_op = v1.global_variables_initializer()
    with (
        v1.Session(graph=graph, config=session_options()) as session,
        contextlib.closing(Progress(0, steps)) as progress,
    ):
        session.run(init_op)
        train_step = session.make_callable((loss, train_op), [image, label, transform, rate, share])
        for step in range(steps):
            chosen = draws.batch_indices(len(images), batch, kind.seed, step)
            moves = _transforms(np.random.default_rng([kind.seed, step]), batch)
            latest = max(0.01, 1 / (1 + step))  # the share of the batch in the moving averages
            found, _ = train_step(images[chosen], labels[chosen], moves, _RATE * (1 - step / steps), latest)
            progress.update(step + 1, f"loss {found:.3f}")
        return {name: value.astype(np.float16) for name, value in session.run(weights).items()}


def _transforms(random: np.random.Generator, count: int) -> np.ndarray:
    """Small random rotations, zooms, shears and shifts, for ImageProjectiveTransformV3: float32 [count, 8]."""
    angle, shear = random.uniform(-0.2, 0.2, (2, count))  # in radians, and in pixels for each pixel
    zoom = np.exp(random.uniform(-0.12, 0.12, count))
    shift = random.uniform(-2, 2, (count, 2))
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    matrix = np.stack([cos, shear - sin, sin, cos], 1).reshape(-1, 2, 2)
    offset = shift + (SIDE - 1) / 2 * (1 - matrix.sum(2))  # without a shift, the centre stays where it is
    rows = np.concatenate([matrix, offset[..., np.newaxis]], 2).reshape(-1, 6)
    return np.pad(rows, ((0, 0), (0, 2))).astype(np.float32)
