"""By which names people may mean a workload."""

from __future__ import annotations

import pytest

from meshlite.model.called import called
from meshlite.model.workload import Workload

V1 = Workload(
    id="0123456789abcdef-7",
    node="n",
    name="shop-reviews-v1-1",
    service="reviews",
    namespace="shop",
    aliases=("reviews-v1", "0123456789ab"),
)
V2 = V1.model_copy(update={"id": "f" * 16, "name": "shop-reviews-v2-1", "aliases": ("reviews-v2", "web")})
WEB = V1.model_copy(update={"id": "e" * 16, "name": "shop-web-1", "service": "web", "aliases": ("web",)})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("reviews", (V1, V2)),
        ("reviews.shop", (V1, V2)),
        ("reviews.shop.svc", (V1, V2)),
        ("reviews.shop.mesh", (V1, V2)),
        ("reviews.shop.svc.cluster.local", (V1, V2)),
        ("reviews.other", ()),
        ("reviews-v1", (V1,)),
        ("shop-reviews-v2-1", (V2,)),
        ("0123456789ab", (V1,)),
        ("0123456789abcdef-7", (V1,)),
        ("0123456789", ()),
        ("web", (WEB,)),
        ("", ()),
    ],
)
def test_who_is_meant(name: str, meant: tuple[Workload, ...]) -> None:
    assert called(name, (V1, V2, WEB)) == meant
