"""What is built from the project works where the project is not."""

import configparser
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT, environment, page_record

LOWEST = ROOT / ".ci" / "lowest.txt"


def test_the_constraints_are_the_lower_bounds_of_setup_cfg():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    requirements = parser["options"]["install_requires"]
    bounds = sorted(f"{name}=={low}" for name, low in re.findall(r"^([\w-]+)>=([\d.]+)", requirements, re.MULTILINE))
    assert [line for line in LOWEST.read_text().splitlines() if not line.startswith("#")] == bounds


def tracked():
    """The files that git knows."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist, and the wheel that was built from it, of a copy of the project, in a clean environment."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "build", "--outdir", folder, source]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_everything_is_in_the_packages(built):
    rooms = "dcgan_tf1/", "checkpoints/", "sample_image/"
    files = {name for name in tracked() if name.startswith(rooms) and not name.endswith(".md")}
    assert {"dcgan_tf1/py.typed", "dcgan_tf1/cli.py", "dcgan_tf1/quality/classifier.npz"} <= files
    assert {"checkpoints/pretrained/weights.npz", "sample_image/pretrained/weights/0000000.png"} <= files
    sdist, wheel = built
    with zipfile.ZipFile(wheel) as archive:
        installed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert installed == {name if name.startswith("dcgan_tf1/") else f"dcgan_tf1/{name}" for name in files}
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert files | {"LICENSE", "README.md"} <= names


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_installed_wheel_works_in_an_empty_folder(built, tmp_path):
    """The wheel alone is installed; its dependencies are those of this environment, by a path file."""
    environment_path, empty = tmp_path / "environment", tmp_path / "empty"
    venv.create(environment_path, with_pip=False)
    scripts = environment_path / ("Scripts" if os.name == "nt" else "bin")
    python = next(path for path in (scripts / "python", scripts / "python.exe") if path.exists())
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", built[1]]
    subprocess.run(install, check=True)
    (site,) = environment_path.rglob("site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    empty.mkdir()

    def call(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=empty, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    ask = "import dcgan_tf1; print(dcgan_tf1.__file__); print(dcgan_tf1.load().sample(3, seed=0).shape)"
    where, shape = call(python, "-c", ask).splitlines()
    assert str(environment_path) in where and shape == "(3, 32, 32)"
    assert call(python, "-m", "dcgan_tf1", "--help").startswith("Usage: dcgan-tf1")
    assert "weights: step" in call(scripts / "dcgan-tf1", "generate", "--num_digits", "2")
    assert len(list((empty / "generated").iterdir())) == 2
    call(scripts / "dcgan-tf1", "export", "--format", "html", "--out", "digits.html")
    steps = [stop["step"] for stop in page_record(empty / "digits.html")["stops"]]
    assert steps == sorted(int(path.stem) for path in (ROOT / "sample_image" / "pretrained" / "weights").glob("*.png"))
