"""TensorFlow without the lines that it writes to a terminal."""

import os


def import_tensorflow() -> None:
    """Import TensorFlow without the lines that its C++ side writes to stderr then, on which no user could act.

    Whoever sets TF_CPP_MIN_LOG_LEVEL sees what they asked for.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    stderr = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        import tensorflow  # noqa: F401
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
