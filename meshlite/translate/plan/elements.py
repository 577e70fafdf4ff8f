"""Routes as Gateway API means them: prefixes of whole path elements, and 500 where a backend is not there.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#httppathmodifier
"""

from __future__ import annotations

import re
from dataclasses import replace

from meshlite.translate.plan.route import Forward, Redirect, Route, Text

_NO_BACKEND = 500
_ROOT = "/"


def by_element(route: Route) -> Route:
    """The route, rewriting so that a slash stays where `/a` becomes `/` or `/` becomes `/a`, and one only."""
    taken = route.action
    if isinstance(taken, Forward):
        taken = replace(taken, missing=_NO_BACKEND)
    if not (isinstance(taken, Forward | Redirect) and taken.prefix):
        return replace(route, action=taken)
    pattern = _pattern(route.match.path, taken.prefix)
    if pattern:
        whole = "/" if taken.prefix == _ROOT else f"{taken.prefix}/"
        substitution = whole.replace("\\", r"\\")
        taken = replace(taken, prefix="", pattern=pattern, substitution=substitution)
    return replace(route, action=taken)


def _pattern(matched: Text, prefix: str) -> str:
    """What to replace where replacing the matched prefix alone would not do; empty where it does."""
    if matched.kind == "elements" and prefix == _ROOT:
        return f"^{re.escape(matched.value)}/?"
    return f"^{_ROOT}" if matched == Text("prefix", _ROOT) and prefix != _ROOT else ""
