"""TensorFlow, imported once, quietly, and only when something is computed."""

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def _native_stderr_silenced() -> Iterator[None]:
    """Point file descriptor 2 at the null device.

    TensorFlow's C++ side writes start-up notes straight to the descriptor, before
    any Python-level setting can reach it.
    """
    try:
        sys.stderr.flush()
        saved = os.dup(2)
    except (AttributeError, OSError, ValueError):  # no usable stderr: nothing to silence
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


@contextlib.contextmanager
def _without_keras() -> Iterator[None]:
    """Keep TensorFlow from loading Keras, which takes nearly as long as TensorFlow itself.

    It does so at the end of its own import, for whoever loads saved Keras models, and goes on where
    there is no Keras. `tf.keras` is loaded as soon as it is used, as before.
    """
    if "keras" in sys.modules:
        yield
        return
    sys.modules["keras"] = None  # type: ignore[assignment]  # how Python marks what is not there
    try:
        yield
    finally:
        del sys.modules["keras"]


if "tensorflow" in sys.modules:  # the user imported it first: their settings stand
    import tensorflow as tf
else:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _native_stderr_silenced(), _without_keras():
        import tensorflow as tf

        tf.config.list_physical_devices()  # the last of the start-up notes come here

__all__ = ["tf"]
