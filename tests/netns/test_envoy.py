"""One whole path with the real node proxy as its own user: captured, over the private link, admitted."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import envoy
import pytest

from meshlite.agent.capture import Attached, Capture, Mode
from meshlite.config import Settings
from tests.netns.world import LIMIT, MARK, Box, call, dial, serving

VIRTUAL = "240.240.0.7"
TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
ORIGINAL_DST = "envoy.extensions.filters.listener.original_dst.v3.OriginalDst"


def typed(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/{name}", **fields}}


def listener(name: str, path: str, address: str, port: int, default: str, chains: Any = ()) -> dict[str, Any]:
    return {
        "name": name,
        "address": {
            "socket_address": {"address": address, "port_value": port, "network_namespace_filepath": path}
        },
        "listener_filters": [typed(ORIGINAL_DST)],
        "filter_chains": list(chains),
        "default_filter_chain": {"filters": [typed(TCP_PROXY, stat_prefix=name, cluster=default)]},
    }


def cluster(name: str, kind: str, bind: dict[str, Any], **fields: Any) -> dict[str, Any]:
    mark = {"level": 1, "name": 36, "int_value": MARK, "state": "STATE_PREBIND"}
    source = {"address": "0.0.0.0", "port_value": 0, **bind}
    return {
        "name": name,
        "type": kind,
        "connect_timeout": "1s",
        "upstream_bind_config": {"source_address": source, "socket_options": [mark]},
        **fields,
    }


def bootstrap(app: Attached, neighbour: Attached) -> dict[str, Any]:
    """Calls to the virtual address go to the neighbour's link; all else passes from the app's namespace."""
    endpoint = {"address": {"socket_address": {"address": neighbour.link, "port_value": 8080}}}
    load = {"cluster_name": "neighbour", "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]}
    match = {"prefix_ranges": [{"address_prefix": VIRTUAL, "prefix_len": 32}], "destination_port": 8080}
    chain = {
        "filter_chain_match": match,
        "filters": [typed(TCP_PROXY, stat_prefix="mesh", cluster="neighbour")],
    }
    original = {"lb_policy": "CLUSTER_PROVIDED"}
    here = {"network_namespace_filepath": app.path}
    return {
        "static_resources": {
            "listeners": [
                listener("outbound", app.path, "127.0.0.1", 15001, "passthrough", [chain]),
                listener("inbound", app.path, "0.0.0.0", 15006, "own"),
            ],
            "clusters": [
                cluster("neighbour", "STATIC", {}, load_assignment=load),
                cluster("passthrough", "ORIGINAL_DST", here, **original),
                cluster("own", "ORIGINAL_DST", here | {"address": "127.0.0.6"}, **original),
            ],
        }
    }


@pytest.fixture
async def items(
    settings: Settings, capture: Capture, app: Box, neighbour: Box
) -> AsyncIterator[tuple[Attached, Attached]]:
    """Both attached, Envoy running for the app as a user of its own with two capabilities, both captured."""
    one, other = await capture.attach(app.found), await capture.attach(neighbour.found)
    file = settings.paths.run / "envoy.json"
    file.write_text(json.dumps(bootstrap(one, other)))
    capabilities = "-all,+sys_admin,+net_admin"
    command = ["setpriv", "--reuid=15001", "--regid=15001", "--clear-groups", "--no-new-privs"]
    command += [f"--{kind}={capabilities}" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    binary = Path(envoy.__file__).parent / "_bin" / "envoy"
    command += [str(binary), "-c", str(file), "--disable-hot-restart", "--concurrency", "1", "-l", "error"]
    process = await asyncio.create_subprocess_exec(*command)
    try:
        await capture.set_mode(one.key, Mode())
        await capture.set_mode(other.key, Mode(strict=True))
        async with serving(app, "0.0.0.0", 8080, "app"), serving(neighbour, "0.0.0.0", 8080, "neighbour"):
            deadline = time.monotonic() + LIMIT
            while not (await dial(app, VIRTUAL, 8080)).startswith("neighbour "):
                assert process.returncode is None
                assert time.monotonic() < deadline, "Envoy did not take the app's connections"
                await asyncio.sleep(0.05)
            yield one, other
    finally:
        process.terminate()
        await process.wait()


async def test_a_call_takes_the_link_into_a_strict_workload(
    items: tuple[Attached, Attached], app: Box, neighbour: Box
) -> None:
    assert (await dial(app, VIRTUAL, 8080)).startswith("neighbour ")
    assert await dial(None, neighbour.v4, 8080) == "refused", "strangers get nowhere"
    assert await dial(app, neighbour.v4, 8080) == "", "passthrough is a stranger too: taken, then closed"


async def test_passthrough_leaves_from_the_apps_own_namespace(
    items: tuple[Attached, Attached], app: Box
) -> None:
    async with serving(None, "10.77.0.1", 7000, "outside"):
        assert (await dial(app, "10.77.0.1", 7000)).startswith("outside ")


async def test_strangers_pass_the_inbound_listener_of_a_permissive_workload(
    items: tuple[Attached, Attached], app: Box
) -> None:
    assert (await dial(None, app.v4, 8080)).startswith("app ")


async def test_a_thousand_connections_and_rule_changes_in_between_lose_none(
    items: tuple[Attached, Attached], capture: Capture, app: Box
) -> None:
    held = await call(app, VIRTUAL, 8080)
    for turn in range(20):
        greetings = await asyncio.gather(*(dial(app, VIRTUAL, 8080) for _ in range(50)))
        assert {greeting.partition(" ")[0] for greeting in greetings} == {"neighbour"}
        await capture.set_mode(items[1].key, Mode(strict=True, exceptions=frozenset({9000 + turn})))
        assert await held.echo(str(turn)) == str(turn)
    held.close()
