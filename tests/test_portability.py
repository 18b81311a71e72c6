"""The program runs where POSIX's modules and habits are absent, as on Windows.

Windows itself is not run here. What it lacks is taken away instead: the modules, the functions, and opening a folder.
"""

import subprocess
import sys

from conftest import ROOT, TINY, environment

AS_ON_WINDOWS = """
import os, shutil, sys

for name in ("fcntl", "grp", "pwd", "resource", "syslog", "termios"):
    sys.modules[name] = None  # an import of it fails
if hasattr(os, "sched_getaffinity"):
    del os.sched_getaffinity
shutil._use_fd_functions = False  # elsewhere it opens the folders that it removes
open_any = os.open

def open_file(path, *arguments, **options):
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", str(path))
    return open_any(path, *arguments, **options)

os.open = open_file
"""


def test_every_module_is_imported():
    code = """
import importlib, pkgutil
import dcgan_tf1
for module in pkgutil.walk_packages(dcgan_tf1.__path__, "dcgan_tf1."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print("all")
"""
    found = subprocess.run(
        [sys.executable, "-c", AS_ON_WINDOWS + code], cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    assert found.stdout == "all\n", found.stderr


def test_a_run_trains_resumes_and_draws(tmp_path):
    code = """
from dcgan_tf1 import cli
tiny, folder = sys.argv[2:], sys.argv[1]
codes = [cli.main([*tiny, "--out_dir", folder, "--iterations", steps]) for steps in ("3", "5")]
codes.append(cli.main(["generate", "--out_dir", folder, "--num_digits", "2", "--out", folder + "/generated"]))
print(codes)
"""
    command = [sys.executable, "-c", AS_ON_WINDOWS + code, str(tmp_path), *TINY]
    found = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert found.stdout.endswith("\n[0, 0, 0]\n"), found.stdout + found.stderr
    assert "resumed at step 3" in found.stdout
    assert len(list((tmp_path / "generated").iterdir())) == 2
    assert (tmp_path / "checkpoints" / "model-5.json").exists()
