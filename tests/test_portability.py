"""The program runs without what POSIX has and Windows lacks.

Windows itself is not run here. What it lacks is taken away instead: modules, functions, signals, opening a folder, and
replacing or removing a file that is open. The lock and the place of the cache are what this cannot show, since filelock
and platformdirs have other code for Windows.
"""

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import POSIX, ROOT, TINY, output, python, train
from PIL import Image

from dcgan_tf1.files import cache_folder

AS_ON_WINDOWS = """
import os, shutil, signal, subprocess, sys, tempfile
import platformdirs  # on Windows it is made of other modules

for name in ("fcntl", "grp", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"):
    sys.modules[name] = None  # an import of it fails

POSIX_ONLY = {
    # Without uname and sysconf, which libraries call on Linux.
    os: "O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK O_SYNC chown chroot fchmod fchown fdatasync fork forkpty getegid "
    "geteuid getgid getloadavg getpgid getsid getuid killpg lchown mkfifo mknod nice posix_fallocate pread pwrite "
    "sched_getaffinity sched_setaffinity setsid statvfs sync",
    signal: "SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 alarm pause "
    "pthread_kill pthread_sigmask setitimer sigwait",
}
for module, names in POSIX_ONLY.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)

shutil._use_fd_functions = False  # elsewhere it opens the folders that it removes
tempfile.TemporaryFile = tempfile.NamedTemporaryFile  # elsewhere it removes the file while it is open
open_any = os.open

def open_file(path, *arguments, **options):
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", str(path))
    return open_any(path, *arguments, **options)

os.open = open_file

def is_open(path):
    descriptors = os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd") else []
    opened = [os.path.realpath("/proc/self/fd/" + descriptor) for descriptor in descriptors]
    return not os.path.isdir(path) and os.path.realpath(path) in opened

def unless_open(call):
    def checked(*paths, **options):
        for path in paths:
            if is_open(path):
                raise PermissionError(13, "The process cannot access the file because it is being used", str(path))
        return call(*paths, **options)
    return checked

for name in ("remove", "rename", "replace", "unlink"):
    setattr(os, name, unless_open(getattr(os, name)))
"""


def run_as_on_windows(code, *arguments):
    return python(AS_ON_WINDOWS + code, *arguments)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other places")
def test_the_place_of_the_cache(monkeypatch):
    import pwd

    monkeypatch.setenv("HOME", "/home/her")
    assert cache_folder() == Path(os.environ["XDG_CACHE_HOME"], "dcgan-tf1")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path("/home/her/.cache/dcgan-tf1")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)  # a user whom the system does not know
    assert cache_folder() is None


def test_every_module_is_imported():
    paths = [path.relative_to(ROOT) for path in (ROOT / "dcgan_tf1").rglob("*.py") if not path.stem.startswith("__")]
    modules = [".".join(path.with_suffix("").parts) for path in paths]
    code = """
import importlib
with tempfile.NamedTemporaryFile() as file:  # the imitation sees that it is open
    try:
        os.unlink(file.name)
    except PermissionError:
        print("refused")
for name in sys.argv[1:]:
    importlib.import_module(name)
    print(name)
"""
    result = run_as_on_windows(code, *modules)
    assert result.stdout.split() == ["refused", *modules], result.stderr


RESERVED = r"CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)\d"


def windows_takes(name):
    """Whether a file can have that name on Windows (learn.microsoft.com, "Naming Files, Paths, and Namespaces")."""
    odd = re.search(r'[<>:"/\\|?*\x00-\x1f]', name) or name.endswith((" ", "."))
    return not odd and not re.fullmatch(RESERVED, name.split(".")[0].rstrip().upper())


@POSIX
def test_windows_can_have_every_name_that_is_written(tmp_path):
    classes = ["con", 'a:b?"<*>|.', "nul ", "\\"]
    for i, name in enumerate(classes * 4):
        path = tmp_path / "pictures" / name / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((28, 28), 10 * i, np.uint8)).save(path)
    folder = tmp_path / "run"
    train(folder, 2, "--dataset", tmp_path / "pictures", "--conditional")
    for name in classes:
        output("generate", "--out_dir", folder, "--class", name, "--num_digits", 1, "--out", folder / "generated")
    output("export", "--out_dir", folder, "--out", folder / "saved_model")
    written = [path.name for path in folder.rglob("*")]
    assert len(written) > 20 and all(map(windows_takes, written)), written
    assert not any(map(windows_takes, classes))


@pytest.mark.slow
def test_a_run_trains_resumes_and_draws(tmp_path):
    code = """
from dcgan_tf1 import cli

folder, *tiny = sys.argv[1:]
tiny += ["--checkpoint_every", "1", "--max_to_keep", "1", "--eval_every", "2"]
codes = [cli.main([*tiny, "--out_dir", folder, "--iterations", steps]) for steps in ("3", "5")]
codes.append(cli.main(["generate", "--out_dir", folder, "--num_digits", "2", "--out", folder + "/generated"]))
codes.append(cli.main(["export", "--out_dir", folder, "--out", folder + "/exported"]))
codes.append(cli.main(["export", "--out_dir", folder, "--format", "html", "--out", folder + "/digits.html"]))
codes.append(cli.main(["interpolate", "--out_dir", folder, "--rows", "1", "--out", folder + "/paths"]))
codes.append(cli.main(["animate", "--out_dir", folder]))
codes.append(cli.main(["curves", "--out_dir", folder]))
codes.append(cli.main(["generate", "--force", "--out_dir", folder, "--num_digits=2", "--out", folder + "/generated"]))
print(codes)
"""
    result = run_as_on_windows(code, tmp_path, *TINY)
    assert result.stdout.endswith(f"\n{[0] * 9}\n"), result.stdout + result.stderr
    assert "resumed at step 3" in result.stdout
    assert len(list((tmp_path / "generated").iterdir())) == 2
    assert [path.name for path in (tmp_path / "checkpoints").glob("*.json")] == ["model-5.json"]
    assert all(windows_takes(path.name) for path in tmp_path.rglob("*"))
