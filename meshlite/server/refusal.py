"""A request that cannot be granted, in words for the person or program that made it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from meshlite.model.wire import Error


class Refusal(Exception):
    """Becomes the answer: its status and a `wire.Error`."""

    def __init__(
        self,
        status: HTTPStatus,
        error: str,
        hint: str = "",
        details: Iterable[Mapping[str, Any]] = (),
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(error)
        self.status = status
        self.headers = headers
        self.body = Error(error=error, hint=hint, details=tuple(dict(detail) for detail in details))
