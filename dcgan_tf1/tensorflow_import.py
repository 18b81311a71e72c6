"""Importing TensorFlow, without the lines that it writes to a terminal and the packages that it brings along."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any


def import_tensorflow(keras: bool = False) -> None:
    """Import TensorFlow, without the lines that its C++ side writes to stderr, on which no user could act.

    Users who set TF_CPP_MIN_LOG_LEVEL themselves see the lines that they ask for. Without `keras`, which brings
    scikit-learn, SciPy and matplotlib and takes half of the time, `tf.keras` still works: Keras is imported when it is
    used first. But `import tensorflow.keras`, which a caller's program may contain, fails.
    """
    os.environ.setdefault("TF_OVERRIDE_GLOBAL_THREADPOOL", "1")  # each session has the threads that it asks for
    with contextlib.ExitStack() as after:
        after.enter_context(_signals_wait())
        if not keras and not sys.modules.keys() & {"tensorflow", "keras"}:
            # Importing Keras now fails, and TensorFlow goes on without it.
            sys.modules["keras"] = None  # type: ignore[assignment]
            after.callback(sys.modules.pop, "keras")
        if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
            os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
            stderr = os.dup(2)
            after.callback(os.close, stderr)
            after.callback(os.dup2, stderr, 2)
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), 2)
        import tensorflow  # noqa: F401


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """A block at whose end signals act that came meanwhile: where one interrupts TensorFlow's import, it aborts."""
    came: list[int] = []
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not None:
                before[number] = signal.signal(number, lambda caught, frame: came.append(caught))
    try:
        yield
    finally:
        for replaced, handler in before.items():
            signal.signal(replaced, handler)
        for caught in came[:1]:
            signal.raise_signal(caught)
