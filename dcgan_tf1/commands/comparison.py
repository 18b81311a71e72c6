"""Models side by side: each is trained for the same time on the same data, and measured on the way.

They train in turns, a slice of time each, so that all of them share what happens to a machine's speed over the hours.
Only steps are on the clock, without the first one of each slice (see `stopping.Stopwatch`). The building of graphs,
commits and measurements are not.

A model's record says how far it is, and is written when a slice has been committed. So what a killed process had not
recorded is trained again.
"""

import contextlib
import json
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
from tqdm import tqdm

from dcgan_tf1.arguments import check_integer, check_number
from dcgan_tf1.config import Config, Folders
from dcgan_tf1.data import draws
from dcgan_tf1.data.classes import DIGITS
from dcgan_tf1.data.readers import open_data_file
from dcgan_tf1.data.sources import Dataset
from dcgan_tf1.errors import CheckpointError, DataError, DivergedError, OutputError, reason
from dcgan_tf1.files import make_folder, refuse_existing, write_whole
from dcgan_tf1.pictures import images
from dcgan_tf1.pictures.figures import ModelHistory, format_seconds, plot_comparison
from dcgan_tf1.pictures.film import read_snapshot
from dcgan_tf1.quality.classifier import SIDE, Classifier
from dcgan_tf1.quality.scorer import Scorer
from dcgan_tf1.runs import checkpoint, weights
from dcgan_tf1.runs.folder import open_run, with_dataset
from dcgan_tf1.runs.log import read_table
from dcgan_tf1.sampling.trained_gan import TrainedGan
from dcgan_tf1.training.graph import build_gan
from dcgan_tf1.training.loop import train
from dcgan_tf1.training.stopping import Stopwatch

FRACTIONS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1)
"""The parts of the time after which all are measured: even on a logarithmic axis, but at most a quarter apart."""
_STRIP_DIGITS = 10  # shown in a strip of samples, of the same latent vectors at all times
_NEVER = 10**9  # a step that no model reaches: only the ends of slices are committed


def compare(
    configs: dict[str, Config], out: Path, training: Dataset, test: Dataset, minutes: float, count: int, seed: int
) -> int:
    """Train each of `configs` for `minutes` in OUT/NAME, and write compare.json, compare.md and compare.png to `out`.

    What an earlier call has done in `out` is not done again. The caller holds the lock of `out`.

    Args:
        configs: 8 at most, by the names of the models.
        training, test: MNIST's digits.
        count, seed: how many digits are generated for each measurement, and their seed.

    It returns 0, or the number of the signal that ended the training; the step at hand was ended, and is recorded.

    Raises:
        CheckpointError: a folder holds another comparison's run, or something else.
        DivergedError: a loss or a weight of a model became NaN or infinite.
        OutputError: something cannot be written.
    """
    goal = 60 * minutes
    models = [_Model(name, config, out / name, count) for name, config in configs.items()]
    bar = tqdm(
        total=goal * len(models),
        initial=sum(min(model.seconds, goal) for model in models),
        bar_format="{desc}{percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s of training, {remaining} left",
        dynamic_ncols=True,
        disable=not sys.stderr.isatty(),
    )
    with Classifier.load() as classifier, bar:
        scorer = Scorer(classifier, test.images)
        chosen = draws.batch_indices(len(training.images), count, seed, 0)
        floor, labels = scorer.measure(training.images[chosen]), cast(np.ndarray, training.labels)[chosen]
        for seconds in [fraction * goal for fraction in FRACTIONS]:
            for model in models:
                bar.set_description(model.name)
                signal_number = model.train(seconds, training, bar)
                if signal_number:
                    return signal_number
                if not model.is_measured_at(seconds):
                    tqdm.write(model.measure(scorer, labels, seed), file=sys.stdout)
                    sys.stdout.flush()
    results = {model.name: model.result(goal, floor["frechet_distance"]) for model in models}
    report = {
        "minutes": minutes,
        "num_digits": count,
        "seed": seed,
        "classifier": "a",
        "dataset": {"name": training.name, "digest": training.digest},
        "machine": checkpoint.machine_record(),
        "floor": floor,
        "models": results,
    }
    table = _table(report)
    _write_json(out / "compare.json", report)
    write_whole(out / "compare.md", table.encode())
    histories = [model.history(results[model.name]) for model in models]
    plot_comparison(histories, floor["frechet_distance"], out / "compare.png")
    print(f"{table}\n{out / 'compare.json'}, {out / 'compare.md'}, {out / 'compare.png'}")
    return 0


