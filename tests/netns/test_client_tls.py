"""TLS that the proxy originates for what a DestinationRule says, to servers that end it themselves."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest

from meshlite.agent.capture import Capture, Mode
from meshlite.config import Settings
from tests.certificates import Authority, Pair, authority
from tests.netns.mesh import Mesh, Server, proxied, running, send
from tests.netns.world import Box

SECURE = 7443
NAME = "web.example.com"


def roots(of: Authority) -> dict[str, Any]:
    return {"validation_context": {"trusted_ca": {"inline_string": of.certificate}}}


def certificate(of: Pair) -> dict[str, Any]:
    parts = {"certificate_chain": of.certificate, "private_key": of.key}
    return {"tls_certificate": {name: {"inline_string": text} for name, text in parts.items()}}


@pytest.fixture(scope="module")
def trusted() -> Authority:
    return authority("trusted")


@pytest.fixture
async def mesh(settings: Settings, capture: Capture, app: Box, trusted: Authority) -> AsyncIterator[Mesh]:
    """A caller, and a server of HTTPS on a port that the mesh takes for HTTP. It knows its clients."""
    item = await capture.attach(app.found)
    await capture.set_mode(item.key, Mode())
    workload = app.found.workload.model_copy(update={"namespace": "shop", "ports": ()})
    made = Mesh(settings.paths.run, [(app, item, workload)])
    made.servers = [Server("web", "127.0.1.1", {"ports": [f"http:{SECURE}"]})]
    made.secrets = {
        "file-root:/right.pem": roots(trusted),
        "file-root:/wrong.pem": roots(authority("another")),
        "kubernetes://shop/client": certificate(trusted.leaf("client.example.com")),
        "kubernetes://shop/client-cacert": roots(trusted),
    }
    pair = trusted.leaf(NAME)
    files = [settings.paths.run / name for name in ("server.pem", "server.key", "roots.pem")]
    for file, text in zip(files, (pair.certificate, pair.key, trusted.certificate), strict=True):
        file.write_text(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[0], files[1])
    context.load_verify_locations(files[2])
    context.verify_mode = ssl.CERT_OPTIONAL
    async with running(made.servers, context), proxied(made):
        yield made


async def asked(mesh: Mesh, app: Box, tls: str, host: str = NAME) -> int:
    """The status of a request while the rule says so."""
    await mesh.push(f"kind: DestinationRule\nspec: {{host: web, trafficPolicy: {{tls: {tls}}}}}")
    assert mesh.problems == []
    return (await send(app, mesh.address("web"), SECURE, host=host)).status


@pytest.mark.parametrize(
    ("tls", "status"),
    [
        ("{mode: DISABLE}", 503),
        ("{mode: SIMPLE, insecureSkipVerify: true}", 200),
        ("{mode: SIMPLE, caCertificates: /right.pem}", 200),
        ("{mode: SIMPLE, caCertificates: /wrong.pem}", 503),
        (f"{{mode: SIMPLE, caCertificates: /right.pem, subjectAltNames: [{NAME}]}}", 200),
        ("{mode: SIMPLE, caCertificates: /right.pem, subjectAltNames: [other.example.com]}", 503),
        ("{mode: SIMPLE, caCertificates: /right.pem, sni: given.example.com}", 200),
    ],
)
async def test_who_is_believed(mesh: Mesh, app: Box, tls: str, status: int) -> None:
    assert await asked(mesh, app, tls) == status


async def test_the_hosts_name_must_stand_in_the_certificate(mesh: Mesh, app: Box) -> None:
    """As in Istio, where the rule names neither a server name nor names to be found."""
    simple = "{mode: SIMPLE, caCertificates: /right.pem}"
    assert await asked(mesh, app, simple, host="other.example.com") == 503
    assert await asked(mesh, app, simple) == 200


async def test_the_client_shows_its_certificate(mesh: Mesh, app: Box) -> None:
    assert await asked(mesh, app, "{mode: SIMPLE, caCertificates: /right.pem}") == 200
    assert mesh.servers[0].subjects == [""]
    assert await asked(mesh, app, "{mode: MUTUAL, credentialName: client}") == 200
    assert mesh.servers[0].subjects[-1] == "client.example.com"


async def test_gateway_apis_policy_for_tls_to_a_backend(mesh: Mesh, app: Box) -> None:
    policy = """
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{name: web}}
spec:
  targetRefs: [{{group: "", kind: Service, name: web}}]
  validation:
    hostname: {hostname}
    caCertificateRefs: [{{group: "", kind: ConfigMap, name: client}}]
"""
    for hostname, status in ((NAME, 200), ("other.example.com", 503)):
        await mesh.push(policy.format(hostname=hostname))
        assert mesh.problems == []
        assert (await send(app, mesh.address("web"), SECURE, host=NAME)).status == status
