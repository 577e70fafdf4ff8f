"""Certificates of workloads: got, renewed in time, kept when renewal fails, never shown."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from meshlite.agent import certs, keys
from meshlite.agent.certs import ROOTS, Certificates
from meshlite.agent.keys import Key
from meshlite.model.wire import Certificate
from meshlite.translate.envoy import schema
from meshlite.translate.plan.secret import calling
from tests.agent.envoys import until

REVIEWS = "spiffe://cluster.local/ns/shop/sa/reviews"


class Signer:
    """A server that signs, or does not."""

    def __init__(self, seconds: float = 3600.0) -> None:
        self.seconds = seconds
        self.away = False
        self.calls = 0

    async def __call__(self, identity: str, csr: str) -> Certificate:
        self.calls += 1
        if self.away:
            raise ConnectionError("nobody there")
        now = time.time()
        return Certificate(
            chain=f"chain {self.calls}",
            roots="roots",
            not_before=now,
            not_after=now + self.seconds,
            identity=identity,
        )


async def forged(count: int) -> list[Key]:
    return [Key(pem=f"key {number}", csr="csr") for number in range(count)]


@asynccontextmanager
async def running(signer: Signer) -> AsyncIterator[Certificates]:
    certificates = Certificates(signer, forged)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(certificates.run())
        try:
            yield certificates
        finally:
            task.cancel()


@given(st.floats(0, 2e9), st.floats(1, 1e8), st.floats(0, 1))
def test_renewal_is_around_half_of_the_life(begin: float, life: float, jitter: float) -> None:
    due = certs.refresh_at(begin, begin + life, jitter)
    assert begin + 0.44 * life <= due <= begin + 0.56 * life


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates are renewed a moment after they were made."""
    monkeypatch.setattr(certs, "refresh_at", lambda begin, end, jitter: begin + 0.05)


async def test_each_wanted_identity_gets_a_certificate_and_others_are_forgotten() -> None:
    async with running(Signer()) as certificates:
        certificates.want(frozenset({REVIEWS, REVIEWS + "2"}))
        await until(lambda: all(held.certificate for held in certificates.held.value.values()))
        assert set(certs.secrets(certificates.held.value)) == {
            REVIEWS,
            REVIEWS + "2",
            calling(REVIEWS),
            calling(REVIEWS + "2"),
            ROOTS,
        }
        certificates.want(frozenset({REVIEWS}))
        assert set(certs.secrets(certificates.held.value)) == {REVIEWS, calling(REVIEWS), ROOTS}


async def test_it_is_renewed_before_it_ends(soon: None) -> None:
    signer = Signer()
    async with running(signer) as certificates:
        certificates.want(frozenset({REVIEWS}))
        await until(lambda: signer.calls >= 4)


async def test_a_failed_renewal_keeps_the_valid_certificate_and_says_why(
    soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certs, "RETRY_SECONDS", (0.01, 0.05))
    signer = Signer()
    async with running(signer) as certificates:
        certificates.want(frozenset({REVIEWS}))
        await until(lambda: certificates.held.value[REVIEWS].certificate is not None)
        signer.away = True
        await until(lambda: bool(certificates.held.value[REVIEWS].error))
        held = certificates.held.value[REVIEWS]
        assert held.certificate is not None
        assert "nobody there" in held.error
        signer.away = False
        await until(lambda: not certificates.held.value[REVIEWS].error)


async def test_keys_do_not_show_themselves() -> None:
    (key,) = await keys.make(1)
    assert "PRIVATE" in key.pem
    assert "PRIVATE" not in repr(key) + str(key)


async def test_keys_and_requests_are_what_the_server_takes() -> None:
    made = await keys.make(2)
    assert made[0].pem != made[1].pem
    for key in made:
        private = load_pem_private_key(key.pem.encode(), None)
        request = x509.load_pem_x509_csr(key.csr.encode())
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        assert isinstance(private.curve, ec.SECP256R1)
        assert request.is_signature_valid
        assert request.public_key() == private.public_key()
        assert list(request.subject) == []


def self_signed(number: int) -> str:
    """A certificate as any library makes it."""
    import datetime

    from cryptography.hazmat.primitives import hashes, serialization

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), number, now, now + datetime.timedelta(1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize("number", [1, 0x7F, 0x80, 0xFF00FF00FF, 2**158 + 12345])
def test_the_serial_number_is_read_off_the_certificate(number: int) -> None:
    assert keys.serial(self_signed(number) + self_signed(7)) == f"{number:x}"


def test_only_the_pinned_root_is_taken() -> None:
    good, other = self_signed(1), self_signed(2)
    digest = x509.load_pem_x509_certificate(good.encode()).fingerprint(_sha256()).hex()
    assert keys.pinned(other + good, digest).strip() == good.strip()
    assert keys.pinned(other, digest) == ""
    assert ssl.create_default_context(cadata=keys.pinned(other + good, digest))


def _sha256():  # type: ignore[no-untyped-def]
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


async def test_secrets_are_named_by_identity_and_hold_chain_key_and_roots() -> None:
    async with running(Signer()) as certificates:
        certificates.want(frozenset({REVIEWS}))
        await until(lambda: certificates.held.value[REVIEWS].certificate is not None)
        made = certs.secrets(certificates.held.value)
    own = schema.decode(schema.SECRET, made[REVIEWS].body)
    assert own["name"] == REVIEWS
    assert own["tls_certificate"]["certificate_chain"] == {"inline_string": "chain 1"}
    assert own["tls_certificate"]["private_key"] == {"inline_string": "key 0"}
    roots = schema.decode(schema.SECRET, made[ROOTS].body)
    assert roots["validation_context"]["trusted_ca"] == {"inline_string": "roots"}
