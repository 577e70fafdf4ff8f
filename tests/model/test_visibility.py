"""Who sees what, and which of several namesakes a caller means."""

from __future__ import annotations

import pytest

from meshlite.model.names import fqdn
from meshlite.model.visibility import seen, visible
from tests.model.external import declared, entry

WEB = "hosts: [HOST]\nports: [{number: 80, name: http, protocol: HTTP}]\nexportTo: [TO]"


@pytest.mark.parametrize(
    ("export_to", "shop", "other"),
    [
        ((), True, True),
        (("*",), True, True),
        ((".",), True, False),
        (("other",), False, True),
        ((".", "other"), True, True),
        (("~",), False, False),
    ],
)
def test_export_to(export_to: tuple[str, ...], shop: bool, other: bool) -> None:
    assert visible(export_to, "shop", "shop") is shop
    assert visible(export_to, "shop", "other") is other


def test_istios_root_namespace_is_ours() -> None:
    assert visible(("istio-system",), "shop", "meshlite-system")


def meant(namespace: str, *services: str, host: str = "api.example.com") -> list[str]:
    """Which of three entries for one host a caller means: of shop, for all; of a, for all; of b, private."""
    text = WEB.replace("HOST", host)
    everybody, own = text.replace("TO", "'*'"), text.replace("TO", "'.'")
    externals, _ = declared(entry(everybody), entry(everybody, "a"), entry(own, "b"))
    return [one.namespace for one in seen(externals, services, namespace)]


@pytest.mark.parametrize(("namespace", "owner"), [("shop", "shop"), ("a", "a"), ("b", "b"), ("c", "shop")])
def test_the_own_namespaces_entry_counts_then_the_first_applied(namespace: str, owner: str) -> None:
    assert meant(namespace) == [owner]


@pytest.mark.parametrize(("namespace", "owners"), [("shop", []), ("a", ["a"]), ("b", ["b"]), ("c", [])])
def test_a_service_of_the_mesh_comes_before_entries_of_other_namespaces(
    namespace: str, owners: list[str]
) -> None:
    reviews = fqdn("reviews", "shop")
    assert meant(namespace, reviews, host=reviews) == owners
