"""Verbs against a real server: whole batches, what is refused and why, the shapes of the answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from meshlite.cli.tour.rules import FOLDER
from tests.cli.conftest import Mesh, workload

SUBSETS, CANARY, USER = (str(FOLDER / f"{name}.yaml") for name in ("subsets", "canary", "user"))


def test_apply_says_what_became_of_each_resource(mesh: Mesh) -> None:
    done = mesh.cli("apply", "-f", SUBSETS, "-f", CANARY)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == "DestinationRule/shop/reviews created\nVirtualService/shop/reviews created\n"
    before = json.loads(mesh.cli("get", "vs", "reviews", "-o", "json").stdout)["metadata"]["generation"]
    again = mesh.cli("apply", "-f", SUBSETS, "-f", USER, "-o", "json")
    rule, route = json.loads(again.stdout)["applied"]
    assert (rule["key"], rule["action"]) == ("DestinationRule/shop/reviews", "unchanged")
    assert route == {
        "key": "VirtualService/shop/reviews",
        "action": "configured",
        "generation": before + 1,
        "warnings": [],
    }


def test_a_batch_with_one_fault_is_refused_as_a_whole(mesh: Mesh, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(Path(CANARY).read_text().replace("weight: 90", "wieght: 90"))
    done = mesh.cli("apply", "-f", SUBSETS, "-f", str(bad))
    assert done.exit_code == 1
    assert done.stdout == ""
    line = 1 + bad.read_text().splitlines().index("          wieght: 90")
    assert (
        f"{bad}:{line}: VirtualService/shop/reviews: spec.http[0].route[0].wieght: unknown field"
        in done.stderr
    )
    assert "nothing was applied" in done.stderr
    assert json.loads(mesh.cli("get", "all", "-o", "json").stdout) == []


def test_programs_read_on_stdout_what_was_refused(mesh: Mesh, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("apiVersion: networking.istio.io/v1\nkind: VirtualServise\nmetadata: {name: x}\n")
    done = mesh.cli("apply", "-f", str(bad), "-o", "json")
    assert done.exit_code == 1
    (row,) = json.loads(done.stdout)["rejected"]
    assert (row["resource"], row["where"]) == ("VirtualServise/shop/x", f"{bad}:2")
    missing = mesh.cli("apply", "-f", CANARY, "-o", "json")
    assert missing.exit_code == 1
    assert {row["resource"] for row in json.loads(missing.stdout)["rejected"]} == {
        "VirtualService/shop/reviews"
    }


def test_apply_says_that_a_file_had_nothing_in_it(mesh: Mesh, tmp_path: Path) -> None:
    empty = tmp_path / "empty.yaml"
    empty.write_text("# nothing yet\n---\n")
    done = mesh.cli("apply", "-f", str(empty))
    assert done.exit_code == 0
    assert f"no resource of the mesh in {empty}" in done.stderr


def test_a_host_or_subset_that_does_not_exist_is_refused_by_the_server(mesh: Mesh, tmp_path: Path) -> None:
    file = tmp_path / "rule.yaml"
    file.write_text(Path(CANARY).read_text().replace("host: reviews, subset: v3", "host: revews"))
    done = mesh.cli("apply", "-f", SUBSETS, "-f", str(file))
    assert done.exit_code == 1
    assert f"{file}:" in done.stderr
    assert "revews" in done.stderr
    assert "--allow-missing-hosts" in done.stderr
    without_subsets = mesh.cli("apply", "-f", CANARY)
    assert without_subsets.exit_code == 1
    assert "v1" in without_subsets.stderr
    assert mesh.cli("apply", "-f", CANARY, "--allow-missing-hosts").exit_code == 0


def test_dry_run_changes_nothing(mesh: Mesh) -> None:
    done = mesh.cli("apply", "-f", SUBSETS, "--dry-run")
    assert done.stdout == "DestinationRule/shop/reviews created (dry run)\n"
    assert mesh.cli("get", "dr", "reviews").exit_code == 1


def test_the_namespace_is_the_only_project_else_it_must_be_named(mesh: Mesh) -> None:
    mesh.projects("shop", "billing")
    done = mesh.cli("apply", "-f", SUBSETS)
    assert done.exit_code == 1
    assert "billing, shop" in done.stderr
    assert "-n NAMESPACE" in done.stderr
    assert mesh.cli("apply", "-f", SUBSETS, "-n", "shop").exit_code == 0
    mesh.projects()
    refused = mesh.cli("apply", "-f", SUBSETS).stderr
    assert "no project is in the mesh" in refused
    assert "DestinationRule/?/reviews" in refused, "a key has three parts, also where one is not known"


def test_get_lists_for_people_and_for_programs(mesh: Mesh) -> None:
    mesh.cli("apply", "-f", SUBSETS, "-f", CANARY)
    table = mesh.cli("get", "dr").stdout.splitlines()
    assert table[0].split() == ["NAMESPACE", "KIND", "NAME", "CHANGES", "ABOUT"]
    cells = table[1].split()
    assert cells[:3] + cells[4:] == ["shop", "DestinationRule", "reviews", "reviews", "(v1,", "v2,", "v3)"]
    assert cells[3].isdigit()
    rows = json.loads(mesh.cli("get", "all", "-o", "json").stdout)
    assert [row["kind"] for row in rows] == ["DestinationRule", "VirtualService"]
    assert rows[0]["metadata"]["name"] == "reviews"
    one = json.loads(mesh.cli("get", "virtualservices", "reviews", "-o", "json").stdout)
    assert one["spec"]["http"][0]["route"][0]["weight"] == 90
    assert mesh.cli("get", "vs", "-n", "elsewhere", "-o", "json").stdout == "[]\n"


def test_a_mode_is_listed_with_whom_it_is_for(mesh: Mesh, tmp_path: Path) -> None:
    head = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n"
    one = "{selector: {matchLabels: {app: reviews}}, mtls: {mode: PERMISSIVE}}"
    scopes = {"istio-system": "{mtls: {mode: STRICT}}", "shop": "{mtls: {mode: STRICT}}", "bank": one}
    file = tmp_path / "modes.yaml"
    file.write_text(
        "---\n".join(
            f"{head}metadata: {{name: default, namespace: {namespace}}}\nspec: {spec}\n"
            for namespace, spec in scopes.items()
        )
    )
    assert mesh.cli("apply", "-f", str(file)).exit_code == 0
    listed = mesh.cli("get", "pa")
    assert listed.exit_code == 0, listed.stderr
    abouts = {line.split()[0]: " ".join(line.split()[4:]) for line in listed.stdout.splitlines()[1:]}
    assert abouts == {
        "meshlite-system": "STRICT for the mesh",
        "shop": "STRICT for the namespace",
        "bank": "PERMISSIVE for app=reviews",
    }
    assert mesh.cli("get", "all").stdout.count("STRICT") == 2


def test_what_get_prints_as_yaml_can_be_applied_again(mesh: Mesh) -> None:
    mesh.cli("apply", "-f", SUBSETS, "-f", CANARY)
    text = mesh.cli("get", "all", "-o", "yaml").stdout
    assert len(list(yaml.safe_load_all(text))) == 2
    done = mesh.cli("apply", "-f", "-", "-o", "json", stdin=text)
    assert done.exit_code == 0, done.stderr
    assert {row["action"] for row in json.loads(done.stdout)["applied"]} == {"unchanged"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["get", "vs", "nosuch"], "there is no vs nosuch"),
        (["get", "pods"], "there is no kind pods"),
        (["get", "virtualservce"], "did you mean virtualservice?"),
        (["delete", "destinationrul", "x"], "did you mean destinationrule?"),
    ],
)
def test_get_of_what_is_not_there(mesh: Mesh, arguments: list[str], said: str) -> None:
    done = mesh.cli(*arguments)
    assert done.exit_code == 1
    assert said in done.stderr


def test_get_what_was_found(mesh: Mesh) -> None:
    services = mesh.cli("get", "svc").stdout.splitlines()
    assert services[0].split() == ["NAMESPACE", "NAME", "ADDRESS", "PORTS", "READY", "MTLS", "FROM"]
    assert [line.split()[1] for line in services[1:]] == ["ratings", "reviews"]
    assert services[2].split()[3:] == ["9080/http", "3/3", "PERMISSIVE", "workloads"]
    workloads = json.loads(mesh.cli("get", "workloads", "-o", "json").stdout)
    assert {row["service"] for row in workloads} == {"ratings", "reviews"}
    nodes = json.loads(mesh.cli("get", "nodes", "-o", "json").stdout)
    assert [row["record"]["projects"] for row in nodes] == [["shop"]]
    events = json.loads(mesh.cli("get", "events", "-o", "json").stdout)
    assert all(set(event) == {"time", "kind", "subject", "message"} for event in events)


def test_delete_by_name_and_by_file(mesh: Mesh) -> None:
    mesh.cli("apply", "-f", SUBSETS, "-f", CANARY)
    assert mesh.cli("delete", "vs", "reviews").stdout == "VirtualService/shop/reviews deleted\n"
    done = mesh.cli("delete", "-f", SUBSETS, "-f", CANARY)
    assert done.stdout == "DestinationRule/shop/reviews deleted\n"
    assert done.exit_code == 1
    assert "there is no VirtualService/shop/reviews" in done.stderr
    assert mesh.cli("delete", "-f", SUBSETS, "--ignore-missing").exit_code == 0
    assert json.loads(mesh.cli("get", "all", "-o", "json").stdout) == []


@pytest.mark.parametrize("arguments", [["delete"], ["delete", "vs"], ["delete", "vs", "a", "-f", SUBSETS]])
def test_delete_wants_a_name_or_files(mesh: Mesh, arguments: list[str]) -> None:
    assert mesh.cli(*arguments).exit_code == 2


def test_describe_shows_all_that_shapes_a_service(mesh: Mesh) -> None:
    mesh.report(
        workload("reviews", "v1"),
        workload("reviews", "v2", health="unhealthy"),
        workload("reviews", "v3", captured=False, reason="it has no network"),
        workload("ratings"),
    )
    mesh.cli("apply", "-f", SUBSETS, "-f", CANARY)
    done = mesh.cli("describe", "reviews.shop")
    assert done.exit_code == 0, done.stderr
    for text in (
        "reviews in shop",
        "reviews.shop.svc.cluster.local",
        "PERMISSIVE",
        "9080",
        "the container's label meshlite.ports",
        "shop-reviews-v2-1",
        "unhealthy",
        "it has no network",
        "version=v3",
        "DestinationRule",
        "VirtualService",
    ):
        assert text in done.stdout
    value = json.loads(mesh.cli("describe", "reviews", "-o", "json").stdout)
    assert {subset["name"]: (subset["ready"], subset["total"]) for subset in value["subsets"]} == {
        "v1": (1, 1),
        "v2": (0, 1),
        "v3": (1, 1),
    }


def test_describe_of_none_and_of_several(mesh: Mesh) -> None:
    done = mesh.cli("describe", "nosuch")
    assert done.exit_code == 1
    assert "the mesh has: ratings, reviews" in done.stderr
    mesh.report(workload("reviews"), workload("reviews", id="other", namespace="billing"))
    several = mesh.cli("describe", "reviews")
    assert several.exit_code == 1
    assert "add -n NAMESPACE" in several.stderr
    assert (
        json.loads(mesh.cli("describe", "reviews", "-n", "billing", "-o", "json").stdout)["namespace"]
        == "billing"
    )


def test_strict_shows_as_the_mode(mesh: Mesh) -> None:
    mesh.cli("apply", "-f", str(FOLDER / "strict.yaml"))
    assert json.loads(mesh.cli("describe", "ratings", "-o", "json").stdout)["mode"] == "STRICT"


def test_certs_without_any(mesh: Mesh) -> None:
    assert mesh.cli("certs", "-o", "json").stdout == "[]\n"
    assert mesh.cli("certs").stdout.startswith("IDENTITY ")
    assert mesh.cli("certs").stdout.count("\n") == 1


def test_status_without_an_agent_is_a_failure_that_still_shows_the_mesh(mesh: Mesh) -> None:
    done = mesh.cli("status", "-o", "json")
    assert done.exit_code == 1
    value = json.loads(done.stdout)
    assert not value["healthy"]
    assert {part["name"]: part["healthy"] for part in value["parts"]} == {
        "server": True,
        "agent": False,
        "proxy": False,
    }
    assert value["projects"] == ["shop"]
    assert {row["name"]: (row["ready"], row["total"]) for row in value["services"]} == {
        "ratings": (1, 1),
        "reviews": (3, 3),
    }
    assert "the mesh is not well: agent, proxy" in done.stderr
    table = mesh.cli("status")
    assert "reviews" in table.stdout
    assert "3/3" in table.stdout


def test_files_are_deleted_as_they_were_applied_and_a_broken_one_deletes_nothing(
    mesh: Mesh, tmp_path: Path
) -> None:
    mesh.cli("apply", "-f", SUBSETS, "-f", CANARY)
    bad = tmp_path / "bad.yaml"
    bad.write_text("kind: VirtualService\nmetadata: {name: reviews}\n")
    refused = mesh.cli("delete", "-f", SUBSETS, "-f", str(bad))
    assert refused.exit_code == 1
    assert f"{bad}:1: VirtualService/shop/reviews: apiVersion: is required" in refused.stderr
    assert "nothing was deleted" in refused.stderr
    done = mesh.cli("delete", "-f", SUBSETS, "-f", CANARY)
    assert done.stdout == "VirtualService/shop/reviews deleted\nDestinationRule/shop/reviews deleted\n"


def test_a_document_that_cannot_be_read_hides_no_fault_of_another(mesh: Mesh, tmp_path: Path) -> None:
    unreadable, wrong = tmp_path / "a.yaml", tmp_path / "b.yaml"
    unreadable.write_text("a: [\n")
    wrong.write_text(Path(CANARY).read_text().replace("weight: 90", "weight: -1"))
    done = mesh.cli("apply", "-f", str(tmp_path))
    lines = done.stderr.splitlines()
    assert lines[0].startswith(f"{unreadable}:")
    assert lines[1].startswith(f"{wrong}:")
    assert "no subset" not in done.stderr, "who cannot be read may have declared it"
    assert "2 errors; nothing was applied" in done.stderr


def test_the_audit_log_names_what_a_file_changed(mesh: Mesh) -> None:
    mesh.cli("apply", "-f", SUBSETS)
    entries = mesh.server.get("/v1/audit", limit="1")["entries"]
    assert [entry["subject"] for entry in entries] == ["DestinationRule/shop/reviews"]
