"""Credentials from files: what a name stands for, what is wrong with files, and that no key is ever said."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from meshlite.agent import credentials
from meshlite.agent.credentials import Credentials, Held
from meshlite.translate.envoy import schema
from meshlite.translate.translation import Encoded
from meshlite.watch import Watch
from tests import certificates

AUTHORITY = certificates.authority("test")
PAIR = AUTHORITY.leaf("a.example.com")
OTHER = AUTHORITY.leaf("b.example.com")


def put(folder: Path, **files: str) -> None:
    """`put(folder, tls_crt=...)` writes tls.crt."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)


def look(folder: Path, *names: str, before: Mapping[str, Held] | None = None) -> Mapping[str, Held]:
    return Credentials(folder).look(frozenset(names), before or {})


def shown(held: Held) -> dict[str, Any]:
    assert held.secret is not None, held.problem
    return schema.decode(schema.SECRET, held.secret.body)


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("kubernetes://web", "meshlite-system/web"),
        ("kubernetes://web", "istio-system/web"),
        ("kubernetes://istio-system/web", "meshlite-system/web"),
        ("kubernetes://shop/web", "shop/web"),
        ("kubernetes-gateway://shop/web", "shop/web"),
    ],
)
def test_where_a_credential_is_looked_for(name: str, home: str, tmp_path: Path) -> None:
    put(tmp_path / home, tls_crt=PAIR.certificate, tls_key=PAIR.key)
    found = shown(look(tmp_path, name)[name])
    assert found["name"] == name
    assert set(found["tls_certificate"]) == {"certificate_chain", "private_key"}


def test_files_of_a_generic_secret_and_a_staple(tmp_path: Path) -> None:
    put(tmp_path / "meshlite-system/web", cert=PAIR.certificate, key=PAIR.key)
    (tmp_path / "meshlite-system/web/tls.ocsp-staple").write_bytes(b"staple")
    assert "ocsp_staple" in shown(look(tmp_path, "kubernetes://web")["kubernetes://web"])["tls_certificate"]


@pytest.mark.parametrize("home", ["meshlite-system/web", "meshlite-system/web-cacert"])
def test_who_signs_clients_stands_in_the_credential_or_beside_it(home: str, tmp_path: Path) -> None:
    put(tmp_path / home, ca_crt=AUTHORITY.certificate)
    found = shown(look(tmp_path, "kubernetes://web-cacert")["kubernetes://web-cacert"])
    assert "trusted_ca" in found["validation_context"]


def test_certificates_by_file(tmp_path: Path) -> None:
    put(tmp_path, a_crt=PAIR.certificate, a_key=PAIR.key, ca_crt=AUTHORITY.certificate)
    pair, roots = f"file-cert:{tmp_path}/a.crt~{tmp_path}/a.key", f"file-root:{tmp_path}/ca.crt"
    found = look(tmp_path, pair, roots)
    assert "tls_certificate" in shown(found[pair])
    assert "validation_context" in shown(found[roots])


def test_names_of_others_are_passed_over(tmp_path: Path) -> None:
    assert look(tmp_path, "ROOTCA", "spiffe://cluster.local/ns/a/sa/b") == {}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "tls.crt does not exist"),
        ({"tls_crt": PAIR.certificate}, "tls.key does not exist"),
        ({"tls_crt": "x", "tls_key": PAIR.key}, "tls.crt holds no certificate"),
        ({"tls_crt": PAIR.certificate, "tls_key": "x"}, "tls.key holds no private key"),
        ({"tls_crt": PAIR.certificate, "tls_key": OTHER.key}, "is not the key of the certificate"),
        ({"tls_crt": PAIR.certificate + "x" * 2**20, "tls_key": PAIR.key}, "larger than"),
    ],
)
def test_what_is_wrong_is_said_without_what_is_in_the_files(
    files: dict[str, str], words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path / "meshlite-system/web", **files)
    held = look(tmp_path, "kubernetes://web")["kubernetes://web"]
    assert held.secret is None
    assert words in held.problem
    secret = [line for line in (PAIR.key + OTHER.key).splitlines() if not line.startswith("-")]
    assert not [line for line in secret if line in held.problem + caplog.text]


@pytest.mark.parametrize("name", ["kubernetes://../../etc", "kubernetes://../web", "kubernetes://a/b/c"])
def test_a_name_leads_out_of_the_folder_to_nothing(name: str, tmp_path: Path) -> None:
    held = look(tmp_path, name)[name]
    assert held.secret is None
    assert "is not a name" in held.problem


def test_a_pipe_in_place_of_a_file_holds_nothing_up(tmp_path: Path) -> None:
    put(tmp_path / "meshlite-system/web", tls_key=PAIR.key)
    os.mkfifo(tmp_path / "meshlite-system/web/tls.crt")
    assert "is not a file" in look(tmp_path, "kubernetes://web")["kubernetes://web"].problem


def test_a_bad_file_leaves_what_was_served_and_a_good_one_replaces_it(tmp_path: Path) -> None:
    home, name = tmp_path / "meshlite-system/web", "kubernetes://web"
    put(home, tls_crt=PAIR.certificate, tls_key=PAIR.key)
    first = look(tmp_path, name)
    put(home, tls_crt="half")
    second = look(tmp_path, name, before=first)
    assert second[name].secret == first[name].secret
    assert "served on" in second[name].problem
    put(home, tls_crt=OTHER.certificate, tls_key=OTHER.key)
    third = look(tmp_path, name, before=second)
    assert third[name].problem == ""
    assert third[name].secret != first[name].secret


async def test_what_is_asked_for_is_there_at_once(tmp_path: Path) -> None:
    put(tmp_path / "meshlite-system/web", tls_crt=PAIR.certificate, tls_key=PAIR.key)
    credentials, asked = Credentials(tmp_path), Watch(frozenset[str]())
    asked.set(frozenset({"kubernetes://web", "kubernetes://none"}))
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(credentials.run(asked))
        while len(credentials.held.value) < 2:
            await credentials.held.next(credentials.held.value)
        running.cancel()
    assert set(credentials.secrets) == {"kubernetes://web"}
    [problem] = credentials.problems
    assert problem.resource == "credential meshlite-system/none"


def test_only_what_resources_name_is_a_problem_of_them(tmp_path: Path) -> None:
    """Envoy goes on asking for the secret of a gateway that was deleted, as long as it drains."""
    credentials = Credentials(tmp_path)
    credentials.held.set(look(tmp_path, "kubernetes://none"))
    names = Encoded.of(b"...kubernetes://none...")
    assert credentials.problems_of({"listeners": {"a": names}}) == credentials.problems != ()
    assert credentials.problems_of({"listeners": {"a": Encoded.of(b"plain")}, "clusters": {}}) == ()


def test_who_the_system_trusts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From wherever the system has its bundle."""
    (tmp_path / "bundle.pem").write_text(AUTHORITY.certificate)
    monkeypatch.setattr(credentials, "TRUSTED", (tmp_path / "gone.pem", tmp_path / "bundle.pem"))
    found = shown(look(tmp_path, "file-root:system")["file-root:system"])
    assert "trusted_ca" in found["validation_context"]
