"""Decides whom the identities in policies mean, in a mesh that may have had other trust domains before.

Source: https://istio.io/latest/docs/tasks/security/authorization/authz-td-migration/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from meshlite.translate.plan.condition import Principal, Test, any_of
from meshlite.translate.plan.route import Text

_LOCAL = "cluster.local"
"""Stands for the mesh's own trust domain in policies, whatever that is called."""

_SCHEME = "spiffe://"
_PARTS = 5


@dataclass(frozen=True, slots=True)
class Trust:
    """The mesh's trust domain, and others that mean the same."""

    domain: str = _LOCAL
    aliases: tuple[str, ...] = ()

    @property
    def domains(self) -> tuple[str, ...]:
        return (self.domain, *self.aliases)

    def principal(self, written: str) -> Test:
        """`td/ns/N/sa/A`, with `*` at an end, or `*` for anybody of the mesh."""
        return any_of(*(Principal(_principal(one)) for one in dict.fromkeys(self._meant(written))))

    def _meant(self, written: str) -> Iterator[str]:
        domain, _, rest = written.partition("/")
        known = domain == _LOCAL or any(_fits(domain, one) for one in self.domains)
        if written == "*" or written.count("/") != _PARTS - 1 or not known:
            yield written
            return
        for one in self.domains:
            yield written if domain.startswith("*") and _fits(domain, one) else f"{one}/{rest}"

    def trust_domain(self, written: str) -> Test:
        """A trust domain, with `*` at an end."""
        known = "*" not in written and written in (_LOCAL, *self.domains)
        wanted = self.domains if known else (written,)
        return any_of(*(Principal(_of_domain(one)) for one in dict.fromkeys(wanted)))


def namespace(written: str) -> Test:
    """Everybody of a namespace; `*` is anything within the name."""
    if "*" not in written:
        return Principal(Text("contains", f"/ns/{written}/"))
    return Principal(Text("regex", f".*/ns/{_globbed(written, '.*')}/.*"))


def account(written: str, own: str) -> Test:
    """A service account as `namespace/account`, or `account` of the policy's `own` namespace."""
    place, slash, name = written.rpartition("/")
    return Principal(Text("suffix", f"/ns/{place if slash else own}/sa/{name}"))


def _principal(written: str) -> Text:
    if written == "*":
        return Text("present")
    if written.startswith("*"):
        return Text("regex", f"{_SCHEME}.*{re.escape(written[1:])}")
    if written.endswith("*"):
        return Text("prefix", f"{_SCHEME}{written[:-1]}")
    return Text("exact", f"{_SCHEME}{written}")


def _of_domain(written: str) -> Text:
    if written == "*":
        return Text("present")
    if "*" in written:
        return Text("regex", f"{_SCHEME}{_globbed(written, '[^/]*')}/.*")
    return Text("prefix", f"{_SCHEME}{written}/")


def _globbed(written: str, anything: str) -> str:
    return anything.join(re.escape(part) for part in written.split("*"))


def _fits(pattern: str, domain: str) -> bool:
    if pattern.startswith("*"):
        return domain.endswith(pattern[1:])
    return pattern == domain or (pattern.endswith("*") and domain.startswith(pattern[:-1]))
