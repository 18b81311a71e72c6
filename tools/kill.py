"""Kill a tiny training run again and again, resume it, and compare its end with that of a run that is left alone.

    python tools/kill.py --kills 200                 # SIGKILL at random instants
    python tools/kill.py --syscalls                  # SIGKILL, ENOSPC and EIO at each system call of a commit
    python tools/kill.py -- --precision bfloat16     # with other flags than the tiny run's
    python tools/kill.py --soak 150000 --kills 20    # one long run, and whether its memory stays flat
    python tools/kill.py --workers 3 --kills 30      # one of three workers that train together, killed at random
    python tools/kill.py --workers 3 --kills 5 --stop      # or stopped, as a worker that hangs
    python tools/kill.py --launch --kills 9          # a launcher killed, its chief stopped, or its pipe closed

The variables (the Saver's two files of the last step), metrics.csv and every PNG must be equal byte for byte, no
resume may start before the last `committed K` that was printed, and no temporary file may be left. The exit code is
1 if anything of this fails.

TensorFlow takes seconds to import, so this process imports it once and forks a child for each run. It opens no session
and starts no thread of TensorFlow, so that each child begins as a fresh process does. A kill during the import itself
would find nothing to damage, since until then a run writes only its lock.
"""

import argparse
import atexit
import contextlib
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import dcgan_tf1.training.loop  # noqa: E402, F401  (imported once for all children)
from dcgan_tf1 import cli  # noqa: E402
from dcgan_tf1.commands.launch import free_addresses  # noqa: E402
from dcgan_tf1.runs import checkpoint  # noqa: E402
from dcgan_tf1.tf_config import Task, write_task  # noqa: E402

