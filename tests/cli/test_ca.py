"""`ca` and `certs` against a real server process: a new root by one command, and what is shown of it."""

from __future__ import annotations

import json
from pathlib import Path

from meshlite.server import ca
from tests.certificates import authority
from tests.cli.conftest import NODE, Mesh
from tests.cli.test_access import person, remote


def shown(mesh: Mesh) -> dict[str, object]:
    value: dict[str, object] = json.loads(mesh.cli("ca", "show", "-o", "json").stdout)
    return value


def test_a_new_root_in_one_command_and_who_had_a_token_calls_on(mesh: Mesh, tmp_path: Path) -> None:
    vera = person(mesh, tmp_path, "vera", "viewer")
    before = shown(mesh)
    done = mesh.cli("ca", "rotate")
    assert done.exit_code == 0, done.output
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == [
        "announced",
        "the next root signs now",
        "the former root is trusted no more",
    ]
    after = shown(mesh)
    assert after["phase"] == "steady"
    assert after["signing"] != before["signing"]
    table = mesh.cli("ca", "show").stdout
    assert "signs" in table
    assert "in tokens only" in table
    assert remote(mesh, vera, "get", "services").exit_code == 0
    olga = person(mesh, tmp_path, "olga", "viewer")
    assert olga.read_text().rpartition(".")[2] != vera.read_text().rpartition(".")[2]
    assert remote(mesh, olga, "get", "services").exit_code == 0
    refused = remote(mesh, olga, "ca", "rotate")
    assert refused.exit_code == 1
    assert "olga may not do this" in refused.stderr
    for name in ("vera", "olga"):
        mesh.cli("access", "revoke", name)


def test_step_by_step_and_back(mesh: Mesh) -> None:
    before = shown(mesh)
    assert mesh.cli("ca", "rotate", "--step").exit_code == 0
    assert shown(mesh)["phase"] == "announced"
    assert "a rotation is under way; its next step: sign" in mesh.cli("ca", "show").stdout
    assert mesh.cli("ca", "rotate", "--cancel").exit_code == 0
    assert shown(mesh) == before
    refused = mesh.cli("ca", "rotate", "--cancel")
    assert refused.exit_code == 1
    assert "the next step is announce" in refused.stderr


def test_what_it_waits_for_is_said_and_it_goes_on_later(mesh: Mesh) -> None:
    token = json.loads(mesh.cli("token", "create", "--node", "gone", "-o", "json").stdout)["token"]
    mesh.server.call("POST", "/v1/nodes/join", {"node": "gone", "token": token, "csr": csr()})
    stuck = mesh.cli("ca", "rotate", "--wait", "1s")
    assert stuck.exit_code == 1
    assert "node gone is silent" in stuck.stderr
    assert "run meshlite ca rotate again" in stuck.stderr
    assert "waiting: node gone is silent" in mesh.cli("ca", "show").stdout
    done = mesh.cli("ca", "rotate", "--without", "gone")
    assert done.exit_code == 0, done.output
    assert shown(mesh)["phase"] == "steady"
    mesh.server.call("DELETE", "/v1/nodes/gone")


def test_an_own_root_signs_and_certs_says_so(mesh: Mesh, tmp_path: Path) -> None:
    own, other = authority("Company Root"), authority("Another")
    cert, key = tmp_path / "root.pem", tmp_path / "root.key"
    cert.write_text(own.certificate)
    key.write_text(other.key)
    refused = mesh.cli("ca", "import", "--cert", str(cert), "--key", str(key))
    assert refused.exit_code == 1
    assert "the key is not that of the certificate" in refused.stderr
    key.write_text(own.key)
    done = mesh.cli("ca", "import", "--cert", str(cert), "--key", str(key))
    assert done.exit_code == 0, done.output
    assert "announced: CN=Company Root" in done.stderr
    assert mesh.cli("ca", "rotate").exit_code == 0
    token = json.loads(mesh.cli("token", "create", "--node", NODE, "-o", "json").stdout)["token"]
    mesh.server.call("POST", "/v1/nodes/join", {"node": NODE, "token": token, "csr": csr()})
    (row,) = [
        one for one in json.loads(mesh.cli("certs", "-o", "json").stdout) if one["identity"].endswith(NODE)
    ]
    assert row["chain"] == ["CN=Company Root"]
    table = mesh.cli("certs").stdout
    assert "CN=Company Root" in table
    assert "23h" in table


def csr() -> str:
    from tests.server.conftest import make_csr

    return make_csr(ca.new_key())
