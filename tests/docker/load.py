"""A bounded, steady load from inside a container, and an honest account of what happened to each request."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from dataclasses import dataclass
from types import TracebackType

from tests.docker.compose import ComposeProject

LIMIT_SECONDS = 60

CLIENT = """
import http.client, json, sys, threading, time
host, port, path, threads = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
end, stop, seen = time.monotonic() + float(sys.argv[5]), threading.Event(), []
def work():
    connection = None
    while (not stop.is_set() or len(seen) <= 100) and time.monotonic() < end:
        began = time.monotonic()
        try:
            connection = connection or http.client.HTTPConnection(host, port, timeout=15)
            connection.request("GET", path)
            answer = connection.getresponse()
            outcome, body = str(answer.status), answer.read()[:200].decode(errors="replace").strip()
        except Exception as error:
            outcome, body, connection = type(error).__name__, str(error), None
        seen.append((began, time.monotonic(), outcome, body))
        time.sleep(0.004)
workers = [threading.Thread(target=work) for _ in range(threads)]
[worker.start() for worker in workers]
print("started", flush=True)
sys.stdin.readline()
stop.set()
[worker.join() for worker in workers]
print(json.dumps(seen))
"""


@dataclass(frozen=True)
class Request:
    began: float
    ended: float
    outcome: str
    body: str

    @property
    def ok(self) -> bool:
        return self.outcome == "200"


class Load:
    """`with Load(project, "client", "web", 8000) as load: …` then `load.requests`; ends itself after 60 s."""

    def __init__(
        self, project: ComposeProject, client: str, host: str, port: int, path: str = "/", threads: int = 4
    ) -> None:
        self.threads = threads
        self.requests: list[Request] = []
        container = project.container(client)
        arguments = [host, str(port), path, str(threads), str(LIMIT_SECONDS)]
        self._command = ["docker", "exec", "-i", container, "python3", "-c", CLIENT, *arguments]

    def __enter__(self) -> Load:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout
        assert self._process.stdout.readline() == "started\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        output, _ = self._process.communicate("stop\n", timeout=LIMIT_SECONDS + 30)
        if kind is None:
            self.requests = [Request(*row) for row in json.loads(output)]
            assert len(self.requests) > 100, f"too little load: {len(self.requests)} requests"

    @property
    def failed(self) -> list[Request]:
        return [request for request in self.requests if not request.ok]

    @property
    def outcomes(self) -> Counter[str]:
        return Counter(request.outcome for request in self.requests)
