"""Runs the two sidecars in the namespaces of a client and a server container, and ends them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bench import namespace, sidecars
from bench.compose import HTTP, Container
from bench.machine import envoy
from bench.mesh import wait
from meshlite.agent.launch import reachable


@contextmanager
def sidecar_pair(client: Container, server: Container, rbac: bool) -> Iterator[tuple[int, int]]:
    """Process ids of both Envoys, once a request has passed them."""
    with TemporaryDirectory(prefix="meshlite-bench-sidecars-") as made, ExitStack() as running:
        folder = Path(made)
        issue(folder)
        (folder / "c.json").write_text(json.dumps(sidecars.client(server.address, folder)))
        (folder / "s.json").write_text(json.dumps(sidecars.server(folder, rbac)))
        for file in (folder, *folder.iterdir()):
            os.chown(file, sidecars.UID, sidecars.UID)
        pids = (
            running.enter_context(_envoy(client.pid, folder / "c.json")),
            running.enter_context(_envoy(server.pid, folder / "s.json")),
        )
        namespace.run(client.pid, ["nft", "-f", "-"], sidecars.rules(inbound=False))
        namespace.run(server.pid, ["nft", "-f", "-"], sidecars.rules(inbound=True))
        wait(lambda: _answers(client.pid, server.address), "a request through both sidecars")
        yield pids


@contextmanager
def _envoy(pid: int, config: Path) -> Iterator[int]:
    """One worker, since one is what the node proxy has in this comparison. It must not loop: own user."""
    user = ("--reuid", str(sidecars.UID), "--regid", str(sidecars.UID), "--clear-groups")
    options = ("--concurrency", "1", "--disable-hot-restart", "-l", "error", "-c", str(config))
    binary = reachable(str(envoy()))
    command = [*namespace.entering(pid), "setpriv", *user, binary, *options]
    with config.with_suffix(".log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, close_fds=False)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


def _answers(pid: int, address: str) -> bool:
    try:
        with namespace.connect(pid, address, HTTP) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: server\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def issue(folder: Path) -> None:
    """A root, and a certificate with its key for each side, as Istio's: ECDSA P-256, a SPIFFE id."""
    root_key = ec.generate_private_key(ec.SECP256R1())
    root_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench")])
    root = (
        _certificate(root_key, root_name, root_name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    (folder / "roots.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    for name, identity in (("client", sidecars.CLIENT_IDENTITY), ("server", sidecars.SERVER_IDENTITY)):
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = (
            _certificate(key, x509.Name([]), root_name)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), critical=True
            )
            .sign(root_key, hashes.SHA256())
        )
        (folder / f"{name}.pem").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


def _certificate(
    key: ec.EllipticCurvePrivateKey, subject: x509.Name, issuer: x509.Name
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
    )
