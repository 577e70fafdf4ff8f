"""Where a local replica is dialled: its private link once there is one, its own address before."""

from __future__ import annotations

import pytest

from meshlite.model.mesh import Service, Snapshot
from meshlite.model.workload import Port, Workload
from meshlite.translate.envoy import schema
from meshlite.translate.node import Attachment, NodeView
from meshlite.translate.translate import translate

WEB = Workload(
    id="web-1",
    node="here",
    name="web-1",
    service="web",
    namespace="shop",
    ports=(Port(number=8080, protocol="http", origin="label"),),
    addresses=("172.18.0.2",),
)
SNAPSHOT = Snapshot(
    services=(Service(name="web", namespace="shop", address="240.240.0.7"),), workloads=(WEB,)
)


@pytest.mark.parametrize(("link", "dialled"), [("", "172.18.0.2"), ("169.254.7.7", "169.254.7.7")])
def test_a_replica_is_dialled_over_its_link_once_it_has_one(link: str, dialled: str) -> None:
    attachment = Attachment("web-1", "/run/meshlite/netns/web-1", link, "web-1", ("web-1",))
    made = translate(SNAPSHOT, NodeView("here", (attachment,))).resources[schema.ENDPOINTS]
    body = schema.decode(schema.ENDPOINTS, made["outbound|8080||web.shop.svc.cluster.local"].body)
    (endpoint,) = body["endpoints"][0]["lb_endpoints"]
    assert endpoint["endpoint"]["address"]["socket_address"]["address"] == dialled
