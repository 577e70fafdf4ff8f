"""`meshlite explain` on a real server and on a saved snapshot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshlite.cli.tour.rules import FOLDER
from tests.cli.conftest import Mesh, workload


def test_a_request_is_followed_to_its_end(mesh: Mesh) -> None:
    mesh.cli("apply", "-f", str(FOLDER / "subsets.yaml"), "-f", str(FOLDER / "user.yaml"))
    done = mesh.cli("explain", "ratings", "reviews", "--header", "user=tester", "-o", "json")
    assert done.exit_code == 0, done.stderr
    story = json.loads(done.stdout)
    assert set(story) == {"outcome", "steps", "ends"}
    [route] = [step for step in story["steps"] if step["step"] == "route"]
    assert route["by"].startswith("VirtualService/shop/reviews spec.http[")
    assert {end["workload"] for end in story["ends"]} <= {f"shop-reviews-v{n}-1" for n in (1, 2, 3)}
    text = mesh.cli("explain", "ratings", "http://reviews:9080/").stdout
    assert "route" in text
    assert "sent to outbound|9080|" in text


def test_a_saved_snapshot_is_enough(mesh: Mesh, tmp_path: Path) -> None:
    file = tmp_path / "snapshot.json"
    file.write_text(json.dumps(mesh.server.get("/v1/snapshot")))
    mesh.report(workload("other"))
    done = mesh.cli("explain", "ratings", "reviews", "--snapshot", str(file), "-o", "json")
    assert len(json.loads(done.stdout)["ends"]) == 3
    file.write_text("{}x")
    assert "is no snapshot" in mesh.cli("explain", "a", "b", "--snapshot", str(file)).stderr


def test_a_client_from_outside_meets_the_gateway(mesh: Mesh) -> None:
    done = mesh.cli("explain", "ingressgateway", "http://reviews.example.com/x", "-o", "json")
    story = json.loads(done.stdout)
    assert story["outcome"] == "refused: no Gateway takes it"
    assert [step["step"] for step in story["steps"]] == ["source", "gateway"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("nobody", "reviews"), 1, "no workload is called nobody"),
        (("ratings", "http://"), 1, "names no host"),
        (("ratings", "reviews:x"), 1, "host:port or URL"),
        (("ratings", "reviews", "--header", "x"), 2, "NAME=VALUE"),
        (("ratings", "reviews", "--port", "0"), 2, "range"),
    ],
)
def test_mistakes_are_told(mesh: Mesh, words: tuple[str, ...], code: int, said: str) -> None:
    done = mesh.cli("explain", *words)
    assert done.exit_code == code
    assert said in done.stderr
