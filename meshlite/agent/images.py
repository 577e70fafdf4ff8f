"""WebAssembly modules in images: of what the manifest in a registry lists, the layer that holds the module.

Sources: https://github.com/opencontainers/distribution-spec/blob/main/spec.md and
https://istio.io/latest/docs/reference/config/proxy_extensions/wasm-plugin/
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import gzip
import hashlib
import io
import ipaddress
import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp

from meshlite.model.image import DOCKER, Image

LARGEST = 64 * 2**20
"""Of a layer, as it comes and unpacked."""

LARGEST_MANIFEST = 2**22
HUB, HUB_LOGIN = "registry-1.docker.io", "https://index.docker.io/v1/"
"""The host of the registry of images that name none, and what logins call it."""

LOGINS = (".dockerconfigjson", "config.json")
"""The file of a pull secret, as in Kubernetes; the second name is that of Docker's own."""

PLUGIN = "plugin.wasm"
"""The file in the last layer of an image that was built like others."""

_MODULES = ("application/vnd.module.wasm.content.layer.v1+wasm", "application/wasm")
_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    *_INDEXES,
)
_PART = re.compile(r'(\w+)="([^"]*)"')
_UNPACKING = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError)


def _base(image: Image) -> str:
    """Registries of this very host need no TLS."""
    host = HUB if image.registry == DOCKER else image.registry
    return f"{'http' if _loopback(host) else 'https'}://{host}/v2/{image.repository}"


def _loopback(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


async def fetched(session: aiohttp.ClientSession, url: str, sha256: str, secret: Path | None) -> bytes:
    """The module in an image. `sha256`: of the image; `secret`: the folder with the login to its registry.

    Raises ValueError for what is not what was meant, ClientError and OSError for what cannot be had.
    """
    image = Image.of(url)
    registry = _Registry(session, image, await asyncio.to_thread(_login, image, secret) if secret else "")
    wanted = {f"sha256:{sha256}"} if sha256 else set()
    wanted |= {image.reference} if image.digest else set()
    if len(wanted) > 1:
        raise ValueError(f"the image is {image.reference}, and sha256 says another one")
    body = await registry.get(f"manifests/{image.reference}", LARGEST_MANIFEST)
    found = {_digest(body)}
    manifest = _json(body)
    if manifest.get("mediaType") in _INDEXES or "manifests" in manifest:
        body = await registry.blob(_chosen(manifest), LARGEST_MANIFEST, "manifests")
        found.add(_digest(body))
        manifest = _json(body)
    if not wanted <= found:
        raise ValueError(f"the image's sha256 is {_digest(body).removeprefix('sha256:')}, not {sha256}")
    layer = _layer(manifest)
    packed = await registry.blob(str(layer.get("digest", "")), LARGEST)
    return packed if layer.get("mediaType") in _MODULES else await asyncio.to_thread(_unpacked, packed)


@dataclass
class _Registry:
    """One image's repository. `login`: `user:password` in base64; empty: none."""

    session: aiohttp.ClientSession
    image: Image
    login: str
    _headers: dict[str, str] = field(default_factory=lambda: {"accept": ", ".join(_MANIFESTS)})

    async def blob(self, digest: str, most: int, kind: str = "blobs") -> bytes:
        body = await self.get(f"{kind}/{digest}", most)
        if _digest(body) != digest:
            raise ValueError(f"what the registry gives for {digest} is something else")
        return body

    async def get(self, path: str, most: int, again: bool = True) -> bytes:
        async with self.session.get(f"{_base(self.image)}/{path}", headers=self._headers) as answer:
            challenge = answer.headers.get("www-authenticate", "")
            if answer.status != 401 or not again or not challenge:
                return await _body(answer, most)
        self._headers["authorization"] = await self._authorized(challenge)
        return await self.get(path, most, again=False)

    async def _authorized(self, challenge: str) -> str:
        """What to say to a registry that asks who comes: a login, or a token that is had for one."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic" and self.login:
            return f"Basic {self.login}"
        asked = dict(_PART.findall(rest))
        realm = asked.pop("realm", "")
        parts = urlsplit(realm)
        safe = parts.scheme == "https" or (parts.scheme == "http" and _loopback(parts.netloc))
        if scheme.lower() != "bearer" or not safe:
            raise ValueError("the registry wants a login: name one by imagePullSecret")
        headers = {"authorization": f"Basic {self.login}"} if self.login else {}
        query = urlencode({name: text for name, text in asked.items() if name in ("service", "scope")})
        async with self.session.get(f"{realm}?{query}", headers=headers) as answer:
            given = _json(await _body(answer, LARGEST_MANIFEST))
        return f"Bearer {given.get('token') or given.get('access_token') or ''}"


async def _body(answer: aiohttp.ClientResponse, most: int) -> bytes:
    if answer.status != 200:
        raise ValueError(f"the registry answers {answer.status}")
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > most:
            raise ValueError(f"it is larger than {most // 2**20} MiB")
    return bytes(body)


def _digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def _json(body: bytes) -> dict[str, Any]:
    found = json.loads(body)
    if not isinstance(found, dict):
        raise ValueError("the registry answers something that is no manifest")
    return found


def _chosen(index: dict[str, Any]) -> str:
    """Modules are the same for all machines: the one that says so, or any."""
    found = [one for one in index.get("manifests") or () if isinstance(one, dict)]
    if not found:
        raise ValueError("the image has no manifest")
    wasm = (one for one in found if (one.get("platform") or {}).get("architecture") in ("wasm", "wasm32"))
    return str(next(wasm, found[0]).get("digest", ""))


def _layer(manifest: dict[str, Any]) -> dict[str, Any]:
    """The module itself, else the last layer, which has it as a file."""
    found = [one for one in manifest.get("layers") or () if isinstance(one, dict)]
    if not found:
        raise ValueError("the image has no layers")
    return next((one for one in found if one.get("mediaType") in _MODULES), found[-1])


def _unpacked(packed: bytes) -> bytes:
    try:
        plain = packed
        if packed.startswith(b"\x1f\x8b"):
            with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
                plain = file.read(LARGEST + 1)
        if len(plain) > LARGEST:
            raise ValueError(f"its layer is larger than {LARGEST // 2**20} MiB")
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
            for member in archive:
                if member.isfile() and member.name.removeprefix("./").lstrip("/") == PLUGIN:
                    content = archive.extractfile(member)
                    return content.read() if content is not None else b""
    except _UNPACKING as error:
        raise ValueError(f"its layer cannot be unpacked: {error}") from None
    raise ValueError(f"its last layer has no {PLUGIN}")


def _login(image: Image, secret: Path) -> str:
    """`user:password` in base64, of the secret's file; empty: it has none for this registry."""
    path = next((secret / name for name in LOGINS if (secret / name).is_file()), None)
    if path is None:
        raise ValueError(f"there is no {LOGINS[0]} in {secret}")
    try:
        auths = _json(path.read_bytes()).get("auths") or {}
        for name in _names(image):
            if entry := auths.get(name):
                pair = f"{entry.get('username', '')}:{entry.get('password', '')}"
                given = entry.get("auth") or base64.b64encode(pair.encode()).decode()
                base64.b64decode(given, validate=True)
                return str(given)
    except (ValueError, AttributeError, TypeError, binascii.Error):
        raise ValueError(f"{path} is no login to registries, as docker login writes it") from None
    return ""


def _names(image: Image) -> Iterator[str]:
    if image.registry == DOCKER:
        yield from (HUB_LOGIN, HUB)
    yield from (image.registry, f"https://{image.registry}", f"http://{image.registry}")
