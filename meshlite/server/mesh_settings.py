"""What of the settings all nodes of the mesh are told: read and judged once, at the server's start."""

from __future__ import annotations

from pydantic import ValidationError

from meshlite.config import Settings
from meshlite.model.mesh import MeshSettings
from meshlite.model.provider import ExtensionProvider


def mesh_settings(settings: Settings) -> MeshSettings:
    """Raises ValueError with the place and the reason in one sentence."""
    providers = tuple(_provider(place, value) for place, value in enumerate(settings.extension_providers))
    names = [one.name for one in providers]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise ValueError(f"extension_providers: {twice} is there twice: give each a name of its own")
    return MeshSettings(
        trust_domain_aliases=settings.trust_domain_aliases,
        path_normalization=settings.path_normalization,
        extension_providers=providers,
        envoy_filter=settings.envoy_filter,
    )


def _provider(place: int, value: object) -> ExtensionProvider:
    at = f"extension_providers[{place}]"
    try:
        provider = ExtensionProvider.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join((at, *(str(part) for part in first["loc"])))
        raise ValueError(f"{where}: {first['msg']}") from error
    if provider.envoy_ext_authz_http is None and provider.envoy_ext_authz_grpc is None:
        raise ValueError(f"{at}: needs envoyExtAuthzHttp or envoyExtAuthzGrpc")
    return provider
