"""An authority of one's own: what is taken, what is refused with which words, and what it signs."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from meshlite.server.authorities import open_book
from meshlite.server.imported import imported
from tests.server.conftest import FakeTime, Running, make_csr

NOW = 1_900_000_000.0
DAY = 86400.0
IDENTITY = "spiffe://cluster.local/ns/shop/sa/reviews"
AnyKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Made:
    """An authority as people have it."""

    certificate: x509.Certificate
    private: AnyKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def key(self) -> str:
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def made(
    name: str,
    by: Made | None = None,
    key: AnyKey | None = None,
    *,
    is_ca: bool = True,
    path_length: int | None = None,
    begin: float = NOW - DAY,
    end: float = NOW + 365 * DAY,
    signs: bool = True,
    constraints: x509.NameConstraints | None = None,
) -> Made:
    private = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(not signs, False, False, False, False, signs, signs, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime.fromtimestamp(begin, datetime.UTC))
        .not_valid_after(datetime.datetime.fromtimestamp(end, datetime.UTC))
        .add_extension(x509.BasicConstraints(is_ca, path_length if is_ca else None), critical=True)
        .add_extension(usage, critical=True)
    )
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    signer = by.private if by else private
    return Made(
        builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()),
        private,
    )


@pytest.fixture(scope="module")
def root() -> Made:
    return made("Company Root")


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())],
    ids=["rsa", "p384"],
)
def test_an_intermediate_signs_what_its_root_verifies(root: Made, key: AnyKey) -> None:
    middle = made("Division", root)
    own = made("Mesh", middle, key, path_length=0)
    authority = imported(own.pem, own.key, root.pem + middle.pem, DAY, NOW)
    assert authority.roots == root.pem
    leaf = authority.sign(make_csr(), IDENTITY, NOW)
    chain = x509.load_pem_x509_certificates(leaf.chain.encode())
    assert [one.subject for one in chain[1:]] == [own.certificate.subject, middle.certificate.subject]
    for below, above in zip(chain, (*chain[1:], root.certificate), strict=True):
        below.verify_directly_issued_by(above)
    assert authority.vouch(made("Another").certificate) is None, "its path length allows nothing below"


def test_a_chain_may_come_with_the_certificate(root: Made) -> None:
    own = made("Mesh", root)
    assert (
        imported(own.pem + root.pem, own.key, "", DAY, NOW).pin
        == imported(own.pem, own.key, root.pem, DAY, NOW).pin
    )


def test_a_leaf_ends_with_the_first_above_it(root: Made) -> None:
    own = made("Mesh", root, end=NOW + 3600)
    assert (
        imported(own.pem, own.key, root.pem, DAY, NOW).sign(make_csr(), IDENTITY, NOW).not_after == NOW + 3600
    )


Case = Callable[[Made], tuple[str, str, str]]


def files(own: Made, *chain: Made, key: Made | None = None) -> tuple[str, str, str]:
    return own.pem, (key or own).key, "".join(one.pem for one in chain)


BAD: dict[str, tuple[Case, str]] = {
    "another's key": (lambda root: files(root, key=made("x")), "the key is not that of the certificate"),
    "no authority": (lambda root: files(made("x", root, is_ca=False), root), "not that of an authority"),
    "expired": (lambda root: files(made("x", end=NOW - 1)), "CN=x expired on"),
    "not yet valid": (lambda root: files(made("x", begin=NOW + 60)), "not valid before"),
    "its root expired": (lambda root: _under(made("old", end=NOW - 1)), "CN=old expired"),
    "path length": (lambda root: _too_long(), "CN=short allows a path length of 0, and 2"),
    "may not sign": (lambda root: files(made("x", signs=False)), "may not sign certificates"),
    "no root": (
        lambda root: files(made("x", root)),
        "does not reach a root: the issuer of CN=x, CN=Company Root",
    ),
    "another's root": (lambda root: files(made("x", root), made("Company Root")), "does not reach a root"),
    "no PEM": (lambda root: ("garbage", root.key, ""), "the certificate is not PEM"),
    "no key": (lambda root: (root.pem, "garbage", ""), "the key is not a PEM private key"),
    "no chain": (lambda root: (root.pem, root.key, "garbage"), "the chain is not PEM"),
    "key in chain": (lambda root: (root.pem, root.key, root.pem + root.key), "the chain holds a private key"),
    "weak": (lambda root: files(made("x", key=rsa.generate_private_key(65537, 1024))), "1024 bits"),
    "curve": (lambda root: files(made("x", key=ec.generate_private_key(ec.SECP256K1()))), "curve secp256k1"),
    "ed25519": (
        lambda root: files(made("x", key=ed25519.Ed25519PrivateKey.generate())),
        "not an ECDSA or RSA key",
    ),
    "name constraints": (
        lambda root: files(made("x", constraints=x509.NameConstraints([x509.DNSName("a.b")], None))),
        "name constraints",
    ),
}


def _under(above: Made) -> tuple[str, str, str]:
    return files(made("x", above), above)


def _too_long() -> tuple[str, str, str]:
    short = made("short", path_length=0)
    middle = made("middle", short)
    return files(made("x", middle), middle, short)


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_sign_is_refused_with_the_reason(root: Made, name: str) -> None:
    case, reason = BAD[name]
    certificate, key, chain = case(root)
    with pytest.raises(ValueError, match=reason) as refused:
        imported(certificate, key, chain, DAY, NOW)
    assert "PRIVATE" not in str(refused.value)


def test_it_is_announced_and_signs_after_a_restart(tmp_path: Path, time: FakeTime, root: Made) -> None:
    own = made("Mesh", root)
    book = open_book(tmp_path, "cluster.local", DAY, time.clock)
    book.announce(imported(own.pem, own.key, root.pem, DAY, NOW))
    book = open_book(tmp_path, "cluster.local", DAY, time.clock)
    book.sign()
    book = open_book(tmp_path, "cluster.local", DAY, time.clock)
    chain = x509.load_pem_x509_certificates(book.current.sign(make_csr(), IDENTITY, NOW).chain.encode())
    chain[0].verify_directly_issued_by(own.certificate)
    assert chain[1] == own.certificate


async def test_over_the_api_it_is_refused_from_afar_and_while_a_rotation_is_under_way(
    server: Running,
) -> None:
    authority = made("Mine", begin=0, end=4e9)
    body = {"certificate": authority.pem, "key": authority.key}
    async with server.admin.post("/v1/access", json={"name": "ann", "role": "admin"}) as answer:
        token = (await answer.json())["token"]
    async with (
        aiohttp.ClientSession(server.url, headers={"Authorization": f"Bearer {token}"}) as session,
        session.post(
            "/v1/authorities/import",
            json=body,
            ssl=await server.trust(token),
            server_hostname="meshlite-server",
        ) as answer,
    ):
        assert answer.status == 403
    async with server.admin.post("/v1/authorities/import", json=body | {"key": made("x").key}) as answer:
        assert answer.status == 400
        assert "nothing was changed" in await answer.text()
    async with server.admin.post("/v1/authorities/import", json=body) as answer:
        assert answer.status == 200
        assert (await answer.json())["coming"]["subject"] == "CN=Mine"
    async with server.admin.post("/v1/authorities/import", json=body) as answer:
        assert answer.status == 409
    async with server.admin.get("/v1/audit") as answer:
        assert "PRIVATE" not in await answer.text()
