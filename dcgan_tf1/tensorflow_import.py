"""TensorFlow without the lines that it writes to a terminal, and without what it brings in unasked."""

import contextlib
import os
import sys


def import_tensorflow(keras: bool = False) -> None:
    """Import TensorFlow, without the lines that its C++ side writes to stderr then, on which no user could act.

    Whoever sets TF_CPP_MIN_LOG_LEVEL sees what they asked for.

    Args:
        keras: whether Keras comes too, as it does with a plain import, and brings scikit-learn, SciPy and matplotlib:
            half of the time. Nothing here uses it but `tf.keras.datasets`, and `tf.keras` is still loaded when it is
            first used. Only `import tensorflow.keras` no longer works, which is for other people's programs to do.
    """
    os.environ.setdefault("TF_OVERRIDE_GLOBAL_THREADPOOL", "1")  # each session has the threads that it asks for
    with contextlib.ExitStack() as after:
        if not keras and not sys.modules.keys() & {"tensorflow", "keras"}:
            sys.modules["keras"] = None  # to import it now fails, and TensorFlow goes on without
            after.callback(sys.modules.pop, "keras")
        if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
            os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
            stderr = os.dup(2)
            after.callback(os.close, stderr)
            after.callback(os.dup2, stderr, 2)
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), 2)
        import tensorflow  # noqa: F401
