"""ProxyConfig: how a workload's proxy is run.

Source: https://istio.io/latest/docs/reference/config/networking/proxy-config/
"""

from __future__ import annotations

from meshlite.model.message import Message
from meshlite.model.scalars import Count
from meshlite.model.selector import WorkloadSelector


class ProxyImage(Message):
    image_type: str = ""


class ProxyConfig(Message):
    """`concurrency`: worker threads, 0 for one on each core. ISTIO_META_ variables are node metadata."""

    selector: WorkloadSelector | None = None
    concurrency: Count | None = None
    environment_variables: dict[str, str] = {}
    image: ProxyImage | None = None
