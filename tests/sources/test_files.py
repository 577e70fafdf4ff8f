"""Workloads from YAML files: read again when they change, and a bad one is said with file and field."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from meshlite.sources.files import FilesSource, read

GOOD = """
service: reviews
namespace: shop
version: v1
ports: http:9080,mysql:3306
addresses: [10.0.0.7]
---
service: ratings
pid: {pid}
"""


def test_documents_become_workloads(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD.format(pid=os.getpid()))
    found, complaints = read(tmp_path, "node-1")
    assert complaints == ()
    reviews, ratings = found
    assert (reviews.workload.service, reviews.workload.id, reviews.namespace) == (
        "reviews",
        "a-1-static",
        None,
    )
    assert [(port.number, port.protocol) for port in reviews.workload.ports] == [
        (9080, "http"),
        (3306, "mysql"),
    ]
    assert ratings.namespace is not None
    assert ratings.workload.id.startswith("a-2-")
    assert not ratings.workload.id.endswith("static")


def test_a_bad_document_is_said_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "service: Bad Name\n---\nservice: good\n---\nservice: x\nportz: http:1\n"
    )
    (tmp_path / "b.yaml").write_text("service: [")
    (tmp_path / "c.yaml").write_text("service: y\nports: htp:80\n")
    found, complaints = read(tmp_path, "node-1")
    assert [item.workload.service for item in found] == ["good"]
    told = "\n".join(complaints)
    for part in (
        "a.yaml, document 1: service",
        "a.yaml, document 3: portz",
        "b.yaml",
        "c.yaml, document 1",
        "htp:80",
    ):
        assert part in told


async def test_a_change_is_seen(tmp_path: Path) -> None:
    source = FilesSource(tmp_path, "node-1", interval=0.01)
    seen = source.watch()
    assert await anext(seen) == ()
    (tmp_path / "a.yaml").write_text("service: reviews\n")
    found = await asyncio.wait_for(anext(seen), 60)
    assert [item.workload.service for item in found] == ["reviews"]