TINY = ["--dataset", "digits", "--g_channels", "16,8", "--d_channels", "4,8", "--batch_size", "8", "--z_dim", "8"]
OFTEN = ["--log_every", "1", "--sample_every", "5", "--checkpoint_every", "10", "--max_to_keep", "2"]
STEPS = 200
ROOT = Path(__file__).resolve().parent.parent
REMOVALS = ("unlink", "unlinkat", "rmdir")
CALLS = ("mkdir", "openat", "write", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2", *REMOVALS)
TEMPORARIES = (".commit-*", ".*.tmp")


class Run:
    """A child process that trains in `folder`."""

    def __init__(self, folder, *flags, prepare=lambda: None):
        self.lines, self.memory, self.code, self.failed_at = [], [], None, None
        reading, writing = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            _become_a_run(writing, [*TINY, "--out_dir", str(folder), *map(str, flags)], prepare)
        os.close(writing)
        self._output = os.fdopen(reading)

    def read(self, until=lambda line: False):
        """Take in what is printed, to the first line that is `until`, or to the end."""
        for line in self._output:
            self.lines.append(line.strip())
            if line.startswith("error: "):
                self.failed_at = time.monotonic()
            if line.startswith("committed "):
                self.memory.append(_resident(self.pid))
            if until(self.lines[-1]):
                return

    def wait(self):
        """The exit code, negative for a signal, once the run has ended."""
        self.read()
        if self.code is None:
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.code

    def wait_for_stop(self):
        """Whether the run stopped itself, or else ended."""
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            self.code = os.waitstatus_to_exitcode(status)
        return self.code is None

    def kill(self):
        """Whether SIGKILL came in time."""
        os.kill(self.pid, signal.SIGKILL)
        return self.wait() == -signal.SIGKILL

    @property
    def committed(self):
        """The last step whose commit was printed, or -1."""
        return max([-1, *_numbers("committed", self.lines)])

    @property
    def start(self):
        """The step of the first update, or None where the run did not get that far."""
        return 0 if any(line.startswith("starting fresh") for line in self.lines) else self.resumed

    @property
    def resumed(self):
        return next(iter(_numbers("resumed at step", self.lines)), None)


class Workers:
    """Child processes that train in `folder` together. Only the first one, the chief, writes to it."""

    def __init__(self, count, folder, *flags):
        addresses = free_addresses(count)
        self.all = []
        for worker in range(count):
            text = write_task(Task(addresses, worker))
            prepare = lambda text=text: os.environ.update(TF_CONFIG=text)  # noqa: E731
            self.all.append(Run(folder, *flags, prepare=prepare))
        self.chief = self.all[0]
        self._readers = [threading.Thread(target=run.wait) for run in self.all]  # after the last fork
        for reader in self._readers:
            reader.start()

    def wait(self, seconds):
        """Whether all have ended in time; those that have not are killed."""
        end = time.monotonic() + seconds
        for reader in self._readers:
            reader.join(max(0.0, end - time.monotonic()))
        late = [run for run in self.all if run.code is None]
        for run in late:
            os.kill(run.pid, signal.SIGKILL)
        for reader in self._readers:
            reader.join()
        return not late


def _become_a_run(output, arguments, prepare):
    code = 1
    atexit._clear()  # what the tool itself does at its end
    try:
        os.dup2(output, 1)
        os.dup2(1, 2)
        prepare()
        code = cli.main(arguments)
        sys.stdout.flush()
        atexit._run_exitfuncs()  # as at the end of any program
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _numbers(name, lines):
    return [int(match[1]) for line in lines if (match := re.match(rf"{name} (\d+)", line))]


def _resident(pid):
    """Resident memory in MB, or 0 where the process is gone."""
    with contextlib.suppress(OSError, TypeError):
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024
    return 0.0


class Judge:
    """Counts what happened, and prints what should not have."""

    def __init__(self):
        self.losses, self.counts = 0, Counter()

    def expect(self, good, what, run=None):
        if not good:
            self.losses += 1
            print("LOSS:", what, *(run.lines[-5:] if run else []), sep="\n  ", flush=True)

    def expect_start(self, run, committed):
        """A run that got to its session began at the last printed commit, or after it."""
        self.expect(run.start is None or run.start >= committed, f"started before step {committed}", run)

    def expect_end(self, run, folder, reference):
        """A finished run is the run that was left alone."""
        self.expect(run.code == 0, f"exit code {run.code}", run)
        found = outcome(folder)
        differing = sorted(name for name in found.keys() | reference if found.get(name) != reference.get(name))
        self.expect(not differing, f"not as the unkilled run: {differing[:5]}", run)
        self.expect(not temporaries(folder), f"left behind: {temporaries(folder)[:5]}", run)

    def finish(self, line):
        print(f"{line}; {dict(sorted(self.counts.items()))}; {self.losses} losses", flush=True)
        return 1 if self.losses else 0


def outcome(folder):
    """sha256 of all that a finished run is: its variables, its table and its pictures."""
    last = max(_numbers("model-", [path.name.replace("-", "- ") for path in folder.rglob("model-*")]))
    paths = [*folder.rglob(f"model-{last}.[di]*"), *folder.rglob("*.csv"), *folder.glob("sample_image/*")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def temporaries(folder):
    return [str(path) for pattern in TEMPORARIES for path in folder.rglob(pattern)]


def unkilled(folder, flags, judge):
    """A run that is left alone, and the seconds that it took. It must commit what it was asked for, and tidy up."""
    began = time.monotonic()
    run = Run(folder, *flags)
    run.wait()
    seconds = time.monotonic() - began
    steps = int(flags[flags.index("--iterations") + 1])
    judge.expect(run.code == 0 and run.committed == steps, f"exit code {run.code}, committed {run.committed}", run)
    judge.expect(not temporaries(folder), f"left behind: {temporaries(folder)[:5]}", run)
    return run, seconds


def random_kills(count, folder, judge):
    """Kill `count` times, at instants after the start; begin a new run whenever one finishes."""
    flags = [*OFTEN, "--iterations", STEPS]
    _, seconds = unkilled(folder / "whole", flags, judge)
    reference = outcome(folder / "whole")
    rounds, committed, killed = 0, -1, 0
    while killed < count or committed >= 0:
        run = Run(folder / "killed", *flags)
        if killed < count:
            time.sleep(random.uniform(0, seconds / 2))  # a run takes several kills then, and some hit its start-up
        done = not run.kill() if killed < count else run.wait() == 0
        judge.expect_start(run, committed)
        committed = max(committed, run.committed)
        if done or killed == count:
            judge.expect_end(run, folder / "killed", reference)
            shutil.rmtree(folder / "killed")
            rounds, committed = rounds + 1, -1
        else:
            killed += 1
            place = "write" if temporaries(folder / "killed") else "start-up" if run.start is None else "training"
            judge.counts[f"in {place}"] += 1
    return judge.finish(f"{killed} kills over {rounds} runs of {STEPS} steps")


def lose_workers(workers, count, number, folder, judge):
    """Lose one of `workers`, `count` times, by the signal `number`; and start all of them again."""
    flags = [*OFTEN, "--batch_size", 4 * workers, "--iterations", STEPS]
    flags += ["--worker_timeout", 5] if number == signal.SIGSTOP else []
    began = time.monotonic()
    whole = Workers(workers, folder / "whole", *flags)
    whole.wait(300)
    for run in whole.all:
        judge.expect(run.code == 0, f"the run left alone: exit code {run.code}", run)
    if judge.losses:
        return judge.finish("no run to compare with")
    reference, seconds = outcome(folder / "whole"), time.monotonic() - began
    found, ended, rounds, committed, lost = [], [], 0, -1, 0
    while lost < count or committed >= 0:
        runs = Workers(workers, folder / "killed", *flags)
        victim = random.choice(runs.all)
        while not all(run.lines or run.code is not None for run in runs.all):
            time.sleep(0.01)  # until all have met: who never comes is waited for
        if lost < count:
            time.sleep(random.uniform(0, seconds))
            if victim.code is None:
                os.kill(victim.pid, number)
        at = time.monotonic()
        others = [run for run in runs.all if run is not victim]
        if number == signal.SIGSTOP and lost < count:
            while time.monotonic() < at + 30 and any(run.code is None for run in others):
                time.sleep(0.05)
            ended.append(time.monotonic() - at)
            if victim.code is None:
                os.kill(victim.pid, signal.SIGKILL)
        in_time = runs.wait(45 if lost < count else 300)  # the first exchange of all may take 30
        judge.expect(in_time, "a worker did not end", next((run for run in runs.all if run.code != 0), None))
        judge.expect_start(runs.chief, committed)
        committed = max(committed, runs.chief.committed)
        if all(run.code == 0 for run in runs.all):
            judge.expect_end(runs.chief, folder / "killed", reference)
            shutil.rmtree(folder / "killed")
            rounds, committed = rounds + 1, -1
            continue
        lost += 1
        in_training = any(line.startswith("committed") for line in runs.chief.lines) or runs.chief.start is not None
        judge.counts["in training" if in_training else "in start-up"] += 1
        for run in others:
            judge.expect(run.code in ((76,) if in_training else (2, 76)) or run.code == 0, f"code {run.code}", run)
            if in_training and run.failed_at:
                found.append(run.failed_at - at)
                judge.expect(f"worker {runs.all.index(victim)} " in run.lines[-1], "the wrong worker was named", run)
    if found:
        found.sort()
        print(f"found after {found[len(found) // 2]:.2f} s (median), {found[-1]:.2f} s (worst of {len(found)})")
    if ended:
        print(f"the others had ended after {max(ended):.1f} s at most")
    return judge.finish(f"{lost} workers of {workers} lost over {rounds} runs of {STEPS} steps")


def lose_launchers(count, folder, judge):
    """Kill a launcher of two workers, stop its chief, and close the pipe that it prints to, `count` times in all."""
    flags = [*TINY, *OFTEN, "--iterations", str(STEPS), "--worker_timeout", "3"]

    def launch(into):
        command = [sys.executable, "-u", "-m", "dcgan_tf1", "launch", "--", *flags, "--out_dir", str(folder / into)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)

    began = time.monotonic()
    whole = launch("whole")
    judge.expect(whole.communicate()[1] is None and whole.returncode == 0, "the run left alone failed")
    reference, seconds, ended = outcome(folder / "whole"), time.monotonic() - began, Counter()
    for i in range(count):
        kind = ("launcher killed", "chief stopped", "pipe closed")[i % 3]
        process = launch("killed")
        if kind == "chief stopped":  # one that never comes is waited for
            next(line for line in process.stdout if "committed" in line)
        else:
            time.sleep(random.uniform(0, 0.8 * seconds))
        workers = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
        at = time.monotonic()
        if kind == "launcher killed" or not workers:
            process.kill()
        elif kind == "chief stopped":
            os.kill(workers[0], signal.SIGSTOP)
        process.stdout.close() if kind == "pipe closed" else process.stdout.read()
        while any(_resident(pid) for pid in workers) and time.monotonic() < at + 60:
            time.sleep(0.05)
        ended[kind] = max(ended[kind], time.monotonic() - at)
        # A stopped chief is named after the timeout, and killed 8 seconds after that; the rest is for a busy machine.
        limit = {"launcher killed": 5, "chief stopped": 3 + 8 + 20, "pipe closed": 10}[kind]
        judge.expect(time.monotonic() - at < limit, f"{kind}: a worker lived on for {time.monotonic() - at:.1f} s")
        process.kill()
        judge.counts[kind] += 1
    last = launch("killed")
    last.communicate()
    found = outcome(folder / "killed")
    judge.expect(last.returncode == 0 and found == reference, "not as the run left alone")
    judge.expect(not temporaries(folder), f"left behind: {temporaries(folder)[:5]}")
    print("the last worker had ended after", {kind: f"{worst:.1f} s" for kind, worst in sorted(ended.items())})
    return judge.finish(f"{count} launchers lost")


def soak(steps, count, folder, judge):
    """One run of `steps` steps, killed `count` times, at random instants of as many equal parts."""
    flags = [*["--log_every", "10", "--sample_every", "1000", "--checkpoint_every", "500", "--iterations"], steps]
    whole, seconds = unkilled(folder / "whole", flags, judge)
    warm, last = whole.memory[len(whole.memory) // 10], whole.memory[-2]  # the very last may be read after the end
    judge.expect(last < 1.05 * warm, f"memory grew from {warm:.0f} to {last:.0f} MB")
    committed = -1
    for part in range(1, count + 1):
        run = Run(folder / "killed", *flags)
        target = part * steps // (count + 1)
        run.read(lambda line, target=target: max([-1, *_numbers("committed", [line])]) >= target)
        time.sleep(random.uniform(0, seconds / (count + 1) / 2))
        judge.expect(run.kill(), f"the run ended before kill {part}", run)
        judge.expect_start(run, committed)
        judge.expect(run.committed >= target, f"kill {part} came before step {target}", run)
        committed = run.committed
    run = Run(folder / "killed", *flags)
    run.wait()
    judge.expect_start(run, committed)
    judge.expect_end(run, folder / "killed", outcome(folder / "whole"))
    rate = f"{seconds:.0f} s unkilled, {warm:.0f} MB after a tenth of it and {last:.0f} MB at its end"
    return judge.finish(f"{count} kills over one run of {steps} steps; {rate}")


def _stop_around_commit(step):
    """Make this process wait for SIGCONT before and after it commits `step`."""
    commit = checkpoint.commit

    def stop_and_commit(folder, at, *others):
        if at == step:
            os.kill(os.getpid(), signal.SIGSTOP)
        commit(folder, at, *others)
        if at == step:
            os.kill(os.getpid(), signal.SIGSTOP)

    checkpoint.commit = stop_and_commit
    os.environ["TF_NUM_INTEROP_THREADS"] = "1"  # so that all calls of the Saver come from one thread


def traced(folder, flags, log, thread, *options):
    """A run from step 20 whose commit of step 30 is traced, in its main thread or in TensorFlow's (`thread`)."""
    run = Run(folder, *flags, prepare=lambda: _stop_around_commit(30))
    assert run.wait_for_stop(), run.lines
    threads = {int(name) for name in os.listdir(f"/proc/{run.pid}/task")} - {run.pid}
    chosen = [run.pid] if thread == "main" else sorted(threads)
    command = ["strace", "-o", str(log), *options, *(f"--attach={number}" for number in chosen)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        for _ in chosen:
            assert "attached" in (said := tracer.stderr.readline()), said
        os.kill(run.pid, signal.SIGCONT)
        if run.wait_for_stop():
            tracer.terminate()
            tracer.wait()
            os.kill(run.pid, signal.SIGCONT)
    run.wait()
    return run


def every_call(most, folder, judge):
    """Kill before, and fail, each system call on files in one commit, or `most` of these cases, chosen at random."""
    base, victim, log = folder / "base", folder / "victim", folder / "log"
    flags = [*OFTEN, "--iterations", 40]
    Run(base, *OFTEN, "--iterations", 20).wait()
    unkilled(folder / "whole", flags, judge)
    reference = outcome(folder / "whole")
    calls = []
    for thread in ("main", "TensorFlow's"):
        shutil.copytree(base, victim)
        run = traced(victim, flags, log, thread, "-e", f"trace={','.join(CALLS)}")
        judge.expect_end(run, victim, reference)
        shutil.rmtree(victim)
        found = Counter(re.findall(r"^(?:\d+ +)?(\w+)\(", log.read_text(), re.MULTILINE))
        print(f"{thread} thread: {dict(found)}", flush=True)
        calls += [(thread, name, number) for name in found for number in range(1, found[name] + 1)]
    cases = [(*call, effect) for call in calls for effect in ("signal=KILL", "error=ENOSPC", "error=EIO")]
    cases = random.sample(cases, min(most, len(cases)))
    for thread, name, number, effect in cases:
        what = f"{effect} at {name} {number} of the {thread} thread"
        shutil.copytree(base, victim)
        inject = f"inject={name}:{effect}:when={number}"
        run = traced(victim, flags, log, thread, "-e", f"trace={name}", "-e", inject)
        if effect == "signal=KILL":
            judge.expect(run.code == -signal.SIGKILL, f"{what}: not hit, exit code {run.code}", run)
            judge.counts["killed"] += 1
        else:
            # A temporary file that cannot be removed is no reason to stop: the next start removes it.
            judge.expect("INJECTED" in log.read_text(), f"{what}: not hit", run)
            judge.expect(run.code == 5 or run.code == 0 and name in (*REMOVALS, "openat"), f"{what}: {run.code}", run)
            judge.expect(len(run.lines[-1]) <= 200 and not any("Traceback" in line for line in run.lines), what, run)
            judge.expect(
                name in REMOVALS or run.code == 0 or not temporaries(victim), f"{what}: {temporaries(victim)}", run
            )
            judge.counts[f"exit {run.code}"] += 1
        judge.expect((victim / "checkpoints" / "model-20.json").exists() or run.committed >= 30, f"{what}: no 20", run)
        last = Run(victim, *flags)
        last.wait()
        if run.code:
            judge.expect_start(last, max(20, run.committed))
        judge.expect_end(last if run.code else run, victim, reference)
        shutil.rmtree(victim)
    return judge.finish(f"{len(cases)} faults in one commit of {len(calls)} system calls")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="how many, at most, of kills or faults (default: 200)")
    parser.add_argument("--syscalls", action="store_true", help="at each system call of a commit; needs strace")
    parser.add_argument("--soak", type=int, metavar="STEPS", help="kill one run of STEPS steps")
    parser.add_argument("--workers", type=int, metavar="N", help="lose one of N workers that train together")
    parser.add_argument("--launch", action="store_true", help="lose a launcher of two workers, or what it prints to")
    parser.add_argument("--stop", action="store_true", help="with --workers: stop the worker, and do not kill it")
    parser.add_argument("--seed", type=int, default=0, help="of the instants (default: 0)")
    parser.add_argument("flags", nargs="*", help="of the runs, after --: say -- --precision bfloat16")
    options = parser.parse_args()
    TINY.extend(options.flags)
    random.seed(options.seed)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        if options.syscalls:
            code = every_call(options.kills, Path(folder), Judge())
        elif options.workers:
            number = signal.SIGSTOP if options.stop else signal.SIGKILL
            code = lose_workers(options.workers, options.kills, number, Path(folder), Judge())
        elif options.launch:
            code = lose_launchers(options.kills, Path(folder), Judge())
        elif options.soak:
            code = soak(options.soak, options.kills, Path(folder), Judge())
        else:
            code = random_kills(options.kills, Path(folder), Judge())
    print(f"{time.monotonic() - began:.0f} s")
    return code


if __name__ == "__main__":
    sys.exit(main())
