"""Limits of requests that Envoy keeps by itself.

Source: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/local_rate_limit_filter
"""

from __future__ import annotations

from typing import Any

from meshlite.translate.envoy.schema import typed
from meshlite.translate.plan.listener import HttpChain

_CONFIG = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
_ALWAYS = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}


def limited(chain: HttpChain) -> list[dict[str, Any]]:
    """The filter that answers 429 to what is over the limit, and tells all how much is left."""
    limit = chain.limit
    if limit is None:
        return []
    bucket = {
        "max_tokens": limit.requests,
        "tokens_per_fill": limit.requests,
        "fill_interval": f"{limit.seconds}s",
    }
    config = {
        "stat_prefix": "meshlite",
        "token_bucket": bucket,
        "filter_enabled": _ALWAYS,
        "filter_enforced": _ALWAYS,
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
    }
    return [{"name": "meshlite.rate_limit", "typed_config": typed(_CONFIG, config)}]
