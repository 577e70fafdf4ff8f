"""Workloads from YAML files in a folder: for a host without an engine, for trials, for tests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from meshlite.model.locality import PATTERN
from meshlite.model.workload import Found, Health, Workload
from meshlite.sources.ports import from_label
from meshlite.sources.process import namespace, started

log = logging.getLogger(__name__)


class Entry(BaseModel):
    """One YAML document. Where it names a process or a namespace file, that namespace can be captured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    service: str = Field(pattern=r"^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$")
    namespace: str = Field(default="default", pattern=r"^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$")
    name: str = ""
    version: str = ""
    service_account: str = ""
    labels: dict[str, str] = {}
    ports: str = Field(default="", description="as the label meshlite.ports: http:9080,tcp:3306")
    aliases: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    locality: str = Field(default="", pattern=PATTERN)
    export_to: tuple[str, ...] = ()
    health: Health = "healthy"
    pid: int = 0
    hosts_file: str = ""


class FilesSource:
    """Every `*.yaml` in `folder`, read again when it changes. A bad document is reported and left out."""

    name = "files"

    def __init__(self, folder: Path, node: str, interval: float = 1.0) -> None:
        self._folder = folder
        self._node = node
        self._interval = interval

    async def watch(self) -> AsyncIterator[tuple[Found, ...]]:
        """See `Source.watch`."""
        last: tuple[Found, ...] | None = None
        complained: tuple[str, ...] = ()
        while True:
            found, complaints = read(self._folder, self._node)
            if complaints != complained:
                for complaint in complaints:
                    log.error("left out: %s", complaint)
            if found != last:
                yield found
            last, complained = found, complaints
            await asyncio.sleep(self._interval)


def read(folder: Path, node: str) -> tuple[tuple[Found, ...], tuple[str, ...]]:
    """All workloads in `folder`, and a sentence (with file and field) for each document that is not one."""
    found: list[Found] = []
    complaints: list[str] = []
    for file in sorted(folder.glob("*.yaml")):
        try:
            documents = [item for item in yaml.safe_load_all(file.read_text()) if item is not None]
        except (OSError, yaml.YAMLError) as error:
            complaints.append(f"{file}: {error}")
            continue
        for number, document in enumerate(documents, 1):
            try:
                found.append(_found(Entry.model_validate(document), node, f"{file.stem}-{number}"))
            except (ValidationError, ValueError) as error:
                complaints.extend(f"{file}, document {number}: {reason}" for reason in _reasons(error))
    return tuple(found), tuple(complaints)


def _found(entry: Entry, node: str, fallback: str) -> Found:
    ports, complaints = from_label(entry.ports)
    if complaints:
        raise ValueError("; ".join(complaints))
    captured = namespace(entry.pid) if entry.pid else None
    name = entry.name or fallback
    workload = Workload(
        id=f"{name}-{started(entry.pid) or 'static'}",
        node=node,
        name=name,
        source="files",
        ports=tuple(ports),
        **entry.model_dump(exclude={"name", "ports", "pid", "hosts_file"}),
    )
    return Found(workload=workload, namespace=captured, hosts_file=entry.hosts_file, enable=True)


def _reasons(error: ValueError) -> Iterator[str]:
    if not isinstance(error, ValidationError):
        yield str(error)
        return
    for detail in error.errors():
        yield f"{'.'.join(str(part) for part in detail['loc']) or 'document'}: {detail['msg']}"
