"""What a translation yields: encoded Envoy resources, what is wrong, and the kernel's part of policy."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from meshlite.model.mesh import Problem
from meshlite.translate.node import Module
from meshlite.translate.plan.authentication import StrictPolicy


@dataclass(frozen=True)
class Encoded:
    """A serialized resource (not wrapped in Any) and a hash of it: equal versions mean equal bytes."""

    body: bytes
    version: str

    @classmethod
    def of(cls, body: bytes) -> Encoded:
        return cls(body, hashlib.blake2b(body, digest_size=8).hexdigest())


@dataclass(frozen=True)
class Translation:
    """The complete configuration of one node.

    `resources`: type URL -> resource name -> bytes; every type translate makes is there, also when empty.
    `gateways`: names of listeners that Gateways ask for -> keys of these.
    `strict`: attachment key -> which ports refuse strangers; one entry for each attachment.
    `modules`: what the node must have for filters.
    """

    resources: Mapping[str, Mapping[str, Encoded]]
    problems: tuple[Problem, ...] = ()
    strict: Mapping[str, StrictPolicy] = field(default_factory=dict)
    gateways: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    modules: tuple[Module, ...] = ()
