"""What a trained GAN generates: the same from the same seed, of the class asked for, into files that are whole."""

import contextlib
import errno
import functools
import os
import signal
import tracemalloc
from concurrent import futures

import numpy as np
import pytest
import tensorflow as tf
from conftest import assert_error, contents, output, run
from PIL import Image

import dcgan_tf1
from dcgan_tf1.config import Config
from dcgan_tf1.data import draws, sources
from dcgan_tf1.data.draws import CHUNK
from dcgan_tf1.errors import CheckpointError, OutputError
from dcgan_tf1.pictures import images
from dcgan_tf1.quality import MIN_CONFIDENCE
from dcgan_tf1.quality.classifier import Classifier
from dcgan_tf1.runs import weights
from dcgan_tf1.sampling import files, search
from dcgan_tf1.sampling import trained_gan as trained
from dcgan_tf1.sampling.paths import latent_path
from dcgan_tf1.sampling.request import Request
from dcgan_tf1.sampling.search import Selection
from dcgan_tf1.sampling.trained_gan import TrainedGan
from dcgan_tf1.training import graph, session


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """The current folder is an empty one, without a run of the developer's, and SIGTERM's handler is put back."""
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def at_hand(shipped, monkeypatch):
    """Commands without `--checkpoint` use `shipped`, and do not load the same weights again."""
    monkeypatch.setattr(weights, "shipped_weights", functools.partial(weights.shipped_weights, "unconditional"))
    monkeypatch.setattr(trained, "TrainedGan", lambda found: contextlib.nullcontext(shipped))
    return shipped


# Generating


def test_a_digit_depends_on_its_seed_and_index_alone(shipped):
    digits = shipped.sample(2 * CHUNK + 1, seed=5)
    assert (digits.shape, digits.dtype) == ((2 * CHUNK + 1, 32, 32), np.uint8)
    for count in (0, 1, CHUNK, CHUNK + 1):
        assert np.array_equal(shipped.sample(count, seed=5), digits[:count])
    assert len(np.unique(digits.reshape(len(digits), -1), axis=0)) == len(digits)
    assert not np.array_equal(shipped.sample(1, seed=6), digits[:1])
    assert not np.array_equal(shipped.sample(1), shipped.sample(1))


def test_a_digit_does_not_depend_on_its_neighbours(shipped):
    z = draws.latent(0, draws.Stream.SAMPLE, 0, (CHUNK, 100))[:7]
    digits = shipped.generate(z)
    assert np.array_equal(digits, shipped.sample(7, seed=0))
    assert np.array_equal(shipped.generate(z[::-1])[::-1], digits)
    assert np.array_equal(shipped.generate(z[3:4]), digits[3:4])


def test_generates_what_the_training_graph_samples(finished):
    found = weights.find_weights(finished, None, pytest.fail)
    z = draws.latent(0, draws.Stream.SNAPSHOT, 0, (9, found.config.z_dim))
    with session.TrainingSession(graph.build_gan(found.config), found.config) as training:
        training.restore(found.prefix)
        expected = training.sample(z).astype(int)
    with TrainedGan(weights.read_weights(found)) as trained:
        assert np.abs(trained.generate(z) - expected).max() <= 1


def test_weights_of_other_networks(tmp_path):
    good = weights.shipped_weights("unconditional")
    name = "generator/dense/kernel"
    for arrays, fault in (
        ({k: v for k, v in good.arrays.items() if k != name}, f"found {name} of shape none"),
        (good.arrays | {name: np.zeros((3, 4), np.float32)}, f"found {name} of shape .3, 4., expected .100, 4096."),
        (good.arrays | {"generator/more": np.zeros(1, np.float32)}, "found generator/more, which no network"),
    ):
        with pytest.raises(CheckpointError, match=fault):
            TrainedGan(good._replace(arrays=arrays))


