"""Which files on this node a secret is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Wanted:
    """The files of one secret. Where one has several places, the first that is there counts."""

    shown: str
    chain: tuple[Path, ...] = ()
    key: tuple[Path, ...] = ()
    roots: tuple[Path, ...] = ()
    revoked: tuple[Path, ...] = ()
    staple: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        return (*self.chain, *self.key, *self.roots, *self.revoked, *self.staple)
