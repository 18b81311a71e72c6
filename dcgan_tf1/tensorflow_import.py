"""Importing TensorFlow, without the lines that it writes to a terminal and the packages that it brings along."""

import contextlib
import os
import sys


def import_tensorflow(keras: bool = False) -> None:
    """Import TensorFlow, without the lines that its C++ side writes to stderr, on which no user could act.

    Users who set TF_CPP_MIN_LOG_LEVEL themselves see the lines that they ask for. Without `keras`, which brings
    scikit-learn, SciPy and matplotlib and takes half of the time, `tf.keras` still works: Keras is imported when it is
    used first. But `import tensorflow.keras`, which a caller's program may contain, fails.
    """
    os.environ.setdefault("TF_OVERRIDE_GLOBAL_THREADPOOL", "1")  # each session has the threads that it asks for
    with contextlib.ExitStack() as after:
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
