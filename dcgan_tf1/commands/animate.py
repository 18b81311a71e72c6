"""`run.py animate`: a film of how training went."""

from pathlib import Path

import click

from dcgan_tf1.commands.options import folder_options, force, integer, option, text
from dcgan_tf1.config import Folders
from dcgan_tf1.errors import UsageError


@click.command
@option("--out", text("FILE"), "file to write, a .gif, or an .mp4 by ffmpeg", shown="SAMPLE_DIR/training.gif")
@option("--frames", integer(2, 1000), "how many grids to show at most; they are closer together early on", default=40)
@force
@folder_options("out_dir", "sample_dir")
def animate(folders: Folders, out: str | None, frames: int, force: bool) -> int:
    """Make a film of the sample grids: how training went."""
    target = folders.samples / "training.gif" if out is None else Path(out)
    if target.suffix not in (".gif", ".mp4"):
        raise UsageError(f"--out: found {out!r}, expected a name that ends in .gif or .mp4")

    from dcgan_tf1.files import all_or_none, refuse_existing
    from dcgan_tf1.pictures import film

    refuse_existing(target.parent, [target.name], force)
    content, shown = film.animate(folders.samples, target.suffix, frames)
    with all_or_none(target.parent, [target.name], force) as folder:
        (folder / target.name).write_bytes(content)
    print(f"{target}: {shown}, {len(content) / 1024:.0f} KiB")
    return 0