class _Model:
    """One of the models that are compared: its run, and the record of it in logs/compare.json."""

    def __init__(self, name: str, config: Config, folder: Path, count: int) -> None:
        """Take over the record in `folder`, or begin one. Raises CheckpointError if it holds something else."""
        self.name = name
        self._config = config.replace(iterations=_NEVER, sample_every=_NEVER, checkpoint_every=_NEVER)
        self._folders = Folders.of(folder)
        for path in self._folders:
            make_folder(path)
            checkpoint.clean(path)
        self._path = self._folders.logs / "compare.json"
        settings = {**self._config.replace(data_dir="").to_json(), "num_digits": count}
        del settings["precision"]  # which the first slice chooses, and its checkpoint records
        self._record: dict[str, Any] = {
            "identity": json.loads(json.dumps(settings)),  # must be the same when the comparison goes on
            "step": 0,  # the last one of the last slice
            "seconds": 0.0,  # of training until then
            "points": [],  # for each measurement, the step and the seconds at that time, and the metrics
        }
        if self._path.exists():
            self._go_on()
        elif checkpoint.steps(self._folders.checkpoints):
            raise CheckpointError(f"{folder}: found a run of no comparison, expected none; use another --out_dir")
        else:
            self._update()  # before there is a checkpoint

    def _go_on(self) -> None:
        """Take over the record on disk, whose settings must be the present ones."""
        wanted = self._record["identity"]
        try:
            with open_data_file(self._path, "expected the state of a comparison") as file:
                found = json.loads(file.read())
            self._record = {key: found[key] for key in self._record}
            recorded = {**self._record["identity"]}
            check_integer("step", self._record["step"], 0, _NEVER)
            check_number("seconds", self._record["seconds"], 0, 1e9)
            for point in self._record["points"]:
                check_integer("step", point["step"], 0, self._record["step"])
                for key in ("seconds", "frechet_distance", "coverage", "missing_classes"):
                    check_number(key, point[key], 0, 1e9)
        except DataError as error:
            raise CheckpointError(f"{error}; use another --out_dir") from error
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{self._path}: damaged ({reason(error):.100}); use another --out_dir") from error
        for key in wanted:
            if recorded.get(key) != wanted[key]:
                fault = f"--{key}: found {wanted[key]}, expected {recorded.get(key)}, as recorded in {self._path}"
                raise CheckpointError(f"{fault}; use another --out_dir")

    def _update(self, **changes: Any) -> None:
        """Change the record, also on disk."""
        self._record |= changes
        _write_json(self._path, self._record)

    @property
    def seconds(self) -> float:
        """The seconds of training so far."""
        return self._record["seconds"]

    def is_measured_at(self, seconds: float) -> bool:
        """Whether the model was measured after at least so many seconds of training."""
        return any(point["seconds"] >= seconds for point in self._record["points"])

    def train(self, goal: float, dataset: Dataset, bar: tqdm) -> int:
        """Train until the model has had `goal` seconds in all, or a signal comes, whose number is returned, or else 0.

        What training prints goes to train.log.
        """
        if self.seconds >= goal:
            return 0
        stopwatch = Stopwatch(goal - self.seconds, bar.update)
        given = {"data_dir": self._config.data_dir}
        printed = self._folders.logs / "train.log"
        refuse_existing(printed.parent, [printed.name], force=True)
        try:
            with (
                printed.open("a", encoding="utf-8", errors="backslashreplace") as log,
                contextlib.redirect_stdout(log),
                contextlib.redirect_stderr(log),
                open_run(self._folders, self._config, given, step=self._record["step"]) as run,
            ):
                number = train(with_dataset(run, dataset), dataset, stopwatch)
        except DivergedError as error:
            raise DivergedError(f"{self.name} {error}") from error
        except OSError as error:  # the run's own files give OutputErrors
            raise OutputError(f"{printed}: {reason(error)}; expected room and permission to write it") from error
        newest = checkpoint.newest(self._folders.checkpoints, warn=lambda line: None)  # training ends with a commit
        self._update(step=newest.step if newest else 0, seconds=self.seconds + stopwatch.elapsed)
        return number

    def measure(self, scorer: Scorer, labels: np.ndarray, seed: int) -> str:
        """Measure the model as it is now, save a strip of its first digits, and say so in a line.

        As many digits of `seed` are measured as there are `labels`; a conditional model generates these classes.
        """
        step = self._record["step"]
        source = checkpoint.load(self._folders.checkpoints, step)
        with TrainedGan(weights.read_weights(source)) as gan:
            generated = gan.generate(gan.latent(len(labels), seed), labels if gan.classes else None)
            strip = gan.sample(_STRIP_DIGITS, seed=seed)
        images.save_png(self._strip(step), images.grid(images.fit(strip, SIDE), _STRIP_DIGITS))
        metrics = scorer.measure(images.fit(generated, SIDE))
        point = {"step": step, "seconds": self.seconds, **metrics}
        self._update(points=[*self._record["points"], point])
        distance = metrics["frechet_distance"]
        return f"{self.name}: {step} steps in {format_seconds(self.seconds)}, Frechet distance {distance:.2f}"

    def result(self, goal: float, floor: float) -> dict[str, Any]:
        """What compare.json says of the model: its points up to the first one after at least `goal` seconds."""
        points = self._record["points"]
        end = next(i for i, point in enumerate(points) if point["seconds"] >= goal)
        last = points[end]
        gan = build_gan(self._config, classes=len(DIGITS) if self._config.conditional else 0)
        players = {"generator": gan.g_variables, "discriminator": gan.d_variables}
        return {
            "parameters": {name: sum(int(np.prod(v.shape)) for v in players[name]) for name in players},
            "batch_size": self._config.batch_size,
            "steps_per_second": last["step"] / last["seconds"],
            **last,
            "frechet_over_floor": last["frechet_distance"] / floor,
            "points": points[: end + 1],
        }

    def history(self, result: dict[str, Any]) -> ModelHistory:
        """What the figure shows of the model that has that `result`."""
        points = result["points"]
        rows = [row for row in read_table(self._folders.logs, "metrics.csv", least=1) if row["step"] <= result["step"]]
        size = (_STRIP_DIGITS * (SIDE + 1) + 1, SIDE + 2)
        known_steps, known_seconds = ([0.0, *(point[key] for point in points)] for key in ("step", "seconds"))
        return ModelHistory(
            name=self.name,
            parameters=sum(result["parameters"].values()),
            steps_per_second=result["steps_per_second"],
            seconds=known_seconds[1:],
            distances=[point["frechet_distance"] for point in points],
            strips=[np.asarray(read_snapshot(self._strip(point["step"]), size)) for point in points],
            loss_minutes=np.interp([row["step"] for row in rows], known_steps, known_seconds) / 60,
            losses={name: np.array([row[name] for row in rows]) for name in ("d_loss", "g_loss")},
        )

    def _strip(self, step: int) -> Path:
        return self._folders.samples / f"{step:07d}.png"


def _write_json(path: Path, record: dict[str, Any]) -> None:
    write_whole(path, json.dumps(record, indent=1).encode() + b"\n")


def _table(report: dict[str, Any]) -> str:
    """The report as a table in Markdown, with a line below it on what was compared how."""
    lines = [
        "| model | parameters | steps | steps/s | Frechet distance | over reference | coverage | missing classes |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, model in report["models"].items():
        lines.append(
            f"| {name} | {sum(model['parameters'].values()):,} | {model['step']:,} | {model['steps_per_second']:.3g} "
            f"| {model['frechet_distance']:.3f} | {model['frechet_over_floor']:.1f} "
            f"| {model['coverage']:.3f} | {model['missing_classes']} |"
        )
    machine = report["machine"]
    lines.append(
        f"\n{report['minutes']:g} minutes of training each, in turns, on {machine['cores']} cores of {machine['cpu']}; "
        f"{report['num_digits']:,} digits each against MNIST's test digits. "
        f"The reference distance, that of as many training digits: {report['floor']['frechet_distance']:.3f}."
    )
    return "\n".join(lines) + "\n"
