"""The metrics against numbers computed by hand, the shipped classifiers, and the command that brings them together."""

import json
import re

import numpy as np
import pytest
from conftest import MNIST_DIR, assert_error, needs_mnist, run, train
from PIL import Image

from dcgan_tf1.data import sources
from dcgan_tf1.errors import CheckpointError, DataError
from dcgan_tf1.quality import judging, metrics, train_classifier
from dcgan_tf1.quality.classifier import KINDS, Classifier
from dcgan_tf1.quality.metrics import Statistics


def column(*values):
    return np.array(values, np.float64)[:, np.newaxis]


def turned(angle, *variances):
    """The covariance of two dimensions whose axes are turned by `angle`."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return turn @ np.diag(variances) @ turn.T


TURN, _ = np.linalg.qr([[1, 2, 0], [0, 1, 3], [4, 0, 1]])  # some rotation in space
# In two dimensions tr (C1 C2)^(1/2) = sqrt(tr C1 C2 + 2 sqrt(det C1 det C2)).
ROOT = np.sqrt(np.trace(np.diag([2, 7]) @ turned(1.1, 1, 5)) + 2 * np.sqrt(14 * 5))
DISTANCES = {
    "one dimension": ([1], [[4]], [4], [[25]], 3**2 + (5 - 2) ** 2),
    "diagonal": ([0, 1, 2], np.diag([1, 4, 9]), [2, 1, 1], np.diag([16, 4, 1]), 4 + 0 + 1 + 3**2 + 0 + 2**2),
    "commuting": ([0, 0], turned(0.7, 1, 9), [1, 1], turned(0.7, 4, 25), 2 + (2 - 1) ** 2 + (5 - 3) ** 2),
    "in space": ([0] * 3, TURN * [1, 4, 9] @ TURN.T, [0] * 3, TURN * [16, 4, 1] @ TURN.T, 3**2 + 2**2),
    "not commuting": ([0, 0], np.diag([2, 7]), [0, 0], turned(1.1, 1, 5), 9 + 6 - 2 * ROOT),
    "singular": ([0, 0], np.diag([4, 0]), [0, 0], np.diag([0, 9]), 13),
    "the same": ([0, 0], np.diag([4, 0]), [0, 0], np.diag([4, 0]), 0),
}


class TestFrechetDistance:
    @pytest.mark.parametrize("case", DISTANCES)
    def test_by_hand(self, case):
        *both, expected = DISTANCES[case]
        mean_a, covariance_a, mean_b, covariance_b = (np.array(each, float) for each in both)
        a, b = Statistics(mean_a, covariance_a), Statistics(mean_b, covariance_b)
        assert metrics.frechet_distance(a, b) == pytest.approx(expected, abs=1e-12)

    def test_statistics(self):
        mean, covariance = metrics.statistics(np.array([[0, 0], [2, 0], [0, 4], [2, 4]], np.float32))
        assert mean.dtype == covariance.dtype == np.float64
        np.testing.assert_allclose(mean, [1, 2])
        np.testing.assert_allclose(covariance, [[4 / 3, 0], [0, 16 / 3]])
        assert metrics.statistics(column(0, 2, 4)).covariance.tolist() == [[4]]


class TestKid:
    def test_by_hand(self):
        # Kernel (x y + 1)^3. Halves {0, 1} and {1, 2}: within 1 and 27; across 1, 1, 8, 27; 1 + 27 - 2 (37 / 4) = 9.5.
        # Halves may also be {0, 0} and {1, 1}, within (1 + 8) / 2, and {1, 1} and {2, 2}, within (8 + 125) / 2.
        a, b = column(0, 1, 0, 1), column(1, 2, 1, 2)
        found = {round(metrics.kid(a, b, seed=seed)[0], 9) for seed in range(100)}
        assert found == {9.5, 4.5 + 27 - 18.5, 1 + 66.5 - 18.5, 4.5 + 66.5 - 28, 4.5 + 66.5 - 9}
        # Both halves of rows all alike give the same: k(0, 0) + k(2, 2) - 2 k(0, 2).
        assert metrics.kid(column(0, 0, 0, 0), column(2, 2, 2, 2)) == (pytest.approx(1 + 125 - 2), 0)

    def test_same_distribution(self):
        a, b = np.random.default_rng(0).normal(size=(2, 4000, 8))
        value, error = metrics.kid(a, b, subset=200)
        assert 0 < error < 0.01
        assert abs(value) < 4 * error
        assert metrics.kid(a, b + 0.3, subset=200)[0] > 10 * error


class TestPrecisionRecall:
    @pytest.mark.parametrize(
        ("k", "real", "fake", "expected"),
        [
            # The reals have radii 1, 1, 2, and the fakes 8.5, 1, 1. 1.5 lies within the balls of 1 and 3; every real
            # lies within the ball of 1.5.
            (1, (0, 1, 3), (1.5, 10, 11), (1 / 3, 1, 2 / 3, 2 / 3)),
            # The reals have radii 3, 2, 3, 6, and the fakes 16, 15, 16. 4 lies within those of 3 and 7, 5 also; 20 in
            # none.
            (2, (0, 1, 3, 7), (4, 5, 20), (2 / 3, 1, (2 + 2 + 0) / 2 / 3, 2 / 4)),
        ],
    )
    def test_by_hand(self, k, real, fake, expected):
        found = metrics.precision_recall_density_coverage(column(*real), column(*fake), k)
        assert found == pytest.approx(expected)

    def test_large_sets_have_no_order(self):
        """Their distances do not fit into the memory that is held at a time."""
        real, fake = np.random.default_rng(0).normal(size=(2, 3300, 2)) * [[[1]], [[2]]]
        found = metrics.precision_recall_density_coverage(real, fake)
        order = np.argsort(real[:, 0])
        assert metrics.precision_recall_density_coverage(real[order], fake[order]) == pytest.approx(found)
        assert 0 < found.precision < 1 and 0 < found.recall < 1 and 0 < found.coverage < 1


class TestClasses:
    def test_histogram(self):
        probabilities = np.array([[0.9, 0.1, 0], [0.6, 0.4, 0], [0.2, 0.8, 0], [1, 0, 0]])
        np.testing.assert_array_equal(metrics.class_histogram(probabilities), [0.75, 0.25, 0])

    def test_divergence(self):
        half, whole, uneven = np.array([0.5, 0.5]), np.array([1.0, 0.0]), np.array([0.75, 0.25])
        assert metrics.class_divergence(half, half) == 0
        assert metrics.class_divergence(uneven, half) == pytest.approx(0.75 * np.log(1.5) + 0.25 * np.log(0.5))
        assert metrics.class_divergence(whole, half) == pytest.approx(np.log(2))
        assert metrics.class_divergence(half, whole) == np.inf

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
    def test_nearest_neighbours_and_copies(self):
        training = np.random.default_rng(0).integers(0, 256, (2500, 4, 4), np.uint8)
        images = training[[2400, 1300, 12, 12]].copy()
        images[1, 0, 0] ^= 1
        images[2, :2, 0] ^= 1
        distances, indices = metrics.nearest_neighbours(images, training)
        assert indices.tolist() == [2400, 1300, 12, 12]
        np.testing.assert_allclose(distances, [0, 1 / 255, np.sqrt(2) / 255, 0])
        assert metrics.exact_copies(images, training) == 2
        assert metrics.exact_copies(images[[0, 0]], training) == 2

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

    def test_damaged_weights(self, monkeypatch, tmp_path):
        content = bytearray(KINDS["a"].path.read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / "flipped.npz").write_bytes(content)
        for name, fault in (("flipped.npz", "found sha256"), ("missing.npz", r"missing\.npz: No such file")):
            monkeypatch.setitem(KINDS, "a", KINDS["a"]._replace(file=str(tmp_path / name)))
            with pytest.raises(CheckpointError, match=fault):
                Classifier.load("a")

    def test_fits_the_same_from_its_seed(self, monkeypatch):
        monkeypatch.setattr(train_classifier, "LEAST_SHOWN", 0)
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


def evaluate(logs, *flags):
    """What `evaluate` prints, and the record that it writes to `logs`."""
    result = run("evaluate", *flags)
    assert result.code == 0, result
    return result.out, json.loads((logs / "evaluation.json").read_text())


class TestEvaluate:
    def test_a_tiny_run(self, monkeypatch, tmp_path):
        """The digits of scikit-learn stand in for MNIST: the even ones to train on, and the odd ones to test on."""
        digits = sources.load("digits", "")._replace(name="mnist")

        def stand_in(dataset, data_dir, split="train", *options):
            chosen = slice(split == "test", None, 2)
            return digits._replace(images=digits.images[chosen], labels=digits.labels[chosen], digest=split)

        monkeypatch.setattr(sources.Dataset, "is_mnist", True)
        monkeypatch.setattr(sources, "load", stand_in)
        train(tmp_path, 2, "--dataset", "mnist")
        out, record = evaluate(tmp_path / "logs", "--out_dir", tmp_path, "--num_digits", 300)
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
        assert re.search(r"^Frechet distance \d+\.\d{3}, \d+\.\d times the reference distance$", out, re.MULTILINE)
        with Image.open(tmp_path / "logs" / "evaluation.png") as picture:
            assert picture.width == 2 * (20 * 29 + 1)

        assert evaluate(tmp_path / "logs", "--out_dir", tmp_path, "--num_digits", 300)[1]["metrics"] == table
        assert_error(run("evaluate", "--out_dir", tmp_path, "--checkpoint", 1), 4, "model-1.json")

    @needs_mnist
    def test_the_weights_that_ship(self, monkeypatch, tmp_path):
        load = sources.load
        monkeypatch.setattr(sources, "load", lambda *source: load(*source)._replace(images=load(*source).images[:3000]))
        monkeypatch.chdir(tmp_path)
        table = evaluate(tmp_path / "logs", "--data_dir", MNIST_DIR, "--num_digits", 1000)[1]["metrics"]["generated"]
        assert table["missing_classes"] == 0 and table["frechet_distance"] < 2

    def test_without_a_test_split_a_fifth_takes_its_place(self, finished, tmp_path):
        out, record = evaluate(tmp_path, "--out_dir", finished, "--num_digits", 200, "--log_dir", tmp_path)
        assert out.startswith("weights: step 200, trained on digits")
        assert "note: without a test split, 355 of the training images" in out
        assert re.search(r"the classifier of MNIST's digits reads 9\d\.\d\d% of 355 images", out)
        assert record["classifier"] == "a" and record["metrics"]["floor"]["label_agreement"] > 0.9

    @pytest.mark.slow
    def test_a_conditional_gan_of_other_data(self, monkeypatch, tmp_path):
        monkeypatch.setattr(train_classifier, "LEAST_SHOWN", 4000)  # enough to learn from
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        digits = sources.load("digits", "")
        parts = {"train": slice(0, 400), "test": slice(400, 800)}
        arrays = {f"x_{split}": digits.images[part] for split, part in parts.items()}
        arrays |= {f"y_{split}": digits.labels[part] + 3 for split, part in parts.items()}
        np.savez(tmp_path / "data.npz", **arrays)
        train(tmp_path, 2, "--dataset", tmp_path / "data.npz", "--conditional")
        flags = ["--out_dir", tmp_path, "--num_digits", 300]
        out, record = evaluate(tmp_path / "logs", *flags, "--cas")
        assert "training a classifier of data.npz once" in out
        assert record["classifier"] == "trained on the data set"
        generated, floor = record["metrics"]["generated"], record["metrics"]["floor"]
        assert generated["label_agreement"] < 0.5 < floor["label_agreement"]
        generated, real = (record["accuracy_scores"][name] for name in ("generated", "real"))
        assert len(generated) == len(real) == 3 and max(generated) < min(real) and len(set(real)) > 1
        np.savez(tmp_path / "other.npz", **{**arrays, "x_train": arrays["x_test"]})
        assert_error(run("evaluate", *flags, "--dataset", tmp_path / "other.npz"), 3, "--dataset: found other.npz")

    @pytest.mark.parametrize("kind", ["all black", "each image twice"])
    def test_images_that_are_all_alike(self, kind, tmp_path):
        digits = np.zeros((60, 28, 28), np.uint8)
        if kind == "each image twice":
            digits = sources.load("digits", "").images[:30].repeat(2, 0)
        np.savez(tmp_path / "data.npz", images=digits)
        train(tmp_path, 1, "--dataset", tmp_path / "data.npz")
        out, record = evaluate(tmp_path / "logs", "--out_dir", tmp_path, "--num_digits", 100)
        assert record["metrics"]["generated"]["neighbour_ratio"] is None or kind != "all black"
        assert (record["frechet_over_floor"] is None) == (kind == "all black") == ("times the reference" not in out)

    def test_data_that_cannot_be_compared(self, tmp_path):
        digits = sources.load("digits", "")
        arrays = {"x_train": digits.images[:99], "y_train": digits.labels[:99] % 2}
        arrays |= {"x_test": digits.images[99:102], "y_test": np.array([0, 1, 0])}
        np.savez(tmp_path / "few.npz", **arrays)
        train(tmp_path, 1, "--dataset", tmp_path / "few.npz", "--conditional")
        flags = ["evaluate", "--out_dir", tmp_path, "--num_digits", 100]
        assert_error(run(*flags), 3, "--dataset: found 3 test images, expected 10 at least")
        np.savez(tmp_path / "few.npz", **{**arrays, "y_train": 1 - arrays["y_train"]})
        assert_error(run(*flags), 3, "--dataset: found other labels in few.npz")
