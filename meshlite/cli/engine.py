"""What `up`, `doctor` and the tour ask the container engine: is it there, and which containers run."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshlite.cli.client import Client

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
ONE_OFF_LABEL = "com.docker.compose.oneoff"


@dataclass(frozen=True)
class Container:
    """A running container. `project` and `service` are Compose's, empty for others."""

    id: str
    name: str
    project: str
    service: str
    image: str
    networks: tuple[str, ...]
    labels: dict[str, str]

    @property
    def short_id(self) -> str:
        return self.id[:12]


def engine_of(socket: Path) -> Client:
    return Client(socket, "the Docker engine", "start it, e.g. systemctl start docker; then try again")


def running(engine: Client, **filters: str) -> tuple[Container, ...]:
    """Running containers by name. `label="key=value"` and the like narrow it down, as in `docker ps`."""
    query = json.dumps({"status": ["running"], **{key: [value] for key, value in filters.items()}})
    rows = engine.get("/containers/json", filters=query)
    return tuple(sorted((_container(row) for row in rows), key=lambda container: container.name))


def meant(
    containers: Collection[Container], projects: Collection[str], everything: bool
) -> tuple[Container, ...]:
    """Those that belong into the mesh: not the ones that opted out, not `compose run` jobs."""
    return tuple(
        container
        for container in containers
        if (everything or container.project in projects or container.labels.get("meshlite.enable") == "true")
        and container.labels.get("meshlite.enable") != "false"
        and container.labels.get(ONE_OFF_LABEL, "").lower() != "true"
    )


def _container(row: dict[str, Any]) -> Container:
    labels = row.get("Labels") or {}
    return Container(
        id=row["Id"],
        name=(row.get("Names") or ["/" + row["Id"][:12]])[0].lstrip("/"),
        project=labels.get(PROJECT_LABEL, ""),
        service=labels.get(SERVICE_LABEL, ""),
        image=row.get("Image", ""),
        networks=tuple((row.get("NetworkSettings") or {}).get("Networks") or ()),
        labels=labels,
    )
