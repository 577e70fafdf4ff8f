"""A keep-alive HTTP/1.1 connection from a container's namespace, so plain that it costs next to nothing."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

from bench import namespace


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]


@dataclass
class Prober:
    """Asks one URL of one address again and again; connects again when the connection is lost."""

    pid: int
    address: str
    port: int
    host: str
    _connection: socket.socket | None = field(default=None, repr=False)

    def ask(self) -> Answer | None:
        """None where nobody answers."""
        try:
            if self._connection is None:
                self._connection = namespace.connect(self.pid, self.address, self.port)
            self._connection.sendall(f"GET / HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode())
            return self._read(self._connection)
        except OSError:
            self.close()
            return None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _read(self, connection: socket.socket) -> Answer:
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._more(connection)
        head, _, body = received.partition(b"\r\n\r\n")
        answer = parse(head.decode("latin-1"))
        missing = int(answer.headers.get("content-length", "0")) - len(body)
        while missing > 0:
            missing -= len(self._more(connection))
        return answer

    @staticmethod
    def _more(connection: socket.socket) -> bytes:
        if not (data := connection.recv(65536)):
            raise ConnectionResetError("closed in the middle of an answer")
        return data


def parse(head: str) -> Answer:
    """Status line and header lines -> Answer with header names in lower case."""
    first, *lines = head.split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return Answer(int(first.split()[1]), {name.strip().lower(): value.strip() for name, _, value in pairs})
