"""Modules in images: a small registry gives them, also for a login; what is not meant is not taken."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from meshlite.agent.modules import Modules
from meshlite.model.image import Image
from meshlite.translate.node import Module, ModuleState
from tests.agent.test_modules import states
from tests.wasm import MODULE

WASM = "application/vnd.module.wasm.content.layer.v1+wasm"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LOGIN = base64.b64encode(b"user:secret").decode()


def digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


@dataclass
class Registry:
    """`login`: what it wants to hear: nothing, a login itself, or a token that is had for one."""

    login: str = ""
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def push(self, tag: str, *layers: tuple[str, bytes], index: bool = False) -> str:
        """Its digest."""
        rows = []
        for kind, body in layers:
            self.blobs[digest(body)] = body
            rows.append({"mediaType": kind, "digest": digest(body), "size": len(body)})
        found = self._keep(MANIFEST, {"schemaVersion": 2, "mediaType": MANIFEST, "layers": rows})
        if index:
            rows = [{"digest": "sha256:00", "platform": {"architecture": "amd64"}}]
            rows.append({"digest": found, "platform": {"architecture": "wasm"}})
            found = self._keep(INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": rows})
        self.manifests[tag] = self.manifests[found]
        return found

    def _keep(self, kind: str, value: dict[str, Any]) -> str:
        body = json.dumps(value).encode()
        self.manifests[digest(body)] = body
        return digest(body)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if request.path == "/token":
            known = request.headers.get("authorization") == f"Basic {LOGIN}"
            return web.json_response({"token": "good" if known else "anonymous"})
        wanted = {"basic": f"Basic {LOGIN}", "token": "Bearer good"}.get(self.login)
        if wanted and request.headers.get("authorization") != wanted:
            realm = f'Bearer realm="http://{self.address}/token",service="test",scope="pull"'
            challenge = realm if self.login == "token" else 'Basic realm="test"'
            return web.Response(status=401, headers={"www-authenticate": challenge})
        kind, name = request.match_info["kind"], request.match_info["name"]
        body = (self.manifests if kind == "manifests" else self.blobs).get(name)
        return web.Response(body=body) if body is not None else web.Response(status=404)


@asynccontextmanager
async def registry(login: str = "") -> AsyncIterator[Registry]:
    made = Registry(login)
    app = web.Application()
    app.router.add_get("/token", made.answer)
    app.router.add_get("/v2/team/filter/{kind:manifests|blobs}/{name}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        host, port = runner.addresses[0][:2]
        made.address = f"{host}:{port}"
        yield made
    finally:
        await runner.cleanup()


def archive(**files: bytes) -> bytes:
    """A layer with these files; `plugin` is plugin.wasm."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, body in files.items():
            member = tarfile.TarInfo(f"./{name}.wasm")
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return gzip.compress(packed.getvalue())


def body(state: ModuleState) -> bytes:
    return Path(state.path).read_bytes()


def secret(folder: Path, registry: Registry) -> Path:
    home = folder / "credentials/shop/pull"
    home.mkdir(parents=True)
    (home / ".dockerconfigjson").write_text(json.dumps({"auths": {registry.address: {"auth": LOGIN}}}))
    return folder / "credentials"


@pytest.mark.parametrize(
    ("url", "registry", "repository", "reference"),
    [
        ("oci://registry.local/a/b:1", "registry.local", "a/b", "1"),
        ("localhost:5000/a", "localhost:5000", "a", "latest"),
        ("filter", "docker.io", "library/filter", "latest"),
        ("oci://team/filter@sha256:ab", "docker.io", "team/filter", "sha256:ab"),
        ("oci://127.0.0.1:5000/a:2@sha256:ab", "127.0.0.1:5000", "a", "sha256:ab"),
    ],
)
def test_names_are_read_as_docker_reads_them(
    url: str, registry: str, repository: str, reference: str
) -> None:
    assert Image.of(url) == Image(registry, repository, reference)


async def test_artifacts_images_and_indexes(tmp_path: Path) -> None:
    """The module as it is, in the last layer of an image, and behind an index of machines."""
    async with registry() as made:
        made.push("artifact", ("application/json", b"{}"), (WASM, MODULE))
        made.push("image", (LAYER, archive(plugin=b"older")), (LAYER, archive(other=b"x", plugin=MODULE)))
        pinned = made.push("index", (WASM, MODULE), index=True)
        base = f"oci://{made.address}/team/filter"
        urls = (f"{base}:artifact", f"{base}:image", f"{base}:index", f"{base}@{pinned}")
        found = await states(tmp_path, *map(Module, urls))
        [checked] = await states(tmp_path, Module(f"{base}:index", pinned.removeprefix("sha256:")))
    assert list(map(body, found)) == [MODULE] * 4
    assert body(checked) == MODULE


async def test_an_image_that_is_pinned_needs_no_registry_again(tmp_path: Path) -> None:
    async with registry() as made:
        pinned = made.push("1", (WASM, MODULE)).removeprefix("sha256:")
        module = Module(f"oci://{made.address}/team/filter:1", pinned)
        await states(tmp_path, module)
    [again] = await states(tmp_path, module)
    assert body(again) == MODULE


async def test_what_is_not_meant_is_not_taken(tmp_path: Path) -> None:
    async with registry() as made:
        pinned = made.push("1", (WASM, MODULE))
        made.push("page", (WASM, b"<html>"))
        made.push("bare", (LAYER, archive(other=b"x")))
        made.push("broken", (LAYER, b"\x1f\x8bnothing"))
        made.push("forged", (WASM, b"\0asm"))
        made.blobs[digest(b"\0asm")] = MODULE
        base = f"oci://{made.address}/team/filter"
        found = await states(
            tmp_path,
            Module(f"{base}:1", "0" * 64),
            Module(f"{base}@{pinned}", "0" * 64),
            *(Module(f"{base}:{tag}") for tag in ("page", "bare", "broken", "forged", "absent")),
        )
    wanted = ("sha256 is", "says another", "not a Web", "no plugin.wasm", "unpacked", "something else", "404")
    assert [one.path for one in found] == [""] * 7
    for state, part in zip(found, wanted, strict=True):
        assert part in state.error


@pytest.mark.parametrize("login", ["basic", "token"])
async def test_a_login_is_said_to_the_registry_that_it_is_for(tmp_path: Path, login: str) -> None:
    async with registry(login) as made:
        made.push("1", (WASM, MODULE))
        url = f"oci://{made.address}/team/filter:1"
        modules = Modules(tmp_path / "kept", secret(tmp_path, made))
        [with_it] = await states(tmp_path, Module(url, secret="shop/pull"), of=modules)
        assert body(with_it) == MODULE
        [without] = await states(tmp_path, Module(url), of=Modules(tmp_path / "kept", tmp_path))
        [absent] = await states(
            tmp_path, Module(url, secret="shop/x"), of=Modules(tmp_path / "kept", tmp_path)
        )
    assert "login" in without.error or "401" in without.error
    assert "there is no .dockerconfigjson" in absent.error
