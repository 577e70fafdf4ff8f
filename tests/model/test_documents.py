"""Reading files: which documents become resources, and how the others are reported."""

from __future__ import annotations

import json

import pytest

from meshlite.model.documents import read

POLICY = """\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: default
spec:
  mtls:
    mode: STRICT
"""


def only_rejection(text: str) -> tuple[str, str, str]:
    reading = read(text, "a.yaml")
    assert not reading.documents
    [found] = reading.rejections
    return found.where, found.field, found.reason


def test_a_document_becomes_a_resource_with_the_lines_of_its_fields() -> None:
    [document] = read("# head\n" + POLICY, "a.yaml", namespace="shop").documents
    assert document.resource.key == "PeerAuthentication/shop/default"
    assert document.resource.spec == {"mtls": {"mode": "STRICT"}}
    assert document.location == "a.yaml:2"
    assert document.lines["spec.mtls.mode"] == 8


def test_a_namespace_in_the_document_wins_and_istios_root_is_ours() -> None:
    text = POLICY.replace("name: default", "name: default\n  namespace: istio-system")
    assert read(text, namespace="shop").documents[0].resource.namespace == "meshlite-system"


def test_snake_case_fields_are_found_in_camel_case() -> None:
    text = POLICY.replace("mtls:\n    mode: STRICT", "port_level_mtls: {8080: {mode: STRICT}}")
    [document] = read(text).documents
    assert (
        document.lines["spec.portLevelMtls.8080.mode"]
        == document.lines["spec.port_level_mtls.8080.mode"]
        == 6
    )


def test_lists_and_json_are_opened_and_keep_their_lines() -> None:
    item = {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"name": "a"}}
    text = json.dumps(
        {"apiVersion": "v1", "kind": "List", "items": [item, item | {"kind": "Pear"}]}, indent=1
    )
    reading = read(text, "a.json")
    assert [document.location for document in reading.documents] == ["a.json:5"]
    assert [found.where for found in reading.rejections] == ["a.json:14"]


def test_what_an_api_server_added_is_dropped() -> None:
    added = (
        "uid: 1-2\n  resourceVersion: '7'\n  managedFields: []\n  creationTimestamp: null\n  generation: 3"
    )
    text = POLICY.replace("name: default", f"name: default\n  {added}")
    [document] = read(text + "status: {conditions: []}\n").documents
    assert document.resource.generation == 1


SUPPORTED = "supported kinds: VirtualService, DestinationRule, PeerAuthentication"
KIND = "kind: PeerAuthentication"
API = "security.istio.io/v1"
NAME = "  name: default"


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "words"),
    [
        (KIND, "kind: PeerAuthentification", 2, "kind", "did you mean PeerAuthentication"),
        (
            KIND,
            "kind: Telemetry",
            2,
            "kind",
            "has no kind Telemetry: write apiVersion: telemetry.istio.io/v1",
        ),
        (
            KIND,
            "kind: AuthorisationPolicy",
            2,
            "kind",
            "(did you mean AuthorizationPolicy?); " + SUPPORTED,
        ),
        (KIND, "kind: [a]", 2, "kind", "must be a string"),
        (API, "security.istio.io/v1alpha3", 2, "kind", "write apiVersion: security.istio.io/v1"),
        (API, "networking.istio.io/v1", 2, "kind", "write apiVersion: security.istio.io/v1"),
        (API, "v1", 2, "kind", "did you mean apiVersion: security.istio.io/v1"),
        (API, "gateway.networking.k8s.io/v1", 2, "kind", "write apiVersion: security.istio.io/v1"),
        (API, "cert-manager.io/v1", 2, "kind", "not known to meshlite"),
        ("apiVersion: security.istio.io/v1", "", 2, "apiVersion", "is required"),
        (NAME, "  nam: default", 4, "metadata.nam", "did you mean name"),
        (NAME, "  name: 5", 4, "metadata.name", "put it in quotes"),
        (NAME, NAME + "\n  labels: {version: 1}", 5, "metadata.labels.version", "put it in quotes"),
        ("metadata:\n  name: default", "metadata: default", 3, "metadata", "must be a mapping"),
        ("spec:\n  mtls:\n    mode: STRICT", "spec: [a]", 5, "spec", "must be a mapping, not a list"),
        ("spec:", "sepc:", 5, "sepc", "did you mean spec"),
    ],
)
def test_what_is_refused_says_where_and_why(old: str, new: str, line: int, field: str, words: str) -> None:
    assert old in POLICY
    found = [found for found in read(POLICY.replace(old, new), "a.yaml").rejections if found.field == field]
    assert [(item.where, words in item.reason) for item in found] == [(f"a.yaml:{line}", True)], found


def test_several_faults_are_reported_at_once() -> None:
    text = POLICY.replace("name: default", "nam: default").replace("spec:", "sepc:")
    assert {found.field for found in read(text).rejections} == {"sepc", "metadata.nam", "metadata.name"}


def test_the_name_of_what_was_refused_is_said() -> None:
    [found] = read(POLICY.replace("spec:", "sepc:"), namespace="shop").rejections
    assert found.resource == "PeerAuthentication/shop/default"


@pytest.mark.parametrize(
    ("api", "kind", "word"),
    [
        (
            "apps/v1",
            "Deployment",
            "Deployment is Kubernetes' own; meshlite takes workloads from Docker: skipped",
        ),
        ("v1", "Service", "meshlite knows services from their workloads: skipped"),
        ("v1", "ServiceAccount", "skipped"),
        ("rbac.authorization.k8s.io/v1", "Role", "skipped"),
        ("install.istio.io/v1alpha1", "IstioOperator", "skipped"),
    ],
)
def test_what_is_kubernetes_own_is_passed_over_with_a_word(api: str, kind: str, word: str) -> None:
    reading = read(f"apiVersion: {api}\nkind: {kind}\nmetadata: {{name: a}}\n---\n{POLICY}", "a.yaml")
    assert [document.resource.kind for document in reading.documents] == ["PeerAuthentication"]
    assert not reading.rejections
    [warning] = reading.warnings
    assert warning.startswith("a.yaml:1: ")
    assert word in warning


def test_text_that_is_no_resource() -> None:
    assert only_rejection("- a\n")[2] == "a resource must be a mapping, not a list"
    assert only_rejection("hello\n")[2] == "a resource must be a mapping, not 'hello'"
    assert only_rejection("a: 1\na: 2\n") == ("a.yaml:2", "", "column 1: a is given twice; first in line 1")
    assert read("", "a.yaml") == read("# nothing\n---\n", "a.yaml") == ((), (), ())
