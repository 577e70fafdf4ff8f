"""Messages on joining, certificates and the roots that sign them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from meshlite.model.workload import Frozen

_Csr = Annotated[str, Field(description="PEM, ECDSA P-256; subject and names are ignored")]
_Time = Annotated[float, Field(description="seconds since 1970")]


class JoinRequest(Frozen):
    """POST /v1/nodes/join: a new node asks for its certificate. `address`: where other nodes reach it."""

    node: str
    token: str = Field(repr=False)
    csr: _Csr
    address: str = ""


class SignRequest(Frozen):
    """POST /v1/certificates: a node asks for a workload's certificate (identity as SPIFFE URI)."""

    identity: str
    csr: _Csr


class RenewRequest(Frozen):
    """POST /v1/nodes/{node}/certificate: a node renews its own certificate."""

    csr: _Csr


class Certificate(Frozen):
    """A signed chain (PEM, leaf first), the trust bundle (PEM roots), and the times in seconds since 1970.

    `signer`: see model.mesh.Trust; empty: of a server that does not say.
    """

    chain: str
    roots: str
    not_before: float
    not_after: float
    identity: str
    signer: str = ""


class Authority(Frozen):
    """GET /v1/ca: the roots (PEM) that every certificate of the mesh chains to.

    `former`: roots that count no more; the server's chain leads to them too, for those who know no newer one.
    """

    roots: str
    trust_domain: str
    former: str = ""


class CaCertificate(Frozen):
    """An authority. `path`: names of those above it, the root last; none: it is the root itself."""

    subject: str
    sha256: str = Field(description="of the DER, hex: what certificates call their signer")
    root: str = Field(description="SHA-256 of its root: the pin that tokens carry")
    key: str = Field(description="what it signs with, e.g. ECDSA secp256r1")
    not_before: _Time
    not_after: _Time
    path: tuple[str, ...] = ()


class FormerRoot(Frozen):
    """`trusted`: certificates below it still count; else only tokens name it."""

    subject: str
    sha256: str
    not_after: _Time
    trusted: bool


DependentKind = Literal["node", "token", "access"]


class Dependent(Frozen):
    """Who still needs things as they are, and what to do about it."""

    kind: DependentKind
    name: str
    why: str


RotationStep = Literal["announce", "sign", "drop", "cancel"]


class Authorities(Frozen):
    """GET /v1/authorities. `next`: the step that a rotation takes next; `waiting`: what is in its way."""

    phase: Literal["steady", "announced", "signing"]
    signing: CaCertificate
    coming: CaCertificate | None
    former: tuple[FormerRoot, ...]
    next: RotationStep
    waiting: tuple[Dependent, ...]


class RotationRequest(Frozen):
    """POST /v1/authorities/rotation. `without`: nodes that are not waited for; they have to join anew."""

    step: RotationStep
    without: tuple[str, ...] = ()


class ImportRequest(Frozen):
    """POST /v1/authorities/import, on the local socket only: an own authority (PEM) to announce."""

    certificate: str
    key: str = Field(repr=False)
    chain: str = ""


class Issued(Frozen):
    """A leaf certificate that the server signed; the server never has its key."""

    serial: str = Field(description="hex")
    identity: str
    node: str
    not_before: _Time
    not_after: _Time
    signer: str = Field(default="", description="SHA-256 of the certificate that signed it; empty: not known")


class Certificates(Frozen):
    """GET /v1/certificates: those not yet expired, newest first.

    `chains`: names of what is above a certificate, by its signer; the root last.
    """

    certificates: tuple[Issued, ...]
    chains: dict[str, tuple[str, ...]] = {}
