"""The option `--jwt-claim`: what a request's token says, for verbs that tell what would happen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def claim_option(command: F) -> F:
    option = click.option(
        "--jwt-claim",
        "claims",
        multiple=True,
        metavar="NAME=VALUE",
        help="The request carries a good token that says so; may be repeated. a[b]=x is nested.",
    )
    return option(command)


def claimed(given: Sequence[str]) -> dict[str, Any] | None:
    """The claims of the token; a name given twice is a list. None: there is no token."""
    claims: dict[str, Any] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not (name and sign):
            raise click.UsageError(f"--jwt-claim {text}: write NAME=VALUE")
        *path, last = name.replace("]", "").split("[")
        place = claims
        for key in path:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise click.UsageError(f"--jwt-claim {text}: {key} is a text already")
        if last not in place:
            place[last] = value
        elif isinstance(place[last], list):
            place[last].append(value)
        else:
            place[last] = [place[last], value]
    return claims if given else None
