"""The demo application by itself: plain Compose, a real engine, and no mesh anywhere."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter

import pytest
import yaml

from tests.docker.compose import ComposeProject
from tests.docker.conftest import ROOT, MakeProject, prepare

FILE = ROOT / "compose" / "bookinfo.yaml"


@pytest.fixture
def bookinfo(compose_project: MakeProject) -> ComposeProject:
    prepare("image", "demo")
    return compose_project(FILE, environ={"BOOKINFO_LISTEN": "127.0.0.1:"})


def test_it_works_without_the_mesh_and_shows_every_version_of_reviews(bookinfo: ComposeProject) -> None:
    base = f"http://{bookinfo.port('productpage', 9080)}"
    wait_for(f"{base}/health")

    page = get(f"{base}/productpage")
    assert "The Comedy of Errors" in page
    assert "Reviewer1" in page

    answers = [json.loads(get(f"{base}/api/v1/products/0/reviews")) for _ in range(60)]
    assert set(Counter(answer["version"] for answer in answers)) == {"v1", "v2", "v3"}
    colors = {answer["version"]: answer["reviews"][0].get("rating", {}).get("color") for answer in answers}
    assert colors == {"v1": None, "v2": "black", "v3": "red"}


def test_the_page_stays_up_when_a_service_is_gone(bookinfo: ComposeProject) -> None:
    base = f"http://{bookinfo.port('productpage', 9080)}"
    wait_for(f"{base}/health")
    bookinfo.compose("stop", "reviews-v1", "reviews-v2", "reviews-v3")
    page = get(f"{base}/productpage")
    assert "Sorry, product reviews are currently unavailable" in page
    assert "paperback" in page


def test_its_compose_file_has_no_line_about_the_mesh() -> None:
    for service in yaml.safe_load(FILE.read_text())["services"].values():
        assert set(service["labels"]) == {"app", "version"}
    assert "meshlite." not in FILE.read_text()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read().decode())


def wait_for(url: str, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            get(url)
            return
        except OSError:
            assert time.monotonic() < until, f"{url} does not answer"
            time.sleep(0.1)
