"""`run.py explore`: the page of a trained GAN, in the browser."""

import tempfile
import webbrowser
from pathlib import Path

import click

from dcgan_tf1.commands.export import write_html
from dcgan_tf1.commands.options import WeightsChoice, weights_options


@click.command
@weights_options
def explore(choice: WeightsChoice) -> int:
    """Open a browser page that generates digits and judges yours."""
    source = choice.find()
    # The browser reads the file after this process has ended, so nobody but the system may remove it.
    path = Path(tempfile.mkdtemp(prefix="dcgan-tf1-"), "digits.html")
    write_html(source, path)
    print(path)
    if not webbrowser.open(path.as_uri()):
        print("found no browser to open it with; any browser opens this file")
    return 0
