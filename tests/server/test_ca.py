"""What the authority signs, and what it refuses to sign."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store

from meshlite.server import ca

NOW = 1_900_000_000.0
IDENTITY = "spiffe://cluster.local/ns/shop/sa/reviews"


@pytest.fixture(scope="module")
def authority() -> ca.CertificateAuthority:
    return ca.create("cluster.local", 86400.0, NOW)


def csr(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, *uris: str, name: str = "") -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if uris:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def test_a_leaf_has_the_identity_the_key_and_the_times(authority: ca.CertificateAuthority) -> None:
    key = ca.new_key()
    leaf = authority.sign(csr(key), IDENTITY, NOW)
    certificate = x509.load_pem_x509_certificate(leaf.chain.encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert list(names.value) == [x509.UniformResourceIdentifier(IDENTITY)]
    assert names.critical
    assert certificate.public_key() == key.public_key()
    assert certificate.not_valid_before_utc.timestamp() == leaf.not_before == NOW - 300
    assert certificate.not_valid_after_utc.timestamp() == leaf.not_after == NOW + 86400
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert int(leaf.serial, 16) == certificate.serial_number
    certificate.verify_directly_issued_by(authority.root)


def test_names_in_the_request_are_ignored(authority: ca.CertificateAuthority) -> None:
    request = csr(ca.new_key(), "spiffe://cluster.local/ns/kube/sa/admin", name="admin")
    certificate = x509.load_pem_x509_certificate(authority.sign(request, IDENTITY, NOW).chain.encode())
    assert not list(certificate.subject)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.UniformResourceIdentifier(IDENTITY)]


def test_a_request_without_possession_of_the_key_is_refused(authority: ca.CertificateAuthority) -> None:
    genuine = x509.load_pem_x509_csr(csr(ca.new_key()).encode()).public_bytes(Encoding.DER)
    forged = genuine[:-3] + bytes([genuine[-3] ^ 1]) + genuine[-2:]
    text = x509.load_der_x509_csr(forged).public_bytes(Encoding.PEM).decode()
    with pytest.raises(ValueError, match="not signed with its own key"):
        authority.sign(text, IDENTITY, NOW)


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())],
    ids=["rsa", "p384"],
)
def test_other_kinds_of_keys_are_refused(
    authority: ca.CertificateAuthority, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
) -> None:
    with pytest.raises(ValueError, match=r"P-256"):
        authority.sign(csr(key), IDENTITY, NOW)


@pytest.mark.parametrize(
    "text", ["", "garbage", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n", "\ud800", "\0"]
)
def test_garbage_is_refused_with_a_sentence(authority: ca.CertificateAuthority, text: str) -> None:
    with pytest.raises(ValueError, match="not readable PEM"):
        authority.sign(text, IDENTITY, NOW)


def test_the_servers_certificate_passes_a_strict_verifier(authority: ca.CertificateAuthority) -> None:
    names = ["meshlite-server", "127.0.0.1", "::1"]
    leaf = authority.sign_server(ca.new_key().public_key(), "spiffe://cluster.local/server", names, NOW)
    certificate = x509.load_pem_x509_certificate(leaf.chain.encode())
    held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert held.get_values_for_type(x509.DNSName) == ["meshlite-server"]
    assert [str(ip) for ip in held.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    builder = PolicyBuilder().store(Store([authority.root])).time(certificate.not_valid_before_utc)
    builder.build_server_verifier(x509.DNSName("meshlite-server")).verify(certificate, [])


def test_no_leaf_outlives_the_root(authority: ca.CertificateAuthority) -> None:
    end = authority.root.not_valid_after_utc.timestamp()
    assert authority.sign(csr(ca.new_key()), IDENTITY, end - 60).not_after == end


def test_the_key_shows_in_no_output(authority: ca.CertificateAuthority) -> None:
    assert isinstance(authority.key, ec.EllipticCurvePrivateKey)
    number = authority.key.private_numbers().private_value
    for text in (repr(authority), str(authority), f"{authority}"):
        assert "PRIVATE" not in text
        assert str(number) not in text
        assert "EllipticCurvePrivateKey" not in text


def test_the_root_survives_a_restart_and_only_its_owner_reads_the_key(tmp_path: Path) -> None:
    first = ca.load_or_create(tmp_path, "cluster.local", 86400.0, NOW)
    again = ca.load_or_create(tmp_path, "cluster.local", 86400.0, NOW + 1000)
    assert again.roots == first.roots
    assert again.key.private_numbers() == first.key.private_numbers()
    assert (tmp_path / "root-key.pem").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root-key.pem", "root.pem"]


def test_a_crash_between_key_and_certificate_is_mended(tmp_path: Path) -> None:
    first = ca.load_or_create(tmp_path, "cluster.local", 86400.0, NOW)
    (tmp_path / "root.pem").unlink()
    again = ca.load_or_create(tmp_path, "cluster.local", 86400.0, NOW)
    again.root.verify_directly_issued_by(again.root)
    assert again.key.private_numbers() == first.key.private_numbers()


def test_unusable_files_are_said(tmp_path: Path) -> None:
    ca.load_or_create(tmp_path, "cluster.local", 86400.0, NOW)
    key_file, root_file = tmp_path / "root-key.pem", tmp_path / "root.pem"
    key_file.chmod(0o644)
    with pytest.raises(ValueError, match="others may read this key"):
        ca.load_or_create(tmp_path, "cluster.local", 86400.0, NOW)
    key_file.chmod(0o600)
    root_file.write_text(ca.create("cluster.local", 86400.0, NOW).roots)
    with pytest.raises(ValueError, match="does not belong to"):
        ca.load_or_create(tmp_path, "cluster.local", 86400.0, NOW)
    root_file.write_text("garbage")
    with pytest.raises(ValueError, match="not a PEM certificate"):
        ca.load_or_create(tmp_path, "cluster.local", 86400.0, NOW)
    key_file.write_text("garbage")
    with pytest.raises(ValueError, match="not a PEM private key"):
        ca.load_or_create(tmp_path, "cluster.local", 86400.0, NOW)
    key_file.unlink()
    with pytest.raises(ValueError, match="is gone"):
        ca.load_or_create(tmp_path, "cluster.local", 86400.0, NOW)
