"""What long AuthorizationPolicies cost: equal services, two behind fifty rules of which the last fits."""

from __future__ import annotations

from dataclasses import asdict

from bench.compose import HTTP, PAIR, SERVER, project
from bench.figures import Figure, Options, Part, Table
from bench.hop import Load, Path, in_turn
from bench.mesh import mesh
from bench.samples import median, paired_ratio

TITLE = "A policy of fifty rules"
RULES = 50
FREE, CALLERS, PATHS = "no policy", f"{RULES} rules, each for a caller", f"{RULES} rules, each for a path"
NOTES = (
    "one client, three equal servers, the product as it is; they take turns. Each rule names a caller,"
    " methods and a path; the last is the only one that fits, so all are asked. Where paths differ, a rule is"
    " done with at the path; where callers differ, each is asked in full.",
)
LOAD = Load("HTTP/1.1, 32 connections", HTTP, "/", 32)


def policy(namespace: str, service: str, callers: list[str], paths: list[str]) -> str:
    """YAML: who may call `service` where, a rule for each pair."""
    rules = "\n".join(
        f"  - from: [{{source: {{principals: [cluster.local/ns/{namespace}/sa/{caller}]}}}}]\n"
        f"    to: [{{operation: {{methods: [GET, POST], paths: [{path}]}}}}]"
        for caller, path in zip(callers, paths, strict=True)
    )
    return (
        f"apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {service}}}\nspec:\n"
        f"  selector: {{matchLabels: {{app: {service}}}}}\n  action: ALLOW\n  rules:\n{rules}\n"
    )


def policies(namespace: str) -> str:
    others = [f"other-{number}" for number in range(RULES - 1)]
    return "---\n".join(
        (
            policy(namespace, "callers", [*others, "client"], ["/"] * RULES),
            policy(namespace, "paths", ["client"] * RULES, [*(f"/of/{name}/*" for name in others), "/"]),
        )
    )


def measure(options: Options) -> Part:
    guarded = {name: {**SERVER, "labels": {**SERVER["labels"], "app": name}} for name in ("callers", "paths")}
    with (
        project("policies", {**PAIR, **guarded}) as made,
        mesh(made.name, proxy_concurrency="1") as ours,
    ):
        ours.up()
        ours.apply(policies(ours.project))
        client, envoys = made.container("client"), (ours.pids()["Envoy"],)
        ways = [
            Path(FREE, client, client.resolve("server"), envoys),
            Path(CALLERS, client, client.resolve("callers"), envoys, "callers"),
            Path(PATHS, client, client.resolve("paths"), envoys, "paths"),
        ]
        samples = in_turn(ways, LOAD, options)
    rates = {name: [sample.rate for sample in taken] for name, taken in samples.items()}
    figures = tuple(
        Figure(f"{name}: rate", paired_ratio(rates[name], rates[FREE]), "× no policy's", "at least", 0.95)
        for name in (CALLERS, PATHS)
    )
    rows = tuple(
        (
            name,
            f"{median(rates[name]):,.0f}",
            f"{median([sample.p50 for sample in taken]):,.0f}",
            f"{median([sample.cost for sample in taken]):,.1f}",
        )
        for name, taken in samples.items()
    )
    return Part(
        "policies",
        TITLE,
        figures,
        (Table((LOAD.name, "requests/s", "p50, µs", "Envoy's CPU, µs/request"), rows),),
        NOTES,
        {name: [asdict(sample) for sample in taken] for name, taken in samples.items()},
    )
