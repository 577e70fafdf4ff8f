"""Rules of a VirtualService that can never match, as Istio finds them: IST0130 and IST0131.

Source: https://istio.io/latest/docs/reference/config/analysis/ist0130/ and ist0131
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from meshlite.model.faults import Fault, field
from meshlite.model.located import Path
from meshlite.model.message import Message
from meshlite.model.networking.http_route import HTTPRoute
from meshlite.model.networking.match import HTTPMatchRequest, StringMatch
from meshlite.model.networking.virtual_service import TCPRoute, TLSRoute

UNREACHABLE = "IST0130"
INEFFECTIVE = "IST0131"


def unreachable(rules: Sequence[HTTPRoute | TLSRoute | TCPRoute], at: Path) -> Iterator[Fault]:
    """Rules behind one that takes everything, matches that stand twice, prefixes behind a shorter one."""
    open_rule: int | None = None
    seen: dict[str, Path] = {}
    prefixes: list[tuple[Path, HTTPMatchRequest]] = []
    for place, rule in enumerate(rules):
        if not rule.match:
            if open_rule is not None:
                yield _behind((*at, place), (*at, open_rule))
            open_rule = place
            continue
        repeated = 0
        for number, match in enumerate(rule.match):
            here = (*at, place, "match", number)
            written = _written(match)
            if open_rule is not None:
                yield _behind((*at, place), (*at, open_rule))
            elif written in seen:
                repeated += 1
                yield _warning(here, f"has no effect: it repeats {field(seen[written])}", INEFFECTIVE)
            else:
                seen[written] = here
                if isinstance(match, HTTPMatchRequest) and match.uri and match.uri.prefix:
                    prefixes.append((here, match))
        if repeated == len(rule.match):
            yield _warning(
                (*at, place), "is never reached: rules before it have all its matches", UNREACHABLE
            )
    yield from _shadowed(prefixes)


def _behind(at: Path, open_rule: Path) -> Fault:
    reason = f"is never reached: {field(open_rule)} has no match and takes everything"
    return _warning(at, reason, UNREACHABLE)


def _warning(at: Path, reason: str, code: str) -> Fault:
    return Fault(at, reason, warning=True, code=code)


def _shadowed(prefixes: Sequence[tuple[Path, HTTPMatchRequest]]) -> Iterator[Fault]:
    for number, (at, wide) in enumerate(prefixes):
        for below, narrow in prefixes[number + 1 :]:
            if _prefix(narrow) != _prefix(wide) and _covers(wide, narrow):
                reason = f"has no effect: {field(at)} takes every path that starts with {_prefix(wide)}"
                yield _warning(below, reason, INEFFECTIVE)


def _prefix(match: HTTPMatchRequest) -> str:
    return (match.uri.prefix or "") if match.uri else ""


def _covers(wide: HTTPMatchRequest, narrow: HTTPMatchRequest) -> bool:
    """As far as Istio looks: a longer prefix, and the same demands else. No method counts as GET."""
    same = (
        (_said(wide.method) or "exact:GET", _said(narrow.method) or "exact:GET"),
        (_said(wide.authority), _said(narrow.authority)),
    )
    return (
        _prefix(narrow).startswith(_prefix(wide))
        and wide.port == narrow.port
        and all(one.startswith(other) for one, other in same)
        and _alike(wide.headers, narrow.headers)
        and _alike(wide.query_params, narrow.query_params)
        and _alike(wide.without_headers, narrow.without_headers)
    )


def _alike(wide: dict[str, StringMatch], narrow: dict[str, StringMatch]) -> bool:
    return wide.keys() == narrow.keys() and all(
        _said(wide[name]).startswith(_said(narrow[name])) for name in wide
    )


def _said(match: StringMatch | None) -> str:
    if match is None:
        return ""
    return f"exact:{match.exact}" if match.exact else f"prefix:{match.prefix}" if match.prefix else ""


def _written(match: Message) -> str:
    """What a match says, whatever its name."""
    return match.model_copy(
        update={"name": ""} if isinstance(match, HTTPMatchRequest) else {}
    ).model_dump_json()
