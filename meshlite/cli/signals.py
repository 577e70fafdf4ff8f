"""Signals that end a command: Ctrl-C, SIGTERM, and SIGHUP when its terminal is closed."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Stop(BaseException):
    """A signal asks for the end; no step on the way may take it for a failure of its own."""


@contextmanager
def until_signalled() -> Iterator[None]:
    """A signal ends the block, wherever it is, and what follows the block goes on.

    So it is where nobody is left to read what the block says, which may be noticed before the signal comes.
    """
    with _handled(ENDING, _stop), suppress(_Stop):
        try:
            yield
        except OSError:
            if not _nobody_listens():
                raise
            speak_to_nobody()


@contextmanager
def unmoved_by(*numbers: signal.Signals) -> Iterator[None]:
    """The block goes on whatever of these comes. What it starts does not inherit that."""
    with _handled(numbers, lambda *_: None):
        yield


@contextmanager
def postponed() -> Iterator[None]:
    """Signals that come during the block take effect after it: what it begins is not left half done."""
    came: list[int] = []
    try:
        with _handled(ENDING, lambda number, _: came.append(number)):
            yield
    finally:
        for number in came:
            signal.raise_signal(number)


def speak_to_nobody() -> None:
    """Stop writing to a terminal or a pipe that is gone: each word there would be an error."""
    nobody = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            os.dup2(nobody, stream.fileno())
    os.close(nobody)


def _nobody_listens() -> bool:
    poll = select.poll()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            poll.register(stream.fileno(), 0)
    return any(what & (select.POLLHUP | select.POLLERR) for _, what in poll.poll(0))


def _stop(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGHUP:
        speak_to_nobody()
    raise _Stop


@contextmanager
def _handled(numbers: Iterable[int], handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Handle these signals in the block; those that are ignored, as nohup(1) has it, stay so."""
    mine = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in mine}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
