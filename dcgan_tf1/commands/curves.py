"""`run.py curves`: the curves of a run as a picture."""

import click

from dcgan_tf1.commands.options import folder_options
from dcgan_tf1.config import Folders


@click.command
@folder_options("out_dir", "log_dir")
def curves(folders: Folders) -> int:
    """Draw logs/metrics.csv to logs/curves.png."""
    from dcgan_tf1 import tensorflow_import

    tensorflow_import.import_tensorflow()
    from dcgan_tf1.pictures.figures import plot_curves

    print(plot_curves(folders.logs))
    return 0
