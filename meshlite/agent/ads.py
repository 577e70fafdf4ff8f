"""The delta-xDS state machine of one Envoy connection: requests and new resources in, responses out. No I/O.

Protocol: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol (incremental ADS).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

_TYPE = "type.googleapis.com/envoy."
CLUSTER = _TYPE + "config.cluster.v3.Cluster"
ENDPOINT = _TYPE + "config.endpoint.v3.ClusterLoadAssignment"
LISTENER = _TYPE + "config.listener.v3.Listener"
ROUTE = _TYPE + "config.route.v3.RouteConfiguration"
SECRET = _TYPE + "extensions.transport_sockets.tls.v3.Secret"

PUSH_ORDER = (CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET)
"""A reference is pushed after what it refers to, so traffic never meets a name that is not there yet."""

SHORT_NAMES = {CLUSTER: "CDS", ENDPOINT: "EDS", LISTENER: "LDS", ROUTE: "RDS", SECRET: "SDS"}

AFTER_CLUSTERS = (LISTENER, ROUTE)
"""Changes of these wait until Envoy acknowledges the clusters sent before, which it does when they are ready
to use: a route to a cluster that still waits for its endpoints answers 503."""

HOLD_SECONDS = 1.0
"""For so long at most: one cluster that does not get ready must not hold up all others."""

REMOVED_LATE = (CLUSTER, ENDPOINT)
"""Removed only when everything sent before is acknowledged: routes still on their way may name them."""

QUIET_SECONDS = 0.1
"""How long nothing must have happened before late removals go out."""

RETRY_SECONDS = (0.05, 5.0)
"""First and longest pause before a transiently rejected resource is sent again."""

_TRANSIENT = ("netns", "address already in use", "cannot bind", "network namespace")
"""Reasons that may pass without the resource changing: the namespace or the port is not there yet."""

_ABSENT = ""
_UNKNOWN = "?"
"""In place of a sent version: Envoy may or may not have it."""


class Encoded(Protocol):
    """One serialized resource; equal versions mean equal bytes."""

    @property
    def body(self) -> bytes: ...
    @property
    def version(self) -> str: ...


Wanted = Mapping[str, Mapping[str, Encoded]]
"""Type URL -> name -> resource: all that Envoy may ask for."""


@dataclass(frozen=True)
class Request:
    """A DeltaDiscoveryRequest; `error` is the text of its error_detail (empty: an ACK or a subscription)."""

    type_url: str
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial_versions: Mapping[str, str] = field(default_factory=dict)
    nonce: str = ""
    error: str = ""


@dataclass(frozen=True)
class Response:
    """A DeltaDiscoveryResponse."""

    type_url: str
    nonce: str
    resources: Mapping[str, Encoded] = field(default_factory=dict)
    removed: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.resources) + len(self.removed)


@dataclass(frozen=True)
class Rejection:
    """A resource version that Envoy refused; what it had before goes on serving.

    `retry_at`: when it is sent again although it did not change; None: it is not.
    """

    type_url: str
    name: str
    version: str
    reason: str
    since: float
    attempts: int = 1
    retry_at: float | None = None


@dataclass
class _Subscription:
    """What the Envoy of this stream asked for of one type, and which versions it was sent."""

    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    sent: dict[str, str] = field(default_factory=dict)

    def covers(self, name: str) -> bool:
        return self.wildcard or name in self.names

    def unsubscribe(self, names: Iterable[str]) -> None:
        self.wildcard = self.wildcard and "*" not in names
        self.names.difference_update(names)
        self.sent = {name: version for name, version in self.sent.items() if self.covers(name)}


class Stream:
    """One Envoy's connection. Every method returns the responses to send now, in order.

    `now` is any monotonic time in seconds. The caller calls `due` at `next_due` at the latest.
    """

    def __init__(self, wanted: Wanted, now: float = 0.0) -> None:
        self.rejected: dict[tuple[str, str], Rejection] = {}
        self._wanted = wanted
        self._subscriptions: dict[str, _Subscription] = {}
        self._in_flight: dict[str, Response] = {}
        self._nonce = 0
        self._last_event = now
        self._held_until: float | None = None
        self._newcomers_went = False
        self.opened: dict[str, float] = {}
        """Listeners that Envoy has acknowledged in any version, and when it first did."""

    # What goes in

    def received(self, request: Request, now: float) -> list[Response]:
        """Envoy subscribed, unsubscribed, acknowledged or refused."""
        if request.type_url not in PUSH_ORDER:
            return []
        self._last_event = now
        answered = self._in_flight.pop(request.nonce, None) if request.nonce else None
        responses: list[Response] = []
        if answered is not None and request.error:
            responses += self._refused(answered, request.error, now)
        elif answered is not None:
            self._accepted(answered, now)
        return responses + self._subscribe(request) + self._release(now)

    def publish(self, wanted: Wanted, now: float) -> list[Response]:
        """There is a new configuration: send what differs from what this Envoy was sent."""
        self._wanted = wanted
        self._last_event = now
        self._forget_settled_rejections()
        responses = self._push({k: self._changed(k) for k in PUSH_ORDER if k not in AFTER_CLUSTERS})
        if self._held_until is None:
            self._held_until = now + HOLD_SECONDS
        return responses + self._release(now)

    def due(self, now: float) -> list[Response]:
        """Time passed: send transiently refused resources again, then remove what nothing refers to."""
        responses = []
        for key, rejection in list(self.rejected.items()):
            if rejection.retry_at is not None and rejection.retry_at <= now:
                self.rejected[key] = replace(rejection, retry_at=None)
                responses += self._push({rejection.type_url: {rejection.name}})
        responses += self._release(now)
        if not responses and self.settled and now >= self._last_event + QUIET_SECONDS:
            responses += self._late_removals()
        if responses:
            self._last_event = now
        return responses

    # What can be seen from outside

    @property
    def next_due(self) -> float | None:
        """When `due` has something to do; None: not before the next event."""
        times = [r.retry_at for r in self.rejected.values() if r.retry_at is not None]
        if self._held_until is not None and not self.in_flight(LISTENER):
            times.append(self._held_until)
        if self.settled and any(self._removable(kind) for kind in REMOVED_LATE):
            times.append(self._last_event + QUIET_SECONDS)
        return min(times, default=None)

    @property
    def settled(self) -> bool:
        """Envoy has answered everything it was sent, and nothing is held back."""
        return not self._in_flight and self._held_until is None

    def in_flight(self, kind: str) -> bool:
        """Envoy was sent some of this type and has not answered yet."""
        return any(response.type_url == kind for response in self._in_flight.values())

    def asked(self, kind: str) -> frozenset[str]:
        """What this Envoy has asked for by name."""
        subscription = self._subscriptions.get(kind)
        return frozenset(subscription.names) if subscription is not None else frozenset()

    def counts(self) -> dict[str, dict[str, int]]:
        """Per short type name: how many resources are wanted, sent, acknowledged and rejected."""
        return {
            SHORT_NAMES[kind]: self._count(kind, subscription)
            for kind in PUSH_ORDER
            if (subscription := self._subscriptions.get(kind)) is not None
        }

    def _count(self, kind: str, subscription: _Subscription) -> dict[str, int]:
        sent = {name for name, version in subscription.sent.items() if version != _ABSENT}
        rejected = {name for type_url, name in self.rejected if type_url == kind}
        pending = {name for r in self._in_flight.values() if r.type_url == kind for name in r.resources}
        return {
            "wanted": len(self._wanted.get(kind, {})),
            "sent": len(sent),
            "acked": len(sent - rejected - pending),
            "rejected": len(rejected),
        }

    # How it decides

    def _subscribe(self, request: Request) -> list[Response]:
        kind, asked = request.type_url, set(request.subscribe) - {"*"}
        first = kind not in self._subscriptions
        subscription = self._subscriptions.setdefault(kind, _Subscription())
        everything = "*" in request.subscribe or (first and not asked)
        subscription.unsubscribe(request.unsubscribe)
        subscription.wildcard = subscription.wildcard or everything
        subscription.names |= asked
        wanted = self._wanted.get(kind, {})
        current: set[str] = set()
        if first and kind != ENDPOINT:
            # Endpoints are always sent anew: a cluster that was warming when the connection broke waits for
            # them, though Envoy claims to have them.
            subscription.sent = dict(request.initial_versions)
            current = asked - self._changed(kind)
        upserts = (asked & wanted.keys()) - current - self._refused_names(kind)
        upserts |= self._changed(kind) if first or everything else set()
        # Endpoints that do not exist end a cluster's warming at once; for routes and secrets Envoy ignores
        # a removal, so it keeps waiting for them.
        absent = asked - wanted.keys() if kind == ENDPOINT else set()
        empty = everything and not request.initial_versions
        return self._push({kind: upserts}, absent, empty, removing=first)

    def _changed(self, kind: str) -> set[str]:
        subscription = self._subscriptions.get(kind)
        if subscription is None:
            return set()
        return {
            name
            for name, resource in self._wanted.get(kind, {}).items()
            if subscription.covers(name) and subscription.sent.get(name, _ABSENT) != resource.version
        }

    def _removable(self, kind: str) -> set[str]:
        subscription = self._subscriptions.get(kind)
        if subscription is None:
            return set()
        wanted = self._wanted.get(kind, {})
        return {
            name for name, version in subscription.sent.items() if version != _ABSENT and name not in wanted
        }

    def _push(
        self,
        upserts: Mapping[str, Collection[str]],
        absent: Collection[str] = (),
        empty: bool = False,
        removing: bool = False,
    ) -> list[Response]:
        """One response per type, in push order.

        `absent` are endpoints to call missing; `empty` answers even where there is nothing to say; `removing`
        takes away listeners that are no longer wanted.
        """
        responses = []
        clusters = set(upserts.get(CLUSTER, ()))
        for kind in PUSH_ORDER:
            subscription = self._subscriptions.get(kind)
            if subscription is None:
                continue
            names, removed = set(upserts.get(kind, ())), set[str]()
            if kind == ENDPOINT:
                # A changed cluster warms until it hears of its endpoints again, and Envoy does not ask.
                again = clusters & subscription.names
                existing = self._wanted.get(kind, {}).keys()
                names |= (again & existing) - self._refused_names(kind)
                removed = set(absent) | (again - existing)
            if kind == LISTENER and removing:
                removed = self._removable(kind)
            if names or removed or (empty and kind in upserts):
                responses.append(self._response(kind, names, removed))
        return responses

    def _release(self, now: float) -> list[Response]:
        """Send what waited for clusters, once they are ready or have had their time.

        Envoy may work on listeners for long, and nothing is gained by sending more of them meanwhile: the
        newest follow when it has answered. Every other time, listeners that it does not have yet go ahead of
        those that change: a container waits for them before it starts.
        """
        if self._held_until is None or (now < self._held_until and self.in_flight(CLUSTER)):
            return []
        routes = self._changed(ROUTE)
        if self.in_flight(LISTENER):
            return self._push({ROUTE: routes})
        listeners = self._changed(LISTENER)
        sent = self._subscriptions[LISTENER].sent if listeners else {}
        newcomers = {name for name in listeners if sent.get(name, _ABSENT) == _ABSENT}
        self._newcomers_went = not self._newcomers_went and bool(newcomers) and newcomers != listeners
        if self._newcomers_went:
            return self._push({LISTENER: newcomers, ROUTE: routes}, removing=True)
        self._held_until = None
        return self._push({LISTENER: listeners, ROUTE: routes}, removing=True)

    def _late_removals(self) -> list[Response]:
        """Clusters first; Envoy then unsubscribes their endpoints itself, and what is left follows."""
        for kind in REMOVED_LATE:
            if removed := self._removable(kind):
                return [self._response(kind, (), removed)]
        return []

    def _response(self, kind: str, names: Collection[str], removed: Collection[str]) -> Response:
        subscription = self._subscriptions[kind]
        resources = {name: self._wanted[kind][name] for name in sorted(names)}
        for name, resource in resources.items():
            subscription.sent[name] = resource.version
        for name in removed:
            self.rejected.pop((kind, name), None)
            if kind == LISTENER:
                self.opened.pop(name, None)
            if name in subscription.names:
                subscription.sent[name] = _ABSENT
            else:
                subscription.sent.pop(name, None)
        self._nonce += 1
        response = Response(kind, str(self._nonce), resources, tuple(sorted(removed)))
        self._in_flight[response.nonce] = response
        return response

    # Acknowledged and refused

    def _accepted(self, response: Response, now: float) -> None:
        if response.type_url == LISTENER:
            self.opened = dict.fromkeys(response.resources, now) | self.opened
        for name, resource in response.resources.items():
            rejection = self.rejected.get((response.type_url, name))
            if rejection is not None and rejection.version == resource.version:
                del self.rejected[response.type_url, name]

    def _refused(self, response: Response, reason: str, now: float) -> list[Response]:
        """A refusal of several resources may have dropped good ones too: send each alone."""
        kind = response.type_url
        wanted = self._wanted.get(kind, {})
        current = [n for n, r in response.resources.items() if n in wanted and wanted[n].version == r.version]
        for name in response.resources.keys() - current:
            self._doubt(kind, name, response.resources[name].version)
        if len(response) > 1:
            gone = [name for name in response.removed if name not in wanted]
            alone = [self._response(kind, (), [name]) for name in gone]
            for name in current:
                alone += self._push({kind: [name]})
            return alone
        for name in current:
            self._reject(kind, name, wanted[name].version, reason, now)
        return []

    def _doubt(self, kind: str, name: str, version: str) -> None:
        """Forget that `version` was sent: were it wanted again, Envoy would need it again."""
        subscription = self._subscriptions[kind]
        if subscription.sent.get(name) == version:
            subscription.sent[name] = _UNKNOWN

    def _reject(self, kind: str, name: str, version: str, reason: str, now: float) -> None:
        before = self.rejected.get((kind, name))
        again = before is not None and before.version == version
        attempts = before.attempts + 1 if before is not None and again else 1
        first, longest = RETRY_SECONDS
        transient = any(word in reason.lower() for word in _TRANSIENT)
        self.rejected[kind, name] = Rejection(
            kind,
            name,
            version,
            reason,
            since=before.since if before is not None and again else now,
            attempts=attempts,
            retry_at=now + min(first * 2 ** (attempts - 1), longest) if transient else None,
        )

    def _refused_names(self, kind: str) -> set[str]:
        wanted = self._wanted.get(kind, {})
        return {
            name
            for (type_url, name), rejection in self.rejected.items()
            if type_url == kind and name in wanted and wanted[name].version == rejection.version
        }

    def _forget_settled_rejections(self) -> None:
        """A refusal speaks of one version: it is over when that version is no longer wanted."""
        for (kind, name), rejection in list(self.rejected.items()):
            resource = self._wanted.get(kind, {}).get(name)
            if resource is None or resource.version != rejection.version:
                del self.rejected[kind, name]
                self._doubt(kind, name, rejection.version)
