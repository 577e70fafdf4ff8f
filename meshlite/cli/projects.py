"""Which Compose projects this node puts into the mesh: what is noted, joins, and stays when some leave."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import click

from meshlite.cli.failure import Failure, Unreachable
from meshlite.cli.settings import agent_of, server_of
from meshlite.config import Settings

LEFT_FILE = "left"
"""In the state folder: all projects left, and the server could not be told."""

project_option = click.option(
    "-p",
    "--project",
    "projects",
    multiple=True,
    help="Compose project; may be repeated [default: the one of the current folder].",
)


def folder_project() -> str:
    """The project of the current folder; empty if there is none."""
    from meshlite.cli.compose import find

    try:
        project = find(Path.cwd(), os.environ)
    except ValueError as error:
        why = str(error)
        raise Failure(
            "the project of this folder is not clear", why=why, next_step="name it: -p PROJECT"
        ) from error
    return project.name if project else ""


def current_project() -> str:
    """The project of the current folder; Failure if there is none."""
    if name := folder_project():
        return name
    raise Failure(
        "which project is meant is not clear",
        where=str(Path.cwd()),
        why="no Compose file in this folder or above it",
        next_step="go to the folder of the Compose file, or name the project: -p PROJECT, or --all",
    )


def record(settings: Settings) -> dict[str, Any]:
    """What the server has noted of this node, its projects among it; empty for a node it does not know."""
    rows = server_of(settings).get("/v1/nodes")["nodes"]
    return next((dict(row["record"]) for row in rows if row["record"]["name"] == settings.node), {})


def join(settings: Settings, projects: Collection[str], everything: bool) -> str:
    """Add projects to this node's, or all there are; says which the node has now."""
    left = settings.paths.state / LEFT_FILE
    noted = {} if left.exists() else record(settings)
    names = sorted({*noted.get("projects", []), *projects})
    everything = everything or bool(noted.get("everything"))
    put(settings, names, everything)
    left.unlink(missing_ok=True)
    return "all" if everything else ", ".join(names)


def leave_all(settings: Settings) -> None:
    """Note that no project is in the mesh; with the server dead, for the next `join`."""
    try:
        put(settings, (), everything=False)
    except Failure:
        if settings.paths.state.is_dir():
            (settings.paths.state / LEFT_FILE).touch(mode=0o600)


def put(settings: Settings, projects: Sequence[str], everything: bool) -> None:
    """Note that exactly these projects are in the mesh."""
    body = {"projects": list(projects), "everything": everything}
    server_of(settings).call("PUT", f"/v1/nodes/{settings.node}/projects", body)


def remaining(settings: Settings, leaving: Collection[str]) -> tuple[str, ...]:
    """What stays in the mesh when `leaving` (default: the current folder's project) leave.

    Raises Failure where that would take out something nobody named.
    """
    noted = _noted(settings)
    meshed = set(noted.get("projects", []))
    if noted.get("everything"):
        return _remaining_of_all(leaving)
    if not meshed:
        return ()
    here = set(leaving) or {folder_project()} - {""}
    if not here and len(meshed) == 1:
        return ()
    if not here or not here <= meshed:
        raise Failure(
            f"{', '.join(sorted(here)) or 'the project of this folder'} is not in the mesh",
            why=f"this host has: {', '.join(sorted(meshed))}",
            next_step="name one of these with -p, or --all",
        )
    return tuple(sorted(meshed - here))


def foreign(settings: Settings, leaving: Collection[str]) -> bool:
    """Whether others are in the mesh and none of `leaving` (default: the current folder's) is by itself."""
    noted = _noted(settings)
    if noted.get("everything"):
        return bool(leaving)
    meshed = set(noted.get("projects", []))
    return bool(meshed) and meshed.isdisjoint(set(leaving) or {folder_project()})


def _remaining_of_all(leaving: Collection[str]) -> tuple[str, ...]:
    if not leaving:
        return ()
    raise Failure(
        "one project cannot leave alone",
        why="all containers of this host are in the mesh (up --all)",
        next_step="meshlite down --all; or label what shall stay out with meshlite.enable=false",
    )


def _noted(settings: Settings) -> dict[str, Any]:
    """With the server dead, the agent remembers; with both dead, nobody does."""
    try:
        return record(settings)
    except Unreachable:
        pass
    try:
        status: dict[str, Any] = agent_of(settings).get("/v1/status")
    except Unreachable:
        return {}
    return {key: status[key] for key in ("projects", "everything")}
