"""Messages on who may join and who may ask: tokens of nodes and of people."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from meshlite.model.workload import Frozen

_Time = Annotated[float, Field(description="seconds since 1970")]


class TokenRequest(Frozen):
    """POST /v1/tokens: let somebody join.

    `namespaces`: the only ones the node may speak for, and then it may get any identity in them. None: any
    namespace, but it gets only identities of workloads that it reports. `node`: only a node of this name may
    join with it, also in place of one that joined before (a reinstalled host).
    """

    namespaces: tuple[str, ...] | None = None
    ttl_seconds: float = Field(default=3600.0, gt=0, le=30 * 86400)
    uses: int = Field(default=1, ge=1, le=10_000)
    node: str = ""


class Token(Frozen):
    """`token` is shown this once: "<secret>.<sha256 of the root certificate's DER, hex>"."""

    token: str = Field(repr=False)
    expires: _Time
    id: str = Field(description="its name in lists and for revoking; no secret")


class JoinToken(Frozen):
    """A join token as lists show it. `uses`: how often it may still be used."""

    id: str
    namespaces: tuple[str, ...] | None = Field(description="see TokenRequest; null: any")
    node: str = Field(description="only a node of this name; empty: any")
    uses: int
    expires: _Time
    created: _Time = Field(description="0: by a version that did not keep it")
    author: str


class JoinTokens(Frozen):
    """GET /v1/tokens: those that can still be used, the newest first."""

    tokens: tuple[JoinToken, ...]


PersonRole = Literal["viewer", "operator", "admin"]


class AccessRequest(Frozen):
    """POST /v1/access: let a person, or a program that acts for people, call from elsewhere.

    viewer: look; operator: change resources, too; admin: tokens and nodes, too.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._@-]{0,61}[A-Za-z0-9])?$")
    role: PersonRole
    ttl_seconds: float = Field(default=30 * 86400.0, gt=0, le=366 * 86400)


class Access(Frozen):
    """Somebody's access as lists show it."""

    name: str
    role: PersonRole
    expires: _Time
    created: _Time
    author: str


class Accesses(Frozen):
    """GET /v1/access: those that have not expired, by name."""

    access: tuple[Access, ...]


class AccessToken(Frozen):
    """`token` is shown this once; it is sent as `Authorization: Bearer <token>`; its form is Token's."""

    token: str = Field(repr=False)
    access: Access
