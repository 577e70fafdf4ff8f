"""Remembering: a value is made again only where what it was made from has changed.

A memory is a value that is handed from one run to the next; it saves work and changes no result. What keeps
that true: `make` is a function of its inputs alone, from the top of its module, never a closure; nobody asks
whether two values are identical, since of equal ones any may be given; and what was handed in stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar, TypeVarTuple, cast

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")
S = TypeVar("S")
Ts = TypeVarTuple("Ts")


class Kept(NamedTuple):
    """A value, what it was made by and from, and what was remembered while it was made."""

    make: Callable[..., Any] | None
    inputs: tuple[Any, ...]
    value: Any
    inner: Memory


class Series(NamedTuple):
    """The values of many items, what these were, and what all of them have in common.

    `asked`: by item, what was looked up in each `Looked` of `shared`; `inner`: what was remembered for each.
    """

    make: Callable[..., Any] | None
    shared: tuple[Any, ...]
    items: Mapping[Any, Any]
    values: Mapping[Any, Any]
    asked: Mapping[Any, tuple[Keys, ...]]
    inner: Mapping[Any, Memory]


Memory = Mapping[Hashable, Kept | Series]
"""What a run has made, by names that are unique within it."""

Keys = tuple[Any, ...] | None
"""What was looked up in a mapping; None: all of it."""

NOTHING: Memory = MappingProxyType({})
_NONE = Series(None, (), {}, {}, {}, {})
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Memo:
    """One run: `last` is the memory of the run before, `now` becomes the memory of this one.

    Inputs are the same if they are identical or equal, a `Looked` if it gives the same answers. A value that
    comes out equal to the last one is replaced by that one, so who builds on it finds it unchanged.
    """

    last: Memory = field(default_factory=dict)
    now: dict[Hashable, Kept | Series] = field(default_factory=dict)
    shared: dict[Hashable, Any] = field(default_factory=dict)

    def of(self, name: Hashable, make: Callable[[*Ts], T], *inputs: *Ts) -> T:
        """`make(*inputs)`."""
        kept = self._kept(name)
        if kept is None or kept.make is not make or not _same(kept.inputs, inputs):
            kept = Kept(make, inputs, _settled(kept, make(*inputs)), NOTHING)
        self.now[name] = Kept(make, inputs, kept.value, kept.inner)
        return cast(T, kept.value)

    def within(self, name: Hashable, make: Callable[[Memo, *Ts], T], *inputs: *Ts) -> T:
        """`make(memo, *inputs)`, which may remember in turn: its memory is kept with its value."""
        kept = self._kept(name)
        if kept is None or kept.make is not make or not _same(kept.inputs, inputs):
            memo = self._inner(kept.inner if kept is not None else NOTHING)
            kept = Kept(make, inputs, _settled(kept, make(memo, *inputs)), memo.now)
        self.now[name] = Kept(make, inputs, kept.value, kept.inner)
        return cast(T, kept.value)

    def each(
        self, name: Hashable, make: Callable[[S, *Ts], T], items: Mapping[K, S], *shared: *Ts
    ) -> Mapping[K, T]:
        """`make(item, *shared)` for each item, in their order; again only for items that have changed.

        As long as no value changes, it is the very same mapping. Many items cost little: prefer it to `of`
        in a loop.
        """
        last = self._series(name, make)
        stale = _stale(last, items, shared)
        made: dict[K, Any] = {}
        asked: dict[K, tuple[Keys, ...]] = {}
        for key in stale:
            own = tuple(one.anew() if isinstance(one, Looked) else one for one in shared)
            made[key] = make(items[key], *own)  # type: ignore[arg-type]
            looked = tuple(one.asked for one in own if isinstance(one, Looked))
            if looked:
                asked[key] = looked
        return self._keep(name, last, Series(make, shared, items, made, asked, {}))

    def each_within(
        self, name: Hashable, make: Callable[[Memo, S, *Ts], T], items: Mapping[K, S], *shared: *Ts
    ) -> Mapping[K, T]:
        """`each` of `make(memo, item, *shared)`, which may remember in turn; nothing `Looked`."""
        last = self._series(name, make)
        made: dict[K, Any] = {}
        inner: dict[K, Memory] = {}
        for key in _stale(last, items, shared):
            memo = self._inner(last.inner.get(key, NOTHING))
            made[key] = make(memo, items[key], *shared)
            if memo.now:
                inner[key] = memo.now
        return self._keep(name, last, Series(make, shared, items, made, {}, inner))

    def once(self, make: Callable[[*Ts], T], *inputs: *Ts) -> T:
        """`make(*inputs)`, shared by all of this run who want the same; not remembered by itself."""
        key = (make, inputs)
        if key not in self.shared:
            self.shared[key] = make(*inputs)
        return cast(T, self.shared[key])

    def same(self, name: Hashable, value: T) -> T:
        """`value`, or the equal one of the last time."""
        settled = _settled(self._kept(name), value)
        self.now[name] = Kept(None, (), settled, NOTHING)
        return cast(T, settled)

    def _kept(self, name: Hashable) -> Kept | None:
        kept = self.last.get(name)
        return kept if isinstance(kept, Kept) else None

    def _series(self, name: Hashable, make: Callable[..., Any]) -> Series:
        kept = self.last.get(name)
        return kept if isinstance(kept, Series) and kept.make is make else _NONE

    def _inner(self, last: Memory) -> Memo:
        return Memo(last, shared=self.shared)

    def _keep(self, name: Hashable, last: Series, fresh: Series) -> Mapping[Any, Any]:
        """Puts what was made anew in its place beside what stays."""
        before, made, items = last.values, fresh.values, fresh.items
        for key, value in made.items():
            if _equal(before.get(key, _ABSENT), value):
                made[key] = before[key]  # type: ignore[index]
        alike = _alike(last.items, items)
        values, asked, inner = before, last.asked, last.inner
        if not alike or any(made[key] is not before[key] for key in made):
            values = {key: made[key] if key in made else before[key] for key in items}
        if made or not alike:
            asked = {key: each for key, each in {**asked, **fresh.asked}.items() if key in items}
            inner = {key: each for key, each in {**inner, **fresh.inner}.items() if key in items}
        self.now[name] = Series(fresh.make, fresh.shared, items, values, asked, inner)
        return values


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

    @property
    def asked(self) -> Keys:
        return None if self._all else tuple(self._found)

    def anew(self) -> Looked[K, V]:
        """The same, not asked for anything yet."""
        return Looked(self._whole)

    def answers_as(self, other: Looked[K, V]) -> bool:
        """Whether `other` answers all that this one was asked in the same way; it then counts as asked."""
        if self._whole is not other._whole:
            if self._all and self._whole != other._whole:
                return False
            if not all(_equal(value, other._whole.get(key)) for key, value in self._found.items()):
                return False
        other._found, other._all = self._found, self._all
        return True

    def turned(self, other: Looked[K, V]) -> Collection[K]:
        """The keys that `other` answers differently, whether this one was asked or not."""
        if self._whole is other._whole:
            return ()
        return {*_changed(self._whole, other._whole), *(self._whole.keys() - other._whole.keys())}


def _stale(last: Series, items: Mapping[K, Any], shared: tuple[Any, ...]) -> list[K]:
    """The items whose values must be made again."""
    if len(last.shared) != len(shared) or last.make is None:
        return list(items)
    turned: list[Collection[Any]] = []
    for before, now in zip(last.shared, shared, strict=True):
        if isinstance(before, Looked) and isinstance(now, Looked):
            turned.append(before.turned(now))
        elif before is not now and not _equal(before, now):
            return list(items)
    stale = _changed(last.items, items)
    if any(turned):
        known = {*stale}
        stale += [
            key
            for key in items
            if key not in known
            and any(_concerns(keys, asked) for keys, asked in zip(turned, last.asked[key], strict=True))
        ]
    return stale


def _concerns(turned: Collection[Any], asked: Keys) -> bool:
    if asked is None:
        return bool(turned)
    return bool(turned) and any(key in turned for key in asked)


def _changed(before: Mapping[K, Any], now: Mapping[K, Any]) -> list[K]:
    """The keys of `now` that are new or have another value."""
    if before is now:
        return []
    get, absent = before.get, _ABSENT
    unlike = [key for key, value in now.items() if get(key, absent) is not value]
    return [key for key in unlike if not _equal(get(key, absent), now[key])]


def _alike(before: Mapping[Any, Any], now: Mapping[Any, Any]) -> bool:
    """Whether they have the same keys in the same order."""
    return before is now or (len(before) == len(now) and list(before) == list(now))


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