def test_weights_that_generate_nothing_are_refused(tmp_path):
    """Every number in them is finite, and the digits are none."""
    found = weights.shipped_weights("unconditional")
    name = "generator/dense/moving_variance"
    arrays = {**found.arrays, name: -found.arrays[name]}
    weights.save_weights(tmp_path / "weights.npz", found._replace(arrays=arrays))
    exports = [["export", "--format", form] for form in ("html", "npz", "saved_model")]
    for command in (["generate"], ["interpolate"], *exports):
        result = run(*command, "--checkpoint", tmp_path / "weights.npz", "--out", tmp_path / "out")
        assert_error(result, 4, "weights.npz: the generator makes NaN")
    result = run("export", "--checkpoint", tmp_path / "weights.npz", "--out", tmp_path / "out" / "below" / "it")
    assert_error(result, 4, "the generator makes NaN")
    assert os.listdir(tmp_path) == ["weights.npz"]


def test_a_digit_of_a_class(shipped):
    sevens = shipped.sample(20, label=7, seed=1)
    assert np.array_equal(shipped.sample(3, label=7, seed=1), sevens[:3])
    with Classifier.load() as classifier:
        everything = shipped.sample(CHUNK, seed=1)
        for digits, of in ((sevens, 20), (everything, CHUNK)):
            _, probabilities = classifier.features_and_probabilities(images.fit(digits, 28))
            kept = digits[(probabilities.argmax(1) == 7) & (probabilities.max(1) >= MIN_CONFIDENCE)]
            assert np.array_equal(kept[:20], sevens), of  # in their order


def test_confidence(shipped):
    examined = [
        list(shipped.select(Request(100, seed=0, min_confidence=least)))[-1].examined for least in (0, 0.9, 0.9999)
    ]
    assert examined[0] == 100 and examined == sorted(set(examined))


# Which candidates are kept: the search beside plain definitions


def searched(labels, sure, n, **wanted):
    """What the search keeps of classified candidates, which begin anew after the last: their numbers are their z."""

    def compute(chunk):
        here = np.arange(chunk * CHUNK, (chunk + 1) * CHUNK)
        labelled = Selection(here, here, labels.take(here, mode="wrap"), len(here) * (chunk + 1))
        return labelled, sure.take(here, mode="wrap")

    return search.search(compute, n, **wanted)


