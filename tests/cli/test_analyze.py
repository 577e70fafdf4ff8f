"""`meshlite analyze`: files without a server, the running mesh, and files laid over it."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from meshlite.cli.main import root
from tests.cli.conftest import Mesh

API = "networking.istio.io/v1"
LOST = f"""
apiVersion: {API}
kind: VirtualService
metadata: {{name: reviews, namespace: shop}}
spec:
  hosts: [reviews]
  http:
  - route:
    - destination: {{host: reviews, subset: v9}}
"""
RULE = f"""
apiVersion: {API}
kind: DestinationRule
metadata: {{name: reviews, namespace: shop}}
spec:
  host: reviews
  subsets:
  - name: v1
    labels: {{version: v1}}
"""
SECOND = RULE.replace("name: reviews,", "name: second,")


def analyze(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(root, ["analyze", *arguments], input=stdin)


def test_files_alone_need_no_server(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"{LOST}---{RULE}")
    done = analyze("-f", str(file), "-o", "json")
    assert done.exit_code == 1
    [message] = json.loads(done.stdout)["messages"]
    assert message == {
        "code": "IST0101",
        "name": "ReferencedResourceNotFound",
        "level": "Error",
        "resource": "VirtualService/shop/reviews",
        "where": f"{file}:9",
        "field": "spec.http[0].route[0].destination.subset",
        "message": "no DestinationRule defines subset v9 of reviews",
    }
    assert done.stderr == "error: 1 error found\n"


def test_people_read_a_line_for_each_message() -> None:
    done = analyze("-f", "-", stdin=f"{LOST}---{RULE}")
    assert done.stdout.startswith("Error [IST0101] -:9: VirtualService/shop/reviews: spec.http[0].route[0]")


def test_what_is_not_in_the_files_may_be_elsewhere_unless_they_are_complete() -> None:
    assert analyze("-f", "-", stdin=LOST).stdout == "nothing found\n"
    done = analyze("-f", "-", "--complete", "-o", "json", stdin=LOST)
    assert [m["code"] for m in json.loads(done.stdout)["messages"]] == ["IST0101", "IST0101"]


def test_what_cannot_be_read_is_a_message() -> None:
    done = analyze("-f", "-", "-o", "json", stdin=LOST.replace("VirtualService", "VirtualServise"))
    [message] = json.loads(done.stdout)["messages"]
    assert (message["code"], message["field"]) == ("IST0106", "kind")
    assert done.exit_code == 1


def test_the_running_mesh(mesh: Mesh) -> None:
    assert mesh.cli("analyze").stdout == "nothing found\n"
    assert mesh.cli("apply", "-f", "-", "--allow-missing-hosts", stdin=LOST).exit_code == 0
    done = mesh.cli("analyze", "-o", "json")
    [message] = json.loads(done.stdout)["messages"]
    assert (message["code"], message["where"]) == ("IST0101", "")
    assert done.exit_code == 1


def test_files_over_the_mesh(mesh: Mesh) -> None:
    """They find its services, and are held against its resources; nothing is applied."""
    mesh.cli("apply", "-f", "-", stdin=RULE)
    done = mesh.cli("analyze", "--mesh", "-f", "-", "-o", "json", stdin=f"{LOST}---{SECOND}")
    assert {(m["code"], m["resource"]) for m in json.loads(done.stdout)["messages"]} == {
        ("IST0101", "VirtualService/shop/reviews"),
        ("MESH0003", "DestinationRule/shop/second"),
    }
    assert len(mesh.server.get("/v1/resources")["resources"]) == 1


def test_wrong_usage() -> None:
    for arguments in (["--complete"], ["--mesh"], ["--mesh", "--complete", "-f", "-"]):
        assert analyze(*arguments).exit_code == 2


def test_apply_warns_that_another_resource_was_first(mesh: Mesh) -> None:
    assert "warning" not in mesh.cli("apply", "-f", "-", stdin=RULE).stderr
    done = mesh.cli("apply", "-f", "-", stdin=SECOND)
    assert done.exit_code == 0
    assert "spec.subsets[0]: has no effect: shop/reviews, applied first, defines subset v1" in done.stderr
    again = mesh.cli("apply", "-f", "-", stdin=RULE.replace("version: v1", "version: v2"))
    assert "warning" not in again.stderr
