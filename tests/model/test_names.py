"""Names that services answer to, and what a name in a resource means."""

from __future__ import annotations

import pytest

from meshlite.model.names import answers, fqdn, resolve, resolve_known

REVIEWS = fqdn("reviews", "shop")
ROOT = fqdn("gate", "meshlite-system")


def test_a_service_answers_to_its_names() -> None:
    others = ("reviews.shop", "reviews.shop.svc", REVIEWS, "reviews.shop.mesh")
    assert answers(REVIEWS, "shop") == ("reviews", *others)
    assert answers(REVIEWS, "other") == others


def test_the_root_namespace_has_istios_name_too() -> None:
    names = answers(ROOT, "shop")
    assert {"gate.meshlite-system", "gate.istio-system", "gate.istio-system.svc.cluster.local"} <= {*names}
    assert "gate" not in names


@pytest.mark.parametrize("host", ["api.example.com", "localhost", "*.example.com", "a.b.c.svc.cluster.local"])
def test_outside_names_answer_to_themselves(host: str) -> None:
    assert answers(host, "shop") == (host,)


@pytest.mark.parametrize(
    "host", ["gate.istio-system.svc", "gate.istio-system.mesh", "gate.istio-system.svc.cluster.local", ROOT]
)
def test_a_name_below_istios_root_namespace_means_ours(host: str) -> None:
    assert resolve(host, "shop") == ROOT
    assert resolve_known("gate.istio-system", "shop", {ROOT}) == ROOT


@pytest.mark.parametrize(
    ("host", "known", "meant"),
    [
        ("reviews.shop", {REVIEWS}, REVIEWS),
        ("example.com", {"example.com"}, "example.com"),
        ("DB", {"db"}, "db"),
        ("reviews", {REVIEWS, "reviews"}, REVIEWS),
        ("nobody", {REVIEWS}, fqdn("nobody", "shop")),
        ("*.example.com", {"*.example.com"}, "*.example.com"),
    ],
)
def test_a_name_in_a_resource(host: str, known: set[str], meant: str) -> None:
    assert resolve_known(host, "shop", known) == meant
