"""AuthorizationPolicy: who may do what at a workload.

Source: https://istio.io/latest/docs/reference/config/security/authorization-policy/
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from meshlite.model.message import Message
from meshlite.model.scalars import by_number
from meshlite.model.selector import PolicyTargetReference, WorkloadSelector

_Action = Literal["ALLOW", "DENY", "AUDIT", "CUSTOM"]
Action = Annotated[_Action, by_number(_Action)]
Values = tuple[str, ...]
"""Any of them: a word, `prefix*`, `*suffix`, or `*` for presence."""
Accounts = Annotated[tuple[str, ...], Field(max_length=16)]
"""`namespace/account`, or `account` of the policy's own namespace; without wildcards."""


class Source(Message):
    """Fields are ANDed, values of a field ORed; `not_` forms exclude. IP blocks are addresses or CIDRs."""

    principals: Values = ()
    not_principals: Values = ()
    request_principals: Values = ()
    not_request_principals: Values = ()
    namespaces: Values = ()
    not_namespaces: Values = ()
    service_accounts: Accounts = ()
    not_service_accounts: Accounts = ()
    ip_blocks: Values = ()
    not_ip_blocks: Values = ()
    remote_ip_blocks: Values = ()
    not_remote_ip_blocks: Values = ()
    trust_domains: Values = ()
    not_trust_domains: Values = ()


class Operation(Message):
    """Fields are ANDed, values of a field ORed. `ports` are numbers as text; paths may hold {*} and {**}."""

    hosts: Values = ()
    not_hosts: Values = ()
    ports: Values = ()
    not_ports: Values = ()
    methods: Values = ()
    not_methods: Values = ()
    paths: Values = ()
    not_paths: Values = ()


class From(Message):
    source: Source


class To(Message):
    operation: Operation


class Condition(Message):
    """An attribute's `key`, e.g. `request.headers[x-token]`; any of `values` and none of `not_values`."""

    key: str
    values: Values = ()
    not_values: Values = ()


class Rule(Message):
    """Some source, some operation and every condition must match; an empty rule matches everything."""

    from_: Annotated[tuple[From, ...], Field(max_length=512)] = ()
    to: tuple[To, ...] = ()
    when: tuple[Condition, ...] = ()


class ExtensionProvider(Message):
    name: str = ""


class AuthorizationPolicy(Message):
    """No rules match nothing, so that an ALLOW without rules denies everything."""

    selector: WorkloadSelector | None = None
    target_ref: PolicyTargetReference | None = None
    target_refs: Annotated[tuple[PolicyTargetReference, ...], Field(max_length=16)] = ()
    rules: Annotated[tuple[Rule, ...], Field(max_length=512)] = ()
    action: Action = "ALLOW"
    provider: ExtensionProvider | None = None
