"""The table of what is missing is about fields that exist, and the reference page says what models say."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshlite.model import reference
from meshlite.model.fields import paths_of
from meshlite.model.kinds import KINDS, find, meant
from meshlite.model.support import GAPS, Gap, matches

PAGE = Path(__file__).parents[2] / "docs/reference/resources.md"


@pytest.mark.parametrize("gap", GAPS, ids=lambda gap: f"{gap.kind}:{gap.path}:{gap.status}")
def test_every_row_is_about_a_field_that_exists(gap: Gap) -> None:
    kind = find(gap.kind)
    assert kind is not None
    assert kind.spec is not None
    assert any(matches(gap, path) for path in paths_of(kind.spec))


def test_the_page_is_what_the_models_say() -> None:
    command = "python -m meshlite.model.reference docs/reference/resources.md"
    assert PAGE.read_text() == reference.page(), f"out of date: run {command}"


@pytest.mark.parametrize("text", ["VirtualService", "virtualservice", "VirtualServices", "VS"])
def test_a_kind_is_found_by_what_people_type(text: str) -> None:
    found = find(text)
    assert found is not None
    assert found.name == "VirtualService"


def test_names_of_kinds_are_not_shared() -> None:
    words = [word for kind in KINDS for word in set(kind.words)]
    assert {word for word in words if words.count(word) > 1} == {"gateway", "gateways"}
    assert [kind.group for kind in meant("gateways")] == ["networking.istio.io", "gateway.networking.k8s.io"]
    assert [kind.key for kind in meant("gtw")] == ["Gateway.gateway.networking.k8s.io"]
    assert [kind.key for kind in meant("gw")] == ["Gateway"]
    assert find("") is None
    assert find("pod") is None
