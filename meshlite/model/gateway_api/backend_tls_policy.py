"""BackendTLSPolicy: TLS from the mesh to a service that wants it.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#backendtlspolicy
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from meshlite.model.gateway_api.forms import URI, Hostname, PreciseHostname, Text
from meshlite.model.gateway_api.references import LocalObjectReference, PolicyTargetReference
from meshlite.model.message import Message


class SubjectAltName(Message):
    type: Literal["Hostname", "URI"]
    hostname: Hostname | None = None
    uri: URI | None = None


class BackendTLSPolicyValidation(Message):
    """`hostname`: the server name asked for; the certificate's too, unless `subject_alt_names` are given."""

    ca_certificate_refs: Annotated[tuple[LocalObjectReference, ...], Field(max_length=8)] = ()
    well_known_ca_certificates: Annotated[
        str, Field(min_length=1, max_length=253, alias="wellKnownCACertificates")
    ] = ""
    hostname: PreciseHostname
    subject_alt_names: Annotated[tuple[SubjectAltName, ...], Field(max_length=5)] = ()


class BackendTLSPolicy(Message):
    target_refs: Annotated[tuple[PolicyTargetReference, ...], Field(min_length=1, max_length=16)]
    validation: BackendTLSPolicyValidation
    options: Annotated[dict[str, Text], Field(max_length=16)] = {}
