"""JSON over HTTP: how every verb talks to the server and to the local agent, on a unix socket or over TLS.

http.client rather than aiohttp: it is in the standard library and costs 30 ms of start-up less than half of
aiohttp's, and a verb makes a handful of calls one after another.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from meshlite.cli.failure import Failure, Unreachable
from meshlite.cli.invocation import command

if TYPE_CHECKING:
    from meshlite.cli.remote import Remote


@dataclass(frozen=True)
class Answer:
    """Status and body of an answer: parsed JSON, or text where the peer sent something else."""

    status: int
    body: Any


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@dataclass(frozen=True)
class Client:
    """A peer on this host, or the remote one instead. `name` and `advice` go into messages: "the server",
    "start it: …". `doubt` is called where nobody answers, and raises Failure if it knows why. `pid_file`
    names the peer's process: it may run although its socket is gone."""

    path: Path
    name: str
    advice: str
    remote: Remote | None = None
    doubt: Callable[[], object] | None = None
    pid_file: Path | None = None

    def get(self, path: str, timeout: float = 10.0, **query: str) -> Any:
        return self.call("GET", path, query=query, timeout=timeout).body

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        query: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        accept: tuple[int, ...] = (),
    ) -> Answer:
        """One request. Raises Unreachable where nobody answers, Failure for a status not accepted."""
        answer = self._send(method, target(path, query or {}), body, timeout)
        if 200 <= answer.status < 300 or answer.status in accept:
            return answer
        raise refusal(self.name, f"{method} {path}", answer)

    def _send(self, method: str, target: str, body: object, timeout: float) -> Answer:
        payload = None if body is None else json.dumps(body)
        headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if payload else {})
        headers |= self.remote.headers if self.remote else {}
        connection: http.client.HTTPConnection | None = None
        try:
            connection = self.remote.connect(timeout) if self.remote else _UnixConnection(self.path, timeout)
            connection.request(method, target, payload, headers)
            response = connection.getresponse()
            return Answer(response.status, _parse(response.read(), response.getheader("Content-Type", "")))
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            if connection is not None:
                connection.close()

    def _unreachable(self, error: Exception) -> Unreachable:
        if self.doubt is not None:
            self.doubt()
        where = self.remote.url if self.remote else str(self.path)
        if isinstance(error, FileNotFoundError) and (pid := self._pid()):
            why = f"process {pid} runs, but its socket was deleted"
            step = f"have it started again: {command(root=True)} up -d"
            return Unreachable(f"{self.name} cannot be asked", where=where, why=why, next_step=step)
        if isinstance(error, FileNotFoundError):
            return Unreachable(
                f"{self.name} is not running", where=where, why="no such socket", next_step=self.advice
            )
        if isinstance(error, PermissionError) and not self.remote:
            advice = "run the command as root, or join the group meshlite"
            return Unreachable(
                f"{self.name} may not be asked", where=where, why="permission denied", next_step=advice
            )
        if isinstance(error, ConnectionRefusedError):
            why = "nobody listens there" if self.remote else "nobody listens on the socket any more"
            return Unreachable(f"{self.name} is not running", where=where, why=why, next_step=self.advice)
        why = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        return Unreachable(f"{self.name} does not answer", where=where, why=why, next_step=self.advice)

    def _pid(self) -> int:
        """Of the peer's process, if that is known to run; 0 otherwise."""
        if self.pid_file is None or self.remote is not None:
            return 0
        from meshlite.cli.processes import recorded

        process = recorded(self.pid_file)
        return process.pid if process else 0


def target(path: str, query: Mapping[str, str]) -> str:
    """A request target with only the query parameters that have a value."""
    given = {key: value for key, value in query.items() if value != ""}
    return quote(path) + (f"?{urlencode(given)}" if given else "")


def refusal(name: str, what: str, answer: Answer) -> Failure:
    """The Failure for an answer with an error status; its body is wire.Error where the peer is ours."""
    body = answer.body if isinstance(answer.body, dict) else {}
    error = str(body.get("error") or f"{name} answered {answer.status}")
    return Failure(error, where=f"{name}, {what} ({answer.status})", next_step=str(body.get("hint") or ""))


def _parse(data: bytes, content_type: str) -> object:
    if "json" in content_type and data:
        return json.loads(data)
    return data.decode(errors="replace")