@pytest.mark.parametrize("seed", range(3))
def test_the_first_that_are_wanted_are_kept(seed):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 10, 4 * CHUNK).astype(np.uint8)
    sure = random.random(4 * CHUNK) < 0.6

    def check(expected, **wanted):
        found = np.concatenate([part.z for part in searched(labels, sure, n, **wanted)])
        assert np.array_equal(found, expected)

    for n in (1, 9, 10, 17, 333):
        check(np.flatnonzero(sure)[:n])
        classes = [np.flatnonzero(sure & (labels == digit)) for digit in range(10)]
        for digit in (0, 4, 9):
            check(classes[digit][:n], wanted=digit) if n <= len(classes[digit]) else None
        firsts = [members[: n // 10 + (digit < n % 10)] for digit, members in enumerate(classes)]
        check(np.sort(np.concatenate(firsts)), balanced=True)


def test_no_class_of_a_balanced_set_runs_ahead():
    """Five of 500 candidates are nines, so that the other classes could all be complete long before it."""
    labels = np.resize(np.arange(9, dtype=np.uint8), CHUNK)
    labels[::100] = 9
    counts = np.zeros(10, int)
    for part in searched(labels, np.ones(CHUNK, bool), 3000, balanced=True):
        counts += np.bincount(part.indices, minlength=10)
        assert counts.max() - counts.min() <= 100
    assert counts.tolist() == [300] * 10


def test_a_class_may_be_a_hundred_ahead():
    parts = searched(np.zeros(CHUNK, np.uint8), np.ones(CHUNK, bool), 3000, balanced=True)
    assert next(parts).z.tolist() == list(range(100))
    with pytest.raises(CheckpointError, match=f"^digit 1: found none in {search.PATIENCE} "):
        next(parts)


def test_only_rejections_in_a_row_end_the_search(monkeypatch):
    monkeypatch.setattr(search, "PATIENCE", 2 * CHUNK)
    sure = np.zeros(2 * CHUNK, bool)
    sure[CHUNK] = True
    parts = searched(np.zeros(2 * CHUNK, np.uint8), sure, 2, wanted=0)
    assert [part.examined for part in parts] == [2 * CHUNK, 3 * CHUNK + 1]


# The API

NO_Z = [
    *(np.zeros((2, 99)), np.zeros(100), np.zeros((1, 100, 1)), 3, None, [], "z", np.full((1, 100), "z")),
    *(np.full((1, 100), np.nan), np.full((1, 100), 1e300), np.zeros((1, 100), complex)),
    *(np.zeros((1, 100), bool), [[0.0] * 100, [0.0] * 99], [[None] * 100]),
]
NO_DIGITS = [
    *(np.zeros((1, 32, 32)), np.zeros((32, 32), np.uint8), np.zeros((1, 30, 30), np.uint8)),
    *([[[0] * 28] * 28], None, [[1], [1, 2]], []),
]
MISTAKES = {
    "n": ("sample", {"n": [-1, 2.5, True, None, "3", np.nan, 2**63, [1]]}, {}),
    "label": ("sample", {"label": [10, -1, "03", 3.0, True, (3,)]}, {"n": 1}),
    "seed": ("sample", {"seed": [-1, 2**63, 1.0, "0", True]}, {"n": 1}),
    "seed of select": ("select", {"seed": [-1, 1.5]}, {"n": 1}),
    "balanced": ("select", {"balanced": ["yes", 1, None]}, {"n": 1, "seed": 0}),
    "balanced label": ("select", {"balanced": [True]}, {"n": 1, "seed": 0, "label": 3}),
    "min_confidence": ("select", {"min_confidence": [-0.1, 1.1, np.nan, "1", True]}, {"n": 1, "seed": 0}),
    "steps": ("interpolate", {"steps": [1, 2.0, None, True]}, {}),
    "rows": ("interpolate", {"rows": [0, 1.0, None]}, {"steps": 3}),
    "labels": ("interpolate", {"labels": [(3,), (1, 2, 3), 3, "37", (3, 10), (None, "x"), None]}, {"steps": 3}),
    "seeds": ("interpolate", {"seeds": [(3,), 3, (0, -1), (0.0, 1), None]}, {"steps": 3}),
    "z": ("generate", {"z": NO_Z}, {}),
    "images": ("discriminate", {"digits": NO_DIGITS}, {}),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_answered_in_one_line_of_our_own(case, shipped):
    method, mistakes, others = MISTAKES[case]
    for name, values in mistakes.items():
        for value in values:
            with pytest.raises(ValueError, match=rf"^{name}: found .*, expected ") as caught:
                given = {**others, name: value}
                shipped.select(Request(**given)) if method == "select" else getattr(shipped, method)(**given)
            assert str(caught.value).isprintable() and len(str(caught.value)) <= 200


def test_what_may_be_given_in_place_of_arrays_and_numbers(shipped):
    z = draws.latent(0, draws.Stream.SAMPLE, 0, (CHUNK, 100))[:2]
    digits = shipped.generate(z)
    for same in (z.tolist(), z.astype(float), list(z)):
        assert np.array_equal(shipped.generate(same), digits)
    assert shipped.generate(np.zeros((1, 100), int)).shape == (1, 32, 32)
    assert shipped.generate(z[:0]).shape == (0, 32, 32)
    assert np.array_equal(shipped.sample(np.int64(2), seed=np.uint8(0)), digits)
    assert np.array_equal(shipped.discriminate(list(digits)), shipped.discriminate(digits))
    assert list(shipped.select(Request(0))) == [] and list(shipped.select(Request(0, balanced=True))) == []


def test_many_at_once_beside_eager_code_and_from_threads(shipped, finished):
    expected = shipped.sample(2, label=3, seed=0)

    def work():
        with dcgan_tf1.load("unconditional") as own, dcgan_tf1.load(finished) as other:
            assert tf.executing_eagerly() and float(tf.constant(2.0) * 3) == 6
            for gan in (own, shipped):
                assert np.array_equal(gan.sample(2, label=3, seed=0), expected)
            assert (other.step, other.config.z_dim, other.dataset["name"]) == (200, 8, "digits")
            assert other.sample(1, seed=0).shape == (1, 32, 32)

    with futures.ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(work) for _ in range(2)]:
            done.result()
    assert tf.executing_eagerly() and int(tf.function(lambda x: x + 1)(1)) == 2


def test_closed(finished):
    with dcgan_tf1.load(finished) as own:
        own.sample(1)
    with pytest.raises(RuntimeError, match="closed"):
        own.sample(1)


def test_discriminate(shipped):
    digits = shipped.sample(5, seed=0)
    found = shipped.discriminate(digits)
    assert (found.shape, found.dtype) == ((5,), np.float32)
    assert (found > 0).all() and (found < 1).all()
    assert np.array_equal(shipped.discriminate(digits[3:4]), found[3:4])
    small = images.fit(digits, 28)
    assert np.array_equal(shipped.discriminate(small), shipped.discriminate(images.fit(small, 32)))
    assert shipped.discriminate(digits[:0]).shape == (0,)


# Paths


def test_a_path_is_distributed_as_z_is():
    start, stop = (draws.latent(seed, draws.Stream.SAMPLE, 0, (400, 100)) for seed in (0, 1))
    path = latent_path(start, stop, 5)
    assert (path.shape, path.dtype) == ((400, 5, 100), np.float32)
    assert np.array_equal(path[:, 0], start) and np.array_equal(path[:, -1], stop)
    for step in range(5):
        shares, _ = np.histogram(path[:, step], bins=10, range=(-1, 1))
        assert np.abs(shares / path[:, step].size - 0.1).max() < 0.006
    straight, _ = np.histogram((start + stop) / 2, bins=10, range=(-1, 1))
    assert straight[0] / start.size < 0.03  # a straight line's middle is not uniform
    steps = np.abs(np.diff(path, axis=1)).mean((0, 2))
    assert steps.max() / steps.min() < 1.1
    again = latent_path(start[::-1], stop[::-1], 5)[::-1]
    assert np.array_equal(again, path)


def test_a_path_between_normal_vectors_is_as_long_as_they_are():
    start, stop = (draws.latent(seed, draws.Stream.SAMPLE, 0, (50, 64), "normal") for seed in (0, 1))
    path = latent_path(start, stop, 5, "normal")
    assert np.array_equal(path[:, 0], start) and np.array_equal(path[:, -1], stop)
    assert np.abs(np.square(path).mean((0, 2)) - 1).max() < 0.1  # a straight line's middle has half of it


def test_a_path_to_the_same_place_stays_there():
    z = draws.latent(0, draws.Stream.SAMPLE, 0, (3, 100))
    z[0, :3] = -1, 1, 0
    assert np.abs(latent_path(z, z, 4) - z[:, np.newaxis]).max() < 1e-5
    assert np.isfinite(latent_path(z, -z, 4)).all()


def test_interpolate(shipped):
    paths = shipped.interpolate(4, rows=2, labels=(3, None), seeds=(0, 1))
    assert (paths.shape, paths.dtype) == ((2, 4, 32, 32), np.uint8)
    assert np.array_equal(paths[:, 0], shipped.sample(2, label=3, seed=0))
    assert np.array_equal(paths[:, -1], shipped.sample(2, seed=1))
    assert np.array_equal(shipped.interpolate(4, labels=(3, None), seeds=(0, 1))[0], paths[0])


# Files


def test_pictures(at_hand, tmp_path):
    out = output("generate", "--num_digits", 3, "--seed", 4, "--out", tmp_path / "a")
    assert "weights: step" in out and "3 digits" in out
    assert sorted(os.listdir(tmp_path / "a")) == ["00000.png", "00001.png", "00002.png"]
    digits = at_hand.sample(3, seed=4)
    for i in range(3):
        with Image.open(tmp_path / "a" / f"0000{i}.png") as picture:
            assert picture.size == (112, 112)
            assert np.array_equal(np.asarray(picture)[::4, ::4], digits[i, 2:-2, 2:-2])
    assert "kept of" in output("generate", "--num_digits", 1, "--digit", 6, "--size", 32, "--scale", 1)
    with Image.open(tmp_path / "generated" / "6_00000.png") as picture:
        assert np.array_equal(picture, at_hand.sample(1, label=6, seed=0)[0])


def test_grid(at_hand, tmp_path):
    output("generate", "--format", "grid", "--num_digits", 20, "--balanced", "--scale", 1, "--out", tmp_path)
    with Image.open(tmp_path / "digits.png") as picture:
        assert picture.size == (5 * 29 + 1, 4 * 29 + 1)
    for count, columns in ((1, 1), (2, 2), (7, 3), (10, 5), (36, 6), (64, 8), (100, 10)):
        files.write_digits(Endless(), tmp_path, "grid", Request(count, seed=0), scale=1, force=True)
        with Image.open(tmp_path / "digits.png") as picture:
            assert picture.width == 29 * columns + 1


@pytest.mark.parametrize(
    ("form", "names"),
    [("npz", ["digits.npz"]), ("idx", ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "classes.txt"])],
)
def test_a_data_set(at_hand, form, names, tmp_path):
    flags = ["generate", "--format", form, "--num_digits", 530, "--labels", "--balanced", "--out", tmp_path / form]
    output(*flags)
    kept = list(at_hand.select(Request(530, seed=0, balanced=True)))
    digits, labels = np.concatenate([part.digits for part in kept]), np.concatenate([part.indices for part in kept])
    before = contents(tmp_path / form)
    assert before.keys() == set(names)
    found = sources.load(str(tmp_path / form / names[0]), "")  # the strictest reader there is
    assert np.array_equal(found.images, digits[:, 2:-2, 2:-2])
    assert found.labels.dtype == np.uint8 and np.array_equal(found.labels, labels)
    output(*flags, "--force")
    assert contents(tmp_path / form) == before
    output("generate", "--format", form, "--num_digits", 5, "--size", 32, "--out", tmp_path / "plain")
    assert sorted(contents(tmp_path / "plain")) == names[:1]
    found = sources.load(str(tmp_path / "plain" / names[0]), "")
    assert found.labels is None and np.array_equal(found.images, at_hand.sample(5, seed=0))


def test_files_that_are_there_are_found_at_once(tmp_path, no_tensorflow):
    names = ("digits.png", "interpolation.png", "3_00009.png", "7")
    for name in names:
        (tmp_path / name).write_bytes(b"mine")
    commands = ("generate --format grid", "interpolate", "generate --digit 3", "generate --labels")
    for command, name in zip(commands, names, strict=True):
        assert_error(run(*command.split(), "--out", tmp_path), 5, f"{name}: found a file", "--force")
    assert contents(tmp_path) == dict.fromkeys(names, b"mine")


def test_files_that_are_there_are_replaced_by_force(at_hand, tmp_path):
    (tmp_path / "digits.png").write_bytes(b"mine")
    output("generate", "--format", "grid", "--out", tmp_path, "--force")
    assert (tmp_path / "digits.png").read_bytes() != b"mine"


class Endless:
    """A stand-in for a GAN that generates at no cost."""

    config, classes = Config(), ()

    def __init__(self, after=10**9, then=None):
        self.after, self.then = after, then

    def select(self, request):
        for done in range(0, n := request.n, CHUNK):
            if done >= self.after:
                self.then()
            count = min(CHUNK, n - done)
            digits = np.full((count, 32, 32), done % 251, np.uint8)
            yield Selection(np.zeros((count, 3), np.float32), digits, np.ones(count, np.uint8), done + count)


@pytest.mark.parametrize("form", ["npz", "idx"])
def test_memory_does_not_grow_with_the_data_set(form, tmp_path):
    peaks = []
    for count in (5_000, 30_000):
        tracemalloc.start()
        files.write_digits(Endless(), tmp_path / str(count), form, Request(count, seed=0), labels=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2e5  # where the data set grows by 20 MB


def fill_the_disk():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("form", ["png", "grid", "npz", "idx"])
def test_all_or_none(form, tmp_path, monkeypatch):
    with monkeypatch.context() as at_the_end:
        at_the_end.setattr(os, "fsync", lambda descriptor: fill_the_disk())
        for gan in (Endless(CHUNK, fill_the_disk), Endless(CHUNK, interrupt), Endless()):
            with pytest.raises((OutputError, KeyboardInterrupt), match="No space left|^$"):
                files.write_digits(gan, tmp_path / "new", form, Request(2 * CHUNK, seed=0), labels=form != "png")
            assert not (tmp_path / "new").exists()
    files.write_digits(Endless(), tmp_path, form, Request(3, seed=0), labels=form != "png")
    before = contents(tmp_path)
    with pytest.raises(OutputError, match="No space left"):
        files.write_digits(
            Endless(0, fill_the_disk), tmp_path, form, Request(3, seed=0), labels=form != "png", force=True
        )
    assert contents(tmp_path) == before


def test_terminated(tmp_path, monkeypatch):
    stopped = Endless(CHUNK, lambda: os.kill(os.getpid(), signal.SIGTERM))
    monkeypatch.setattr(trained, "TrainedGan", lambda found: contextlib.nullcontext(stopped))
    result = run("generate", "--format", "idx", "--num_digits", 9 * CHUNK, "--out", tmp_path / "new")
    assert result.code == 143 and not (tmp_path / "new").exists()


def test_paths_as_files(at_hand, tmp_path):
    flags = ["--from", 3, "--to", 8, "--rows", 2, "--steps", 4, "--scale", 1, "--out", tmp_path]
    output("interpolate", *flags)
    paths = at_hand.interpolate(4, 2, (3, 8), (0, 1))[:, :, 2:-2, 2:-2]
    with Image.open(tmp_path / "interpolation.png") as picture:
        assert np.array_equal(picture, images.grid(paths.reshape(8, 28, 28), 4))
    with Image.open(tmp_path / "interpolation.gif") as film:
        assert film.info["loop"] == 0 and film.n_frames > 10
        assert np.array_equal(film.convert("L"), images.grid(paths[:, 0], 2))
        film.seek(film.n_frames - 1)
        assert np.array_equal(film.convert("L"), images.grid(paths[:, 0], 2))  # back where it began


# Misuse

FLAGS = {
    "--num_digits": ["0", "-3", "1e3", "10001 --format grid"],
    "--balanced": ["--digit 7"],
    "--seed": ["-1"],
    "--size": ["30"],
    "--scale": ["0", "2 --format npz", "13 --format grid --num_digits 1000"],
    "--format": ["bmp"],
    "--labels": ["--format grid"],
    "--min_confidence": ["0.5", "nan --digit 1", "1.5 --digit 1"],
}
MISUSE = [
    *((f"generate {flag} {rest}", 2, flag) for flag, rests in FLAGS.items() for rest in rests),
    ("generate --checkpoint 12", 4, "model-12"),
    ("generate --out_dir absent", 4, "absent"),
    ("generate --checkpoint foreign.npz", 4, "foreign.npz"),
    *((f"{command} --checkpoint absent", 4, "absent") for command in ("generate", "interpolate", "evaluate")),
    *(
        (f"interpolate {flag}", 2, flag.partition("=")[0])
        for flag in ("--from=", "--steps=1", "--rows=0", "--to_seed=-1", "--scale=14")
    ),
    ("generate --class=", 2, "--digit, --class: found ''"),
]


@pytest.mark.parametrize(("arguments", "code", "named"), MISUSE, ids=str)
def test_misuse_ends_in_one_line_without_tensorflow(arguments, code, named, tmp_path, no_tensorflow):
    np.savez(tmp_path / "foreign.npz", a=np.zeros(3))
    assert_error(run(*arguments.split()), code, named, out="")
    assert os.listdir(tmp_path) == ["foreign.npz"]


@pytest.mark.parametrize("name", ["weights", "unconditional"])
def test_a_digit_that_the_weights_do_not_know(name, tmp_path, no_tensorflow):
    for digit in ("10", "-1", "01", "\u096d", "1_0", "+1", "seven"):
        for flags in (["generate", "--digit"], ["generate", "--class"], ["interpolate", "--to"]):
            line = f"{flags[1]}: found {digit!r}, expected one of the classes 0, 1, 2, 3, 4, 5, 6, 7, 8, 9\n"
            assert_error(run(*flags, digit, "--checkpoint", name), 2, line.replace("--digit:", "--digit, --class:"))
    assert os.listdir(tmp_path) == []


def test_an_unknown_digit(finished, monkeypatch, tmp_path):
    monkeypatch.setattr(search, "PATIENCE", CHUNK)
    flags = ["--digit", 4, "--min_confidence", 1]  # which no softmax reaches
    result = run("generate", *flags, "--out_dir", finished, "--out", tmp_path / "new")
    assert_error(result, 4, "digit 4: found none in 500")
    assert not (tmp_path / "new").exists()
