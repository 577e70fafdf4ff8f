"""`token`, `access` and `--server` against a real server process, over its real TLS."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from meshlite.cli.main import root
from meshlite.cli.span import left
from tests.cli.conftest import Mesh


def url(mesh: Mesh) -> str:
    import yaml

    return f"https://127.0.0.1:{yaml.safe_load(mesh.config.read_text())['ports']['server']}"


def remote(mesh: Mesh, token: Path, *arguments: str) -> Result:
    """As from another host: without the settings, so without this host's socket."""
    return CliRunner().invoke(root, ["--server", url(mesh), "--token-file", str(token), *arguments])


def person(mesh: Mesh, folder: Path, name: str, role: str) -> Path:
    made = mesh.cli("access", "create", name, "--role", role, "--ttl", "1h30m")
    assert made.exit_code == 0, made.output
    assert f"{name} may call as {role} for 1h30m" in made.stderr
    file = folder / f"{name}.token"
    file.write_text(made.stdout)
    return file


def test_join_tokens_from_the_command_line(mesh: Mesh) -> None:
    made = mesh.cli("token", "create", "-n", "shop", "--ttl", "2d", "--uses", "3", "-o", "json")
    value = json.loads(made.stdout)
    (row,) = json.loads(mesh.cli("token", "list", "-o", "json").stdout)
    assert (row["id"], row["namespaces"], row["uses"]) == (value["id"], ["shop"], 3)
    assert row["expires"] - row["created"] == pytest.approx(2 * 86400)
    table = mesh.cli("token", "list").stdout
    assert "1d23h" in table
    assert value["token"].split(".")[0] not in table
    assert mesh.cli("token", "revoke", value["id"]).exit_code == 0
    assert mesh.cli("token", "revoke", value["id"]).exit_code == 1
    assert json.loads(mesh.cli("token", "list", "-o", "json").stdout) == []


def test_the_secret_stands_alone_on_stdout(mesh: Mesh) -> None:
    made = mesh.cli("token", "create")
    assert len(made.stdout.splitlines()) == 1
    assert len(made.stdout.strip().rsplit(".", 1)[1]) == 64


@pytest.mark.parametrize("ttl", ["0s", "5", "1y", "-1h", "", "1.5h"])
def test_a_time_that_is_none(mesh: Mesh, ttl: str) -> None:
    assert mesh.cli("token", "create", "--ttl", ttl).exit_code == 2


def test_people_work_from_elsewhere_within_their_role(mesh: Mesh, tmp_path: Path) -> None:
    viewer = person(mesh, tmp_path, "vera", "viewer")
    operator = person(mesh, tmp_path, "olga", "operator")
    seen = remote(mesh, viewer, "get", "services", "-o", "json")
    assert "reviews" in seen.stdout, seen.output
    refused = remote(mesh, viewer, "timeout", "reviews", "5s")
    assert refused.exit_code == 1
    assert "vera may not do this" in refused.stderr
    written = remote(mesh, operator, "timeout", "reviews", "5s")
    assert written.exit_code == 0, written.output
    history = json.loads(mesh.cli("get", "events", "-o", "json").stdout)
    assert "olga" in str(history)
    health = json.loads((done := remote(mesh, viewer, "status", "-o", "json")).stdout)
    assert done.exit_code == 0, "no agent runs here, which is nothing to that server"
    assert [part["name"] for part in health["parts"]] == ["server", "agent test-node"]
    refused = remote(mesh, operator, "access", "list")
    assert "olga may not do this" in refused.stderr
    assert mesh.cli("access", "revoke", "olga").exit_code == 0
    gone = remote(mesh, operator, "get", "services")
    assert gone.exit_code == 1
    assert "unknown, revoked or expired" in gone.stderr
    listed = mesh.cli("access", "list").stdout
    assert "vera" in listed
    assert "olga" not in listed
    mesh.cli("access", "revoke", "vera")


def test_the_token_is_not_sent_to_another_server(mesh: Mesh, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret." + "0" * 64)
    result = remote(mesh, token, "get", "services")
    assert result.exit_code == 1
    assert "not the server that the token is from" in result.stderr
    assert "the token was not sent" in result.stderr


def test_what_is_missing_for_a_server_elsewhere_is_said(
    mesh: Mesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MESHLITE_TOKEN", raising=False)
    result = CliRunner().invoke(root, ["--server", url(mesh), "get", "services"])
    assert "wants a bearer token" in result.stderr
    monkeypatch.setenv("MESHLITE_TOKEN", mesh.cli("access", "create", "eve", "--role", "viewer").stdout)
    assert CliRunner().invoke(root, ["--server", url(mesh), "get", "services"]).exit_code == 0
    assert CliRunner().invoke(root, ["--server", "http://x", "get", "services"]).exit_code == 1
    assert CliRunner().invoke(root, ["--server", url(mesh), "up", "-d"]).exit_code == 2
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"https://127.0.0.1:{closed.getsockname()[1]}"
        result = CliRunner().invoke(root, ["--server", nobody, "get", "services"])
    assert "nobody listens there" in result.stderr
    mesh.cli("access", "revoke", "eve")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "expired"), (59.9, "59s"), (60, "1m"), (5400, "1h30m"), (7 * 86400, "7d00h")]
)
def test_what_is_left_is_told_in_two_units(seconds: float, text: str) -> None:
    assert left(seconds) == text


def test_the_audit_log_from_the_command_line(mesh: Mesh, tmp_path: Path) -> None:
    viewer = person(mesh, tmp_path, "vic", "viewer")
    remote(mesh, viewer, "timeout", "reviews", "5s")
    mesh.cli("access", "revoke", "vic")
    rows = json.loads(mesh.cli("audit", "-n", "3", "-o", "json").stdout)
    assert [(row["who"] == "vic", row["status"]) for row in rows] == [(False, 200), (True, 403), (False, 204)]
    table = mesh.cli("audit", "--since", "10m")
    assert table.exit_code == 0, table.output
    assert "vic may not do this" in table.stdout
