"""The tour's resources: applied from the files in rules/, waited for, and deleted again in every case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from meshlite.cli.failure import Failure
from meshlite.cli.lifecycle import wait_until
from meshlite.cli.settings import agent_of, server_of
from meshlite.config import Settings

FOLDER = Path(__file__).with_name("rules")
LABEL = "meshlite.tour"
SECONDS = 15.0


def apply(settings: Settings, namespace: str, *names: str) -> None:
    """Apply rules/<name>.yaml for each name, in this namespace, and wait until the node proxy has them."""
    from meshlite.model.documents import read
    from meshlite.model.wire import Document

    documents: list[Document] = []
    for name in names:
        file = FOLDER / f"{name}.yaml"
        documents += read(file.read_text(), str(file), namespace).documents
    body = {"documents": [document.model_dump(mode="json") for document in documents]}
    server_of(settings).call("POST", "/v1/resources", body)
    settle(settings)


def clear(settings: Settings, namespace: str) -> None:
    """Delete what the tour has applied, now or before it was cut off."""
    server = server_of(settings)
    for resource in _resources(settings, namespace):
        if resource["labels"].get(LABEL):
            path = f"/v1/resources/{resource['kind']}/{resource['namespace']}/{resource['name']}"
            server.call("DELETE", path, accept=(404,))
    settle(settings)


def refuse_foreign(settings: Settings, namespace: str) -> None:
    """Raise Failure where the user has rules: the tour would mix with them, or replace them."""
    own = [row for row in _resources(settings, namespace) if not row["labels"].get(LABEL)]
    if own:
        raise Failure(
            f"{namespace} has rules of its own, and the tour would mix with them",
            why=", ".join(f"{row['kind']} {row['name']}" for row in own),
            next_step="keep them (meshlite get all -o yaml > kept.yaml), then: meshlite delete -f kept.yaml",
        )


def settle(settings: Settings) -> None:
    """Wait until the agent has the server's latest snapshot and the node proxy has acknowledged all of it."""
    server, agent = server_of(settings), agent_of(settings)
    wanted = server.get("/v1/health")["snapshot"]

    def settled() -> bool:
        status: dict[str, Any] = agent.get("/v1/status")
        return status["snapshot"]["version"] == wanted and bool(status["proxy"]["synced"])

    if not wait_until(settled, SECONDS):
        raise Failure(
            "the node proxy has not taken the change", next_step="meshlite proxy-status; meshlite status"
        )


def _resources(settings: Settings, namespace: str) -> list[dict[str, Any]]:
    from meshlite.model.names import ROOT_NAMESPACE

    server = server_of(settings)
    rows: list[dict[str, Any]] = server.get("/v1/resources", namespace=namespace)["resources"]
    return rows + [
        row for row in server.get("/v1/resources", namespace=ROOT_NAMESPACE)["resources"] if row not in rows
    ]
