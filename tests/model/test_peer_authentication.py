"""PeerAuthentications, and the metadata that every resource has."""

from __future__ import annotations

import pytest

from meshlite.model.documents import read
from meshlite.model.mesh import Resource
from meshlite.model.security import PeerAuthentication
from meshlite.model.validate import parse, validate
from meshlite.model.wire import Document
from tests.model.resources import document, warned

V1 = "security.istio.io/v1"


def test_ports_are_numbers_and_modes_are_names() -> None:
    ports = "portLevelMtls: {8080: {mode: DISABLE}, '9090': {}}"
    text = f"selector: {{matchLabels: {{app: a}}}}\nmtls: {{mode: 3}}\n{ports}"
    spec = parse(document("PeerAuthentication", text).resource, PeerAuthentication)
    assert spec.mtls is not None
    assert spec.mtls.mode == "STRICT"
    assert spec.port_level_mtls is not None
    assert {port: mtls.mode for port, mtls in spec.port_level_mtls.items()} == {
        8080: "DISABLE",
        9090: "UNSET",
    }


def test_what_is_only_warned_of() -> None:
    assert "every workload" in warned("PeerAuthentication", "selector: {}")[0]
    assert "as PERMISSIVE" in warned("PeerAuthentication", "mtls: {mode: DISABLE}")[0]
    root = warned("PeerAuthentication", "selector: {matchLabels: {a: b}}", namespace="istio-system")
    assert "no effect" in root[0]
    assert warned("PeerAuthentication", "mtls: {mode: STRICT}") == ()


def test_an_empty_spec_is_good() -> None:
    for tail in ("", "spec:\n", "spec: {}\n"):
        text = f"apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: a}}\n{tail}"
        [found] = read(text).documents
        assert validate(found) == ((), ())


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "It"}, "metadata.name"),
        ({"name": ""}, "metadata.name"),
        ({"name": "a" * 254}, "metadata.name"),
        ({"namespace": "a/b"}, "metadata.namespace"),
        ({"labels": {"a b": "c"}}, 'metadata.labels["a b"]'),
        ({"labels": {"a": "c d"}}, "metadata.labels.a"),
        ({"annotations": {"istio.io/dry-run": "true"}}, 'metadata.annotations["istio.io/dry-run"]'),
        ({"kind": "Pod"}, "kind"),
        ({"api_version": "v1"}, "kind"),
        ({"kind": "WasmPlugin"}, "kind"),
        ({"spec": {"mtls": []}}, "spec.mtls"),
    ],
)
def test_what_a_client_sends_is_not_trusted(changes: dict[str, object], field: str) -> None:
    good = Resource(api_version=V1, kind="PeerAuthentication", name="a-b.c", namespace="my_shop")
    assert validate(Document(resource=good)) == ((), ())
    bad = Document(resource=good.model_copy(update=changes))
    assert [found.field for found in validate(bad).rejections] == [field]
