"""Certificates that users bring: files on this node, given to Envoy by SDS and read again when they change.

What is asked for by a secret's name (see translate/plan/secret.py) is a file, or a credential: a folder
`<namespace>/<name>` with the files of a Kubernetes TLS secret. Keys go to Envoy alone, never into a message.
Source: https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/#key-formats
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from meshlite.agent.wanted_files import Wanted
from meshlite.model.mesh import Problem
from meshlite.model.names import ROOT_ALIASES, ROOT_NAMESPACE
from meshlite.model.rules import forms
from meshlite.translate.envoy import schema
from meshlite.translate.plan import secret
from meshlite.translate.translation import Encoded
from meshlite.watch import Watch

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often files are looked at; they are read only when they have changed."""

CHAIN, KEY, ROOTS = ("tls.crt", "cert"), ("tls.key", "key"), ("ca.crt", "cacert")
REVOKED, STAPLE = ("ca.crl", "crl"), ("tls.ocsp-staple",)
"""Files of a credential; the second name is that of a generic secret."""


TRUSTED = tuple(
    map(Path, ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"))
)
"""Where systems keep those whom they trust."""


def wanted(name: str, folder: Path) -> Wanted | str | None:
    """What a secret's name stands for; a string says why it cannot be had, None: it is nothing of ours."""
    if name.startswith(secret.FILE):
        chain, _, key = name.removeprefix(secret.FILE).partition("~")
        return Wanted(f"certificate {chain}", chain=(Path(chain),), key=(Path(key),))
    if name.startswith(secret.FILE_ROOTS):
        roots, _, revoked = name.removeprefix(secret.FILE_ROOTS).partition("~")
        lists = (Path(revoked),) if revoked else ()
        if roots == secret.SYSTEM:
            return Wanted("the certificates that the system trusts", roots=TRUSTED, revoked=lists)
        return Wanted(f"certificates {roots}", roots=(Path(roots),), revoked=lists)
    scheme, separator, rest = name.partition("://")
    if not separator or scheme not in ("kubernetes", "kubernetes-gateway"):
        return None
    return _credential(rest, folder)


def _credential(name: str, folder: Path) -> Wanted | str:
    space, _, last = name.rpartition("/")
    space = space or ROOT_NAMESPACE
    if reason := forms.namespace(space) or forms.object_name(last):
        return f"credential {name}: {reason}"
    homes = [folder / space]
    if space == ROOT_NAMESPACE or space in ROOT_ALIASES:
        homes = [folder / one for one in (ROOT_NAMESPACE, *sorted(ROOT_ALIASES))]

    def places(name: str, files: Iterable[str]) -> tuple[Path, ...]:
        return tuple(home / name / file for home in homes for file in files)

    shown = f"credential {space}/{last}"
    if not last.endswith(secret.ROOTS):
        return Wanted(shown, chain=places(last, CHAIN), key=places(last, KEY), staple=places(last, STAPLE))
    names = (last, last.removesuffix(secret.ROOTS))
    return Wanted(
        shown,
        roots=tuple(place for one in names for place in places(one, ROOTS)),
        revoked=tuple(place for one in names for place in places(one, REVOKED)),
    )


Stamp = tuple[tuple[int, int, int] | None, ...]
"""How files were when they were read: time, number and size of each, None for one that is not there."""


def stamp(found: Wanted) -> Stamp:
    return tuple(_stamp(path) for path in found.files)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_mtime_ns, info.st_ino, info.st_size


@dataclass(frozen=True)
class Held:
    """A secret as it was read last; where the files have become bad, what they were before."""

    stamp: Stamp
    secret: Encoded | None = None
    problem: str = ""


@dataclass
class Credentials:
    """Reads what Envoy asks for. `held` changes with every file that does."""

    folder: Path
    held: Watch[Mapping[str, Held]] = field(default_factory=lambda: Watch[Mapping[str, Held]]({}))

    @property
    def secrets(self) -> dict[str, Encoded]:
        return {name: held.secret for name, held in self.held.value.items() if held.secret is not None}

    def problems_of(self, resources: Mapping[str, Mapping[str, Encoded]]) -> tuple[Problem, ...]:
        """Of secrets that these name. Envoy asks for one as long as a listener that named it drains."""
        named = {
            name
            for name, held in self.held.value.items()
            if held.problem
            and any(name.encode() in one.body for group in resources.values() for one in group.values())
        }
        return self._problems(named)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Of all that Envoy asks for."""
        return self._problems(self.held.value)

    def _problems(self, names: Iterable[str]) -> tuple[Problem, ...]:
        held = (self.held.value[name] for name in names)
        found = {one.problem for one in held if one.problem}
        return tuple(
            Problem(resource=resource, reason=reason.strip())
            for resource, _, reason in (problem.partition(":") for problem in sorted(found))
        )

    async def run(self, asked: Watch[frozenset[str]]) -> None:
        """Follow what is asked for, and the files; ends only when cancelled."""
        while True:
            names = asked.value
            self.held.set(await asyncio.to_thread(self.look, names, self.held.value))
            try:
                async with asyncio.timeout(LOOK_SECONDS if self.held.value else None):
                    await asked.next(names)
            except TimeoutError:
                pass

    def look(self, names: frozenset[str], before: Mapping[str, Held]) -> Mapping[str, Held]:
        """All that is asked for; files that have not changed are not read again."""
        found: dict[str, Held] = {}
        for name in sorted(names):
            one = wanted(name, self.folder)
            if isinstance(one, str):
                found[name] = Held((), problem=one)
            elif one is not None:
                last = before.get(name)
                now = stamp(one)
                found[name] = last if last is not None and last.stamp == now else _held(name, one, now, last)
        return found


def _held(name: str, found: Wanted, now: Stamp, last: Held | None) -> Held:
    # What reads them takes 10 MB of memory, and most nodes have none.
    from meshlite.agent.secret_files import Unreadable, content

    former = last.secret if last is not None else None
    try:
        fields, warning = content(found, datetime.now(UTC))
    except Unreadable as error:
        rest = "what it was before is served on" if former is not None else "it is not served"
        log.warning("%s: %s; %s", found.shown, error, rest)
        return Held(now, former, f"{found.shown}: {error}; {rest}")
    body = schema.encode(schema.SECRET, {"name": name, **fields})
    return Held(now, Encoded.of(body), f"{found.shown}: {warning}" if warning else "")
