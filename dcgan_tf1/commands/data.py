"""`run.py data`: what a data set is understood to be, before anything is trained on it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcgan_tf1.commands.options import config_options, force, option, text
from dcgan_tf1.config import Config
from dcgan_tf1.errors import DataError, one_line

if TYPE_CHECKING:
    from dcgan_tf1.data.sources import Dataset

_SHEET = "contact_sheet.png"


@click.command
@click.argument("dataset", type=text("PATH").type, metavar="PATH", default="auto")
@config_options("labels", "data_dir", "channels", "invert", "transpose", "stretch", "fit", "grid", "skip_bad")
@option("--out", text("FILE"), "PNG file of ten images of each class, as the networks will see them", shown=_SHEET)
@force
def data(out: str | None, force: bool, **settings: Any) -> int:
    """Say and show what a data set holds.

    PATH is what --dataset of train takes. Without --out, the contact sheet replaces the one before it.
    """
    config = Config(**{name: value for name, value in settings.items() if value is not None})
    path = Path(out or _SHEET)

    import numpy as np

    from dcgan_tf1.data import sources
    from dcgan_tf1.files import make_folder, refuse_existing
    from dcgan_tf1.pictures import images
    from dcgan_tf1.pictures.contact_sheet import contact_sheet

    refuse_existing(path.parent, [path.name], force or out is None)
    dataset = sources.load_for(config)
    for line in describe(dataset, config):
        print(one_line(line))
    known = zip(dataset.counts, dataset.labels_in_order, strict=True)
    classes = {name: np.flatnonzero(dataset.labels == label) for name, label in known}
    shown = images.fit(dataset.images, config.image_size)
    make_folder(path.parent)
    images.save_png(path, contact_sheet(shown, classes or {"": np.arange(len(shown))}))
    print(path)
    return 0


def describe(dataset: "Dataset", config: Config) -> list[str]:
    """Lines of what the training images of a run were understood to be."""
    from dcgan_tf1.data import notes, sources
    from dcgan_tf1.data.decoding import form_of

    tests, faults = dataset.tests, []
    if tests is None:
        try:
            test = sources.load_for(config, "test", announce=lambda line: None)
            tests = 0 if test.digest == dataset.digest else len(test.images)
        except DataError as error:
            tests, faults = 0, [f"note: there are no test images: {error}"]
    return notes.describe(dataset, form_of(config), config.batch_size, tests) + faults
