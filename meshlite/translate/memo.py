"""Remembering: a value is made again only where what it was made from has changed.

A memory is a value that is handed from one run to the next; it saves work and changes no result. What keeps
that true: `make` is a function of its inputs alone, from the top of its module, never a closure; and nobody
asks whether two values are identical, since of equal ones any may be given.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar, TypeVarTuple, cast

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Kept(NamedTuple):
    """A value, what it was made by and from, and what was remembered while it was made."""

    make: Callable[..., Any] | None
    inputs: tuple[Any, ...]
    value: Any
    inner: Mapping[Hashable, Kept]


Memory = Mapping[Hashable, Kept]
"""What a run has made, by names that are unique within it."""

NOTHING: Memory = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Memo:
    """One run: `last` is the memory of the run before, `now` becomes the memory of this one.

    Inputs are the same if they are identical or equal, a `Looked` if it gives the same answers. A value that
    comes out equal to the last one is replaced by that one, so who builds on it finds it unchanged.
    """

    last: Memory = field(default_factory=dict)
    now: dict[Hashable, Kept] = field(default_factory=dict)
    shared: dict[Hashable, Any] = field(default_factory=dict)

    def of(self, name: Hashable, make: Callable[[*Ts], T], *inputs: *Ts) -> T:
        """`make(*inputs)`."""
        kept = self.last.get(name)
        if kept is None or kept.make is not make or not _same(kept.inputs, inputs):
            inner, value = NOTHING, _settled(kept, make(*inputs))
        else:
            value, inner = kept.value, kept.inner
        self.now[name] = Kept(make, inputs, value, inner)
        return cast(T, value)

    def within(self, name: Hashable, make: Callable[[Memo, *Ts], T], *inputs: *Ts) -> T:
        """`make(memo, *inputs)`, which may remember in turn: its memory is kept with its value."""
        kept = self.last.get(name)
        if kept is None or kept.make is not make or not _same(kept.inputs, inputs):
            memo = Memo(kept.inner if kept is not None else NOTHING, shared=self.shared)
            value = _settled(kept, make(memo, *inputs))
            inner: Memory = memo.now
        else:
            value, inner = kept.value, kept.inner
        self.now[name] = Kept(make, inputs, value, inner)
        return cast(T, value)

    def once(self, make: Callable[[*Ts], T], *inputs: *Ts) -> T:
        """`make(*inputs)`, shared by all of this run who want the same; not remembered by itself."""
        key = (make, inputs)
        if key not in self.shared:
            self.shared[key] = make(*inputs)
        return cast(T, self.shared[key])

    def same(self, name: Hashable, value: T) -> T:
        """`value`, or the equal one of the last time."""
        settled = _settled(self.last.get(name), value)
        self.now[name] = Kept(None, (), settled, NOTHING)
        return cast(T, settled)


class Looked(Mapping[K, V]):
    """A mapping of which only that is an input what is looked up in it. Made anew for each use."""

    __slots__ = ("_all", "_found", "_whole")

    def __init__(self, whole: Mapping[K, V]) -> None:
        self._whole, self._all = whole, False
        self._found: dict[K, V | None] = {}

    def __getitem__(self, key: K) -> V:
        self._found[key] = self._whole.get(key)
        return self._whole[key]

    def __iter__(self) -> Iterator[K]:
        self._all = True
        return iter(self._whole)

    def __len__(self) -> int:
        self._all = True
        return len(self._whole)

    def answers_as(self, other: Looked[K, V]) -> bool:
        """Whether `other` answers all that this one was asked in the same way; it then counts as asked."""
        if self._whole is not other._whole:
            if self._all and self._whole != other._whole:
                return False
            if not all(_equal(value, other._whole.get(key)) for key, value in self._found.items()):
                return False
        other._found, other._all = self._found, self._all
        return True


def _settled(kept: Kept | None, value: Any) -> Any:
    return kept.value if kept is not None and _equal(kept.value, value) else value


def _same(before: tuple[Any, ...], now: tuple[Any, ...]) -> bool:
    if len(before) != len(now):
        return False
    for one, other in zip(before, now, strict=True):
        if one is not other and not _equal(one, other):
            return False
    return True


def _equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if isinstance(one, Looked):
        return isinstance(other, Looked) and one.answers_as(other)
    return type(one) is type(other) and bool(one == other)
