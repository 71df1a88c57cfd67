"""Signals that stop a command: Ctrl-C, SIGTERM and SIGHUP end it at once or, in training, after the current step."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE = 1.0
"""Seconds that a message may take to be written: whoever should read it may have stopped to."""

_lock = threading.Lock()
_request: "StopRequest | None" = None
"""What a signal is noted in, inside a block of `held`; outside of one, a signal ends the process."""
_shown = 2
"""The standard error that the process began with: libraries are imported with another one."""


class Stopped(SystemExit):
    """A signal has stopped the process: its code is 128 and the signal's number, as shells have it."""

    def __init__(self, number: int):
        super().__init__(128 + number)
        self.message = f"stopped by {signal.Signals(number).name}; the same command goes on from here"


class StopRequest:
    """Whether a signal has asked to stop, inside a block of `held`."""

    def __init__(self, grace: float = 0) -> None:
        self.signal: int | None = None
        self._grace = grace
        self._late: threading.Timer | None = None

    def note(self, number: int) -> None:
        """Note a signal, and end the process if the block does not end within its time of grace."""
        self.signal = number
        if self._grace:
            self._late = threading.Timer(self._grace, _end, (number,))
            self._late.daemon = True
            self._late.start()

    def done(self) -> None:
        """The block has ended in time."""
        if self._late:
            self._late.cancel()

    def __bool__(self) -> bool:
        return self.signal is not None

    def hear(self) -> None:
        """Do nothing, since a signal is noted at once; several hosts ask each other here."""

    def check(self) -> None:
        """Raise Stopped if a signal has asked to stop."""
        if self.signal is not None:
            raise Stopped(self.signal)


@contextlib.contextmanager
def held(grace: float = 0) -> Iterator[StopRequest]:
    """Let the block finish what must not be cut short: the first signal is noted, and the block's end raises Stopped.

    The block asks what it is given whether to end early. A second signal ends the process at once, and so does the
    first one after `grace` seconds, if the block has not ended by then; 0 gives it all the time that it takes.
    """
    global _request
    request = StopRequest(grace)
    with _lock:
        _request = request
    try:
        yield request
    finally:
        with _lock:
            _request = None
        request.done()
    request.check()


def watch() -> None:
    """Begin to handle the signals, but for those that are ignored, as SIGHUP is under `nohup`.

    A thread acts on them. A handler in Python would have to wait for the main thread, which may compile for minutes;
    an exception raised in it is lost, or leaves locks behind, if it comes while libraries are imported.
    """
    global _shown
    with contextlib.suppress(OSError):  # there is no standard error
        _shown = os.dup(2)
    received, sent = os.pipe()
    os.set_blocking(sent, False)
    signal.set_wakeup_fd(sent, warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(received,), name="signals", daemon=True).start()
    for number in _STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _wait_for_the_end)


def receive(number: int) -> None:
    """Note a signal, or end the process by it."""
    with _lock:
        noted = _request is not None and not _request
        if noted:
            _request.note(number)
    if not noted:
        _end(number)


def _listen(received: int) -> None:
    while True:
        number = os.read(received, 1)[0]
        if number in _STOPPING:
            receive(number)


def _end(number: int) -> None:
    """End the process without clearing up: whatever it was writing has a temporary name."""
    teller = threading.Thread(target=_tell, args=(Stopped(number).message,), daemon=True)
    teller.start()
    teller.join(_PATIENCE)
    os._exit(128 + number)


def _tell(message: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        begin = "\n" if os.isatty(_shown) else ""  # there may be a bar in the line
        os.write(_shown, f"{begin}{message}\n".encode())
        sys.stdout.flush()


def _wait_for_the_end(number: int, frame: FrameType | None) -> None:
    """Keep the main thread from going on, and from failing since its workers were stopped too, until the end."""
    if _request is None:
        time.sleep(2 * _PATIENCE)
