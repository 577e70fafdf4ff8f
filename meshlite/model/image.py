"""Names of images in registries, as Docker reads them.

Source: https://pkg.go.dev/github.com/distribution/reference
"""

from __future__ import annotations

from dataclasses import dataclass

DOCKER = "docker.io"
"""The registry of images that name none."""


@dataclass(frozen=True)
class Image:
    """`reference`: a tag or a digest."""

    registry: str
    repository: str
    reference: str

    @classmethod
    def of(cls, url: str) -> Image:
        """`oci://registry/name:tag`, `name@sha256:…`."""
        name, _, digest = url.removeprefix("oci://").partition("@")
        head, slash, rest = name.partition("/")
        named = slash and (head == "localhost" or "." in head or ":" in head)
        registry, name = (head, rest) if named else (DOCKER, name)
        if registry == DOCKER and "/" not in name:
            name = f"library/{name}"
        repository, _, tag = name.partition(":")
        return cls(registry, repository, digest or tag or "latest")

    @property
    def digest(self) -> str:
        """The sha256 in hex that it is pinned to; empty: none."""
        kind, _, value = self.reference.partition(":")
        return value if kind == "sha256" else ""


def is_image(url: str) -> bool:
    """A module's URL without a scheme means an image, as in Istio."""
    return "://" not in url or url.startswith("oci://")
