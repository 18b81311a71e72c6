"""The metrics against numbers computed by hand, the shipped classifiers, and the command that brings them together."""

import json
import os
import re

import numpy as np
import pytest
from conftest import TINY, run
from PIL import Image

from dcgan_tf1.data import sources
from dcgan_tf1.errors import CheckpointError, DataError
from dcgan_tf1.quality import classifier, judging, metrics, train_classifier
from dcgan_tf1.quality.classifier import KINDS, Classifier
from dcgan_tf1.quality.metrics import Statistics
from dcgan_tf1.sampling import evaluation

MNIST_DIR = os.environ.get("MNIST_DIR", "")
needs_mnist = pytest.mark.skipif(not MNIST_DIR, reason="MNIST_DIR is not set")


def column(*values):
    return np.array(values, np.float64)[:, np.newaxis]


def rotation(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


class TestFrechetDistance:
    def test_one_dimension(self):
        a = Statistics(np.array([1.0]), np.array([[4.0]]))
        b = Statistics(np.array([4.0]), np.array([[25.0]]))
        assert metrics.frechet_distance(a, b) == pytest.approx(3**2 + (5 - 2) ** 2)

    def test_diagonal(self):
        a = Statistics(np.array([0.0, 1.0, 2.0]), np.diag([1.0, 4.0, 9.0]))
        b = Statistics(np.array([2.0, 1.0, 1.0]), np.diag([16.0, 4.0, 1.0]))
        assert metrics.frechet_distance(a, b) == pytest.approx(4 + 0 + 1 + (4 - 1) ** 2 + 0 + (1 - 3) ** 2)

    def test_commuting(self):
        turn = rotation(0.7)
        a = Statistics(np.zeros(2), turn @ np.diag([1.0, 9.0]) @ turn.T)
        b = Statistics(np.ones(2), turn @ np.diag([4.0, 25.0]) @ turn.T)
        assert metrics.frechet_distance(a, b) == pytest.approx(2 + (2 - 1) ** 2 + (5 - 3) ** 2)

    def test_not_commuting(self):
        # In two dimensions tr (C1 C2)^(1/2) = sqrt(tr C1 C2 + 2 sqrt(det C1 det C2)).
        turn = rotation(1.1)
        c1, c2 = np.diag([2.0, 7.0]), turn @ np.diag([1.0, 5.0]) @ turn.T
        root = np.sqrt(np.trace(c1 @ c2) + 2 * np.sqrt(14 * 5))
        found = metrics.frechet_distance(Statistics(np.zeros(2), c1), Statistics(np.zeros(2), c2))
        assert found == pytest.approx(9 + 6 - 2 * root)

    def test_singular(self):
        a = Statistics(np.zeros(2), np.diag([4.0, 0.0]))
        b = Statistics(np.zeros(2), np.diag([0.0, 9.0]))
        assert metrics.frechet_distance(a, b) == pytest.approx(13)
        assert metrics.frechet_distance(a, a) == pytest.approx(0, abs=1e-12)

    def test_statistics(self):
        mean, covariance = metrics.statistics(np.array([[0, 0], [2, 0], [0, 4], [2, 4]], np.float32))
        assert mean.dtype == covariance.dtype == np.float64
        np.testing.assert_allclose(mean, [1, 2])
        np.testing.assert_allclose(covariance, [[4 / 3, 0], [0, 16 / 3]])


class TestKid:
    def test_by_hand(self):
        # Kernel (x y + 1)^3: within {0, 1} 1, within {1, 2} 27; across 1, 1, 8, 27. So 1 + 27 - 2 (37 / 4) = 9.5.
        assert metrics._squared_discrepancy(column(0, 1), column(1, 2)) == pytest.approx(9.5)
        # Both halves of rows all alike give the same: k(0, 0) + k(2, 2) - 2 k(0, 2).
        assert metrics.kid(column(0, 0, 0, 0), column(2, 2, 2, 2)) == (pytest.approx(1 + 125 - 2), 0)

    def test_same_distribution(self):
        a, b = np.random.default_rng(0).normal(size=(2, 4000, 8))
        value, error = metrics.kid(a, b, subset=200)
        assert 0 < error < 0.01
        assert abs(value) < 4 * error
        assert metrics.kid(a, b + 0.3, subset=200)[0] > 10 * error

    def test_seed(self):
        a, b = np.random.default_rng(0).normal(size=(2, 100, 3))
        assert metrics.kid(a, b, 20, seed=1) == metrics.kid(a, b, 20, seed=1) != metrics.kid(a, b, 20, seed=2)


class TestPrecisionRecall:
    def test_nearest_neighbour(self):
        # k = 1: the reals 0, 1, 3 have radii 1, 1, 2; the fakes 1.5, 10, 11 have radii 8.5, 1, 1.
        found = metrics.precision_recall_density_coverage(column(0, 1, 3), column(1.5, 10, 11), k=1)
        # 1.5 lies within the balls of 1 and 3; every real lies within the ball of 1.5.
        assert found == pytest.approx((1 / 3, 1, 2 / 3, 2 / 3))

    def test_two_neighbours(self):
        # k = 2: the reals 0, 1, 3, 7 have radii 3, 2, 3, 6; the fakes 4, 5, 20 have radii 16, 15, 16.
        found = metrics.precision_recall_density_coverage(column(0, 1, 3, 7), column(4, 5, 20), k=2)
        # 4 lies within those of 3 and 7, 5 also; 20 in none.
        assert found == pytest.approx((2 / 3, 1, (2 + 2 + 0) / 2 / 3, 2 / 4))

    def test_same_set(self):
        points = np.random.default_rng(0).normal(size=(50, 3))
        found = metrics.precision_recall_density_coverage(points, points)
        assert (found.precision, found.recall, found.coverage) == (1, 1, 1)

    def test_disjoint_sets(self):
        points = np.random.default_rng(0).normal(size=(50, 3))
        assert metrics.precision_recall_density_coverage(points, points + 100) == (0, 0, 0, 0)

    def test_chunks(self, monkeypatch):
        real, fake = np.random.default_rng(0).normal(size=(2, 40, 2))
        whole = metrics.precision_recall_density_coverage(real, fake)
        monkeypatch.setattr(metrics, "_MEBIBYTES", 7 * 40 * 8 / 2**20)
        assert metrics.precision_recall_density_coverage(real, fake) == whole


class TestClasses:
    def test_histogram(self):
        probabilities = np.array([[0.9, 0.1, 0], [0.6, 0.4, 0], [0.2, 0.8, 0], [1, 0, 0]])
        np.testing.assert_array_equal(metrics.class_histogram(probabilities), [0.75, 0.25, 0])

    def test_divergence(self):
        half = np.array([0.5, 0.5])
        assert metrics.class_divergence(half, half) == 0
        assert metrics.class_divergence(np.array([0.75, 0.25]), half) == pytest.approx(
            0.75 * np.log(1.5) + 0.25 * np.log(0.5)
        )
        assert metrics.class_divergence(np.array([1.0, 0.0]), half) == pytest.approx(np.log(2))
        assert metrics.class_divergence(half, np.array([1.0, 0.0])) == np.inf

    def test_missing(self):
        reference = np.full(4, 0.25)
        assert metrics.missing_classes(reference, reference) == 0
        assert metrics.missing_classes(np.array([0.96, 0.03, 0.01, 0.0]), reference) == 2

    def test_score(self):
        assert metrics.mnist_score(np.eye(10)) == pytest.approx(10)
        assert metrics.mnist_score(np.full((7, 10), 0.1)) == pytest.approx(1)
        assert metrics.mnist_score(np.array([[1, 0], [0.5, 0.5]])) == pytest.approx(
            np.exp(0.5 * np.log(1 / 0.75) + 0.25 * np.log(0.5 / 0.75) + 0.25 * np.log(0.5 / 0.25))
        )


class TestPixels:
    def test_nearest_neighbours(self, monkeypatch):
        training = np.random.default_rng(0).integers(0, 256, (30, 4, 4), np.uint8)
        images = training[[29, 3, 12]].copy()
        images[1, 0, 0] ^= 1
        images[2, :2, 0] ^= 1
        monkeypatch.setattr(metrics, "_ROWS", 8)
        distances, indices = metrics.nearest_neighbours(images, training)
        assert indices.tolist() == [29, 3, 12]
        np.testing.assert_allclose(distances, [0, 1 / 255, np.sqrt(2) / 255])

    def test_exact_copies(self):
        training = np.random.default_rng(0).integers(0, 256, (30, 4, 4), np.uint8)
        images = training[[5, 5, 6, 7]].copy()
        images[3, 3, 3] ^= 1
        assert metrics.exact_copies(images, training) == 3

    def test_border_energy(self):
        images = np.zeros((2, 32, 32), np.uint8)
        images[:, 2:-2, 2:-2] = 255
        assert metrics.border_energy(images) == 0
        images[0, 0] = 255  # 32 pixels of the frame's 32 32 - 28 28 = 240, in one image of two
        assert metrics.border_energy(images) == pytest.approx(32 / 240 / 2)
        assert metrics.border_energy(np.full((1, 32, 32), 51, np.uint8)) == pytest.approx(0.2)

    def test_specked(self):
        images = np.zeros((5, 12, 12), np.uint8)
        images[:, 2:6, 2:6] = 255  # a digit, alone in the first
        images[1, 8:10, 8:11] = 65  # six pixels beside it
        images[2, 8:10, 8:11] = 64  # too dark
        images[3, 8, 4:11] = 255  # seven
        images[4, 6, 6] = 255  # touches the digit at a corner
        assert metrics.specked(images) == 1 / 5
        assert metrics.specked(images[[1, 0]]) == metrics.specked(images[[0, 1]]) == 1 / 2
        touching = np.zeros((2, 4, 4), np.uint8)
        touching[0], touching[1, :, 0] = 255, 255  # parts of different images are no part of one another
        assert metrics.specked(touching) == 1 / 2


class TestClassifier:
    @pytest.mark.parametrize("name", KINDS)
    def test_real_digits(self, name):
        digits = sources.load("digits", "")
        with Classifier.load(name) as found:
            features, probabilities = found.features_and_probabilities(digits.images)
            accuracy = found.accuracy(digits.images, digits.labels)
            alone = found.features_and_probabilities(digits.images[700:701])
        assert features.shape == (len(digits.images), KINDS[name].features)
        assert features.dtype == probabilities.dtype == np.float32
        assert np.isfinite(features).all()
        np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
        assert accuracy > 0.85  # 8x8 scans of other people's digits, enlarged
        np.testing.assert_array_equal(alone[0][0], features[700])

    @needs_mnist
    @pytest.mark.parametrize("name", KINDS)
    def test_mnist(self, name):
        test = sources.load("mnist", MNIST_DIR, "test")
        with Classifier.load(name) as found:
            assert found.accuracy(test.images[:2000], test.labels[:2000]) > 0.99

    def test_flipped_byte(self, monkeypatch, tmp_path):
        source = classifier.Path(classifier.__file__)
        content = bytearray(source.with_name(KINDS["a"].file).read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / KINDS["a"].file).write_bytes(content)
        monkeypatch.setattr(classifier, "__file__", str(tmp_path / source.name))
        with pytest.raises(CheckpointError, match="found sha256"):
            Classifier.load("a")
        with pytest.raises(CheckpointError, match=r"classifier_b\.npz: No such file"):
            Classifier.load("b")

    def test_fits_the_same_from_its_seed(self, monkeypatch):
        monkeypatch.setattr(train_classifier, "_LEAST_SHOWN", 0)
        digits = sources.load("digits", "")
        first, second = (train_classifier.fit(KINDS["b"], digits.images, digits.labels, 1) for _ in range(2))
        assert first.keys() == second.keys()
        for name, value in first.items():
            np.testing.assert_array_equal(value, second[name])


def of_labels(labels, **changes):
    """Black images of those labels."""
    images = np.zeros((len(labels), 28, 28), np.uint8)
    return sources.Dataset("mine", images, np.array(labels), "0" * 64)._replace(**changes)


class TestJudging:
    def test_a_fifth_of_each_class_is_held_out(self):
        data = of_labels([7] * 50 + [9] * 20 + [8] * 4)
        rest, held_out = judging.hold_out(data)
        assert sorted([*rest, *held_out]) == list(range(74))
        assert sorted(data.labels[held_out]) == [7] * 10 + [9] * 4  # of four images there is no fifth
        for part, again in zip((rest, held_out), judging.hold_out(data), strict=True):
            np.testing.assert_array_equal(part, again)
        rest, held_out = judging.hold_out(data._replace(labels=None))
        assert len(held_out) == 14
        assert judging.part(data, held_out).digest != data.digest

    @pytest.mark.parametrize("labels", [[0] * 49, [0] * 4 + [1] * 4, list(range(100))])
    def test_too_few_images_to_measure_by(self, labels):
        with pytest.raises(DataError, match=f"mine: found {len(labels)} images, expected at least 50 to measure by"):
            judging.hold_out(of_labels(labels))

    def test_the_judge_depends_on_the_data(self, monkeypatch, capsys):
        trained = []
        monkeypatch.setattr(judging, "open_fitted", lambda data: trained.append(data) or Classifier.load("b"))
        digits = sources.load("digits", "")

        def judge(**changes):
            data = digits._replace(**changes)
            with judging.open_judge(data, data) as classifier:
                return classifier.name, capsys.readouterr().out

        assert judge()[0] == "a" and "reads 96." in judge()[1]
        name, line = judge(labels=None)
        assert name == "a" and line.startswith("note: without labels")
        assert judge(labels=np.zeros(len(digits.labels)))[1].startswith("note: without labels")  # a single class
        assert not trained
        for changes in ({"labels": digits.labels[::-1]}, {"labels": digits.labels + 1}, {"names": tuple("abcdefghij")}):
            assert judge(**changes)[0] == "b" and trained.pop()  # which stands for one that is trained


class TestEvaluate:
    def test_a_tiny_run(self, monkeypatch, tmp_path):
        """The digits of scikit-learn stand in for MNIST: the even ones to train on, and the odd ones to test on."""
        digits = sources.load("digits", "")._replace(name="mnist")

        def stand_in(dataset, data_dir, split="train", *options):
            chosen = slice(split == "test", None, 2)
            return digits._replace(images=digits.images[chosen], labels=digits.labels[chosen], digest=split)

        monkeypatch.setattr(sources.Dataset, "is_mnist", True)
        monkeypatch.setattr(sources, "load", stand_in)
        assert run(*TINY, "--out_dir", tmp_path, "--dataset", "mnist", "--iterations", 2).code == 0
        result = run("evaluate", "--out_dir", tmp_path, "--num_digits", 300)
        assert (result.code, result.err) == (0, "")
        record = json.loads((tmp_path / "logs" / "evaluation.json").read_text())
        table = record["metrics"]
        assert (record["step"], record["num_digits"]) == (2, 300)
        assert list(table) == ["generated", "floor", "noise", "blurred"]
        unknown = {column: [key for key, value in values.items() if value is None] for column, values in table.items()}
        assert unknown == {column: ["label_agreement"] * (column != "floor") for column in table}
        assert all(np.isfinite([x for x in values.values() if x is not None]).all() for values in table.values())
        floor = table["floor"]
        assert floor["copies"] == 300 and floor["neighbour_ratio"] == 0
        for worse in (table["generated"], table["noise"], table["blurred"]):
            assert worse["frechet_distance"] > floor["frechet_distance"]
            assert worse["precision"] <= floor["precision"]
            assert worse["copies"] == 0
        assert re.search(r"^Frechet distance \d+\.\d{3}, \d+\.\d times the floor$", result.out, re.MULTILINE)
        with Image.open(tmp_path / "logs" / "evaluation.png") as picture:
            assert picture.width == 2 * (evaluation._COLUMNS * 29 + 1)

        assert run("evaluate", "--out_dir", tmp_path, "--num_digits", 300).code == 0
        assert json.loads((tmp_path / "logs" / "evaluation.json").read_text())["metrics"] == table
        missing = run("evaluate", "--out_dir", tmp_path, "--checkpoint", 1)
        assert missing.code == 4 and "model-1.json" in missing.err

    @needs_mnist
    def test_the_weights_that_ship(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        load = sources.load
        monkeypatch.setattr(sources, "load", lambda *source: load(*source)._replace(images=load(*source).images[:3000]))
        assert run("evaluate", "--data_dir", MNIST_DIR, "--num_digits", 1000).code == 0
        table = json.loads((tmp_path / "logs" / "evaluation.json").read_text())["metrics"]["generated"]
        assert table["missing_classes"] == 0 and table["frechet_distance"] < 2

    def test_without_a_test_split_a_fifth_takes_its_place(self, finished, tmp_path):
        result = run("evaluate", "--out_dir", finished, "--num_digits", 200, "--log_dir", tmp_path)
        assert (result.code, result.err) == (0, "") and result.out.startswith("weights: step 200, trained on digits")
        assert "note: without a test split, 355 of the training images" in result.out
        assert re.search(r"the classifier of MNIST's digits reads 9\d\.\d\d% of 355 images", result.out)
        record = json.loads((tmp_path / "evaluation.json").read_text())
        assert record["classifier"] == "a" and record["metrics"]["floor"]["label_agreement"] > 0.9

    @pytest.mark.slow
    def test_a_conditional_gan_of_other_data(self, monkeypatch, tmp_path):
        monkeypatch.setattr(train_classifier, "_LEAST_SHOWN", 10_000)  # enough to learn from
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        digits = sources.load("digits", "")
        parts = {"train": slice(0, 400), "test": slice(400, 800)}
        arrays = {f"x_{split}": digits.images[part] for split, part in parts.items()}
        arrays |= {f"y_{split}": digits.labels[part] + 3 for split, part in parts.items()}
        np.savez(tmp_path / "data.npz", **arrays)
        flags = [flag for flag in TINY if flag not in ("--dataset", "digits")]
        flags += ["--conditional", "--dataset", tmp_path / "data.npz"]
        assert run(*flags, "--out_dir", tmp_path, "--iterations", 2).code == 0
        result = run("evaluate", "--out_dir", tmp_path, "--num_digits", 300, "--cas")
        assert result.code == 0 and "training a classifier of data.npz once" in result.out
        record = json.loads((tmp_path / "logs" / "evaluation.json").read_text())
        assert record["classifier"] == "trained on the data set"
        generated, floor = record["metrics"]["generated"], record["metrics"]["floor"]
        assert generated["label_agreement"] < 0.5 < floor["label_agreement"]
        drawn, real = record["accuracy_scores"]["drawn"], record["accuracy_scores"]["real"]
        assert len(drawn) == len(real) == 3 and max(drawn) < min(real) and len(set(real)) > 1
        assert len(list((tmp_path / "cache").rglob("*.npz"))) == 1
        again = run("evaluate", "--out_dir", tmp_path, "--num_digits", 300)
        assert again.code == 0 and "training a classifier" not in again.out
        assert json.loads((tmp_path / "logs" / "evaluation.json").read_text())["metrics"] == record["metrics"]

        np.savez(tmp_path / "other.npz", **{**arrays, "x_train": arrays["x_test"]})
        other = run("evaluate", "--out_dir", tmp_path, "--dataset", tmp_path / "other.npz")
        assert other.code == 3 and "--dataset: found other.npz" in other.err and other.err.count("\n") == 1

    @pytest.mark.parametrize("folder", ["", "absent"])
    def test_no_run(self, folder, tmp_path):
        result = run("evaluate", "--checkpoint_dir", tmp_path / folder)
        assert (result.code, result.out) == (4, "")
        assert "no checkpoint" in result.err and result.err.count("\n") == 1

    @pytest.mark.parametrize("flags", [("--num_digits", "99"), ("--seed", "-1"), ("--classifier", "c")])
    def test_flags(self, flags):
        result = run("evaluate", *flags)
        assert result.code == 2 and flags[0] in result.err and result.err.count("\n") == 1
