"""What ends a training before its last step: a signal, or a stopwatch."""

import math
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any


class Signals:
    """A context in which the first SIGINT or SIGTERM is only noted, so that the step at hand can end.

    The second signal does at once what it did before. Where there is somebody to `tell`, all signals are noted, and
    told. Outside the main thread, where Python lets nobody handle signals, they are left alone.
    """

    def __init__(self, tell: Callable[[int], object] | None = None) -> None:
        self.number = 0  # the number of the signal that came, or 0
        self._tell = tell
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exc: object) -> None:
        self._restore_handlers()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        if self._tell:
            self._tell(number)
        else:
            self._restore_handlers()

    def _restore_handlers(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)


class Stopwatch:
    """Measures how long steps take. It starts when the first step ends, since that one also prepares the graph."""

    def __init__(self, seconds: float = math.inf, tell: Callable[[float], object] | None = None) -> None:
        """A stopwatch that is due after `seconds`, by default never, and tells how many pass in each step."""
        self.elapsed = 0.0  # seconds so far
        self._seconds, self._tell = seconds, tell
        self._began: float | None = None

    @property
    def due(self) -> bool:
        """Whether the time is over."""
        return self.elapsed >= self._seconds

    def tick(self) -> None:
        """Take note that a step has been made."""
        now = time.monotonic()
        if self._began is None:
            self._began = now
        before, self.elapsed = self.elapsed, now - self._began
        if self._tell:
            self._tell(self.elapsed - before)
