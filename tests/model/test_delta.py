"""Whatever happened between two snapshots, the reader of the stream ends with the server's own."""

from hypothesis import given
from hypothesis import strategies as st

from meshlite.model.delta import difference, merge, whole
from meshlite.model.mesh import HostAddress, NodeRecord, Resource, Service, Snapshot
from meshlite.model.workload import Workload

names = st.sets(st.sampled_from("abcdef"))


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    health = st.sampled_from(["healthy", "draining"])
    return Snapshot(
        version=draw(st.sampled_from("123456789")),
        nodes=tuple(NodeRecord(name=n, everything=draw(st.booleans())) for n in sorted(draw(names))),
        services=tuple(
            Service(name=n, namespace="shop", address=draw(st.sampled_from("12")))
            for n in sorted(draw(names))
        ),
        workloads=tuple(
            Workload(id=n, node="n", name=n, service="s", namespace="shop", health=draw(health))
            for n in sorted(draw(names))
        ),
        resources=tuple(
            Resource(
                api_version="v1", kind="Gateway", name=n, namespace="s", generation=draw(st.integers(1, 3))
            )
            for n in sorted(draw(names))
        ),
        hosts=tuple(
            HostAddress(host=n, namespace="s", address=draw(st.sampled_from("12")))
            for n in sorted(draw(names))
        ),
    )


@given(snapshots(), snapshots())
def test_reader_has_what_the_server_has(old: Snapshot, new: Snapshot) -> None:
    new = new.model_copy(update={"version": old.version + "'"})
    assert merge(old, difference(old, new)) == new
    assert merge(old, whole(new)) == new


@given(snapshots())
def test_heartbeat_changes_nothing(snapshot: Snapshot) -> None:
    heartbeat = difference(snapshot, snapshot)
    assert heartbeat.model_dump(exclude_defaults=True) == {"version": snapshot.version}
    assert merge(snapshot, heartbeat) is snapshot
