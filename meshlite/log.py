"""Logs for people: one line for each event, a sentence first, then `key=value` fields. To stderr."""

from __future__ import annotations

import logging
import sys
import time


class Formatter(logging.Formatter):
    """`2026-08-22T10:00:00.123Z INFO  server: node joined node=web-1`; fields: `extra={"fields": {…}}`."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        name = record.name.removeprefix("meshlite.")
        line = f"{stamp}.{int(record.msecs):03d}Z {record.levelname:<5} {name}: {_plain(record.getMessage())}"
        fields: dict[str, object] = getattr(record, "fields", {})
        line += "".join(f" {key}={_shown(value)}" for key, value in fields.items())
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


def _shown(value: object) -> str:
    text = str(value)
    odd = not text or any(c.isspace() or c in '"=' or not c.isprintable() for c in text)
    return repr(text) if odd else text


def _plain(text: str) -> str:
    """A name that somebody else chose begins no line of its own, and does nothing to a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def to_stderr(level: int = logging.INFO) -> None:
    """Send the process's logs to stderr. Called once, by what runs the process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
