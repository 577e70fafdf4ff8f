"""RequestAuthentication in a real Envoy: tokens that this test signs, good and bad, and claims in policy."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from meshlite.agent.capture import Capture
from meshlite.config import Settings
from meshlite.model.mesh import KeySet, Resource
from tests.netns.meshed import VIRTUAL, Proxy, ask, captured, envoy, until
from tests.netns.test_authorization import operation, policy, source
from tests.netns.world import Box, dial

KEY = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
URI = "http://127.0.0.1:1/jwks"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def key_set(key: rsa.RSAPrivateKey = KEY) -> str:
    numbers = key.public_key().public_numbers()
    modulus, exponent = numbers.n.to_bytes(256, "big"), numbers.e.to_bytes(3, "big")
    return json.dumps({"keys": [{"kty": "RSA", "n": encoded(modulus), "e": encoded(exponent), "kid": "k"}]})


def token(key: rsa.RSAPrivateKey = KEY, alg: str = "RS256", **claims: Any) -> str:
    claims = {"iss": "me@example.com", "sub": "ann", "exp": int(time.time()) + 600, **claims}
    head = {"alg": alg, "typ": "JWT"} | ({"kid": "k"} if alg != "none" else {})
    signed = ".".join(encoded(json.dumps(part).encode()) for part in (head, claims))
    if alg == "none":
        return f"{signed}."
    return f"{signed}.{encoded(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def authentication(*rules: dict[str, Any], app: str = "neighbour", name: str = "tokens") -> Resource:
    return Resource(
        api_version="security.istio.io/v1",
        kind="RequestAuthentication",
        name=name,
        namespace="test",
        spec={"selector": {"matchLabels": {"app": app}}, "jwtRules": list(rules)},
    )


def issuer(**fields: Any) -> dict[str, Any]:
    return {"issuer": "me@example.com", "jwks": key_set(), **fields}


@pytest.fixture
async def proxy(settings: Settings, capture: Capture, boxes: tuple[Box, Box]) -> AsyncIterator[Proxy]:
    """The app captured and permissive, the neighbour strict; Envoy has what translate makes of them."""
    made = await captured(settings, capture, boxes)
    async with envoy(capture, made, boxes):
        yield made


async def status(box: Box | None, jwt: str | None = None, path: str = "/", *headers: str) -> str:
    carried = (f"authorization: Bearer {jwt}",) if jwt is not None else ()
    code, _, _ = await ask(box, VIRTUAL["neighbour"], 8000, "neighbour", path, *carried, *headers)
    return str(code)


async def test_good_tokens_pass_and_bad_ones_do_not(proxy: Proxy, app: Box) -> None:
    proxy.resources = [authentication(issuer(audiences=["shop"]))]
    await proxy.push()
    await until(lambda: status(app, "nonsense"), "401")
    now = int(time.time())
    assert await status(app) == "200"
    assert await status(app, token(aud="shop")) == "200"
    assert await status(app, token(aud=["other", "shop"])) == "200"
    assert await status(app, token(aud="other")) == "403"
    assert await status(app, token()) == "403"
    assert await status(app, token(aud="shop", alg="none")) == "401"
    assert await status(app, token(aud="shop", key=OTHER)) == "401"
    assert await status(app, token(aud="shop", exp=now - 600)) == "401"
    assert await status(app, token(aud="shop", nbf=now + 600)) == "401"
    assert await status(app, token(aud="shop", iss="somebody@else.org")) == "401"
    assert (await dial(app, VIRTUAL["neighbour"], 8080)).startswith("neighbour ")
    await proxy.said("jwt_authn_access_denied")


@pytest.mark.parametrize(
    ("rule", "claims", "allowed"),
    [
        (source(requestPrincipals=["me@example.com/ann"]), {}, True),
        (source(requestPrincipals=["me@example.com/ann"]), {"sub": "bob"}, False),
        (source(requestPrincipals=["*"]), {}, True),
        (source(requestPrincipals=["*"]), None, False),
        (source(requestPrincipals=["*/ann"]), {}, True),
        (source(requestPrincipals=["me@example.com/*"]), {"sub": "bob"}, True),
        (source(requestPrincipals=["other/*"]), {}, False),
        (source(notRequestPrincipals=["*"]), None, True),
        (source(notRequestPrincipals=["*"]), {}, False),
        ({"when": [{"key": "request.auth.claims[role]", "values": ["admin"]}]}, {"role": "admin"}, True),
        ({"when": [{"key": "request.auth.claims[role]", "values": ["admin"]}]}, {"role": "user"}, False),
        ({"when": [{"key": "request.auth.claims[groups]", "values": ["b"]}]}, {"groups": ["a", "b"]}, True),
        ({"when": [{"key": "request.auth.claims[n][m]", "values": ["x*"]}]}, {"n": {"m": "xy"}}, True),
        ({"when": [{"key": "request.auth.claims[n][m]", "values": ["x*"]}]}, {"n": {"o": "xy"}}, False),
        (
            {"when": [{"key": "request.auth.claims[scope]", "values": ["write"]}]},
            {"scope": "read write"},
            True,
        ),
        ({"when": [{"key": "request.auth.claims[own]", "values": ["b"]}]}, {"own": "a b"}, True),
        ({"when": [{"key": "request.auth.audiences", "values": ["shop"]}]}, {"aud": "shop"}, True),
        ({"when": [{"key": "request.auth.audiences", "values": ["shop"]}]}, {"aud": ["a", "shop"]}, True),
        ({"when": [{"key": "request.auth.presenter", "values": ["web"]}]}, {"azp": "web"}, True),
        ({"when": [{"key": "request.auth.presenter", "values": ["web"]}]}, {"azp": "cli"}, False),
    ],
)
async def test_claims_in_policy(
    proxy: Proxy, app: Box, rule: dict[str, Any], claims: dict[str, Any] | None, allowed: bool
) -> None:
    in_effect = operation(paths=["/is-in-effect"])
    proxy.resources = [
        authentication(issuer(spaceDelimitedClaims=["own"])),
        policy("rule", "ALLOW", rule, in_effect),
    ]
    await proxy.push()
    await until(lambda: status(app, "nonsense"), "401")
    jwt = token(**claims) if claims is not None else None
    await until(lambda: status(app, jwt, "/is-in-effect"), "200")
    assert await status(app, jwt) == ("200" if allowed else "403")


async def test_where_tokens_are_carried(proxy: Proxy, app: Box) -> None:
    places = {
        "fromHeaders": [{"name": "x-jwt", "prefix": "Token "}, {"name": "x-bare"}],
        "fromParams": ["jwt"],
        "fromCookies": ["session"],
    }
    proxy.resources = [
        authentication(issuer(**places)),
        policy("somebody", "ALLOW", source(requestPrincipals=["*"])),
    ]
    await proxy.push()
    await until(lambda: status(app, None, "/", "x-bare: nonsense"), "401")
    jwt = token()
    assert await status(app, None, "/", f"x-jwt: Token {jwt}") == "200"
    assert await status(app, None, "/", f"x-bare: {jwt}") == "200"
    assert await status(app, None, f"/?jwt={jwt}") == "200"
    assert await status(app, None, "/", f"cookie: a=b; session={jwt}") == "200"
    assert await status(app, jwt) == "403"


async def test_several_issuers(proxy: Proxy, app: Box) -> None:
    proxy.resources = [
        authentication(issuer()),
        authentication({"issuer": "second", "jwks": key_set(OTHER)}, name="second"),
    ]
    await proxy.push()
    await until(lambda: status(app, "nonsense"), "401")
    assert await status(app, token()) == "200"
    assert await status(app, token(iss="second", key=OTHER)) == "200"
    assert await status(app, token(iss="second")) == "401"
    assert await status(app) == "200"


async def test_keys_that_were_not_fetched_yet(proxy: Proxy, app: Box) -> None:
    """No token is good, and who has none is not kept out; once they are there, tokens are good."""
    proxy.resources = [authentication({"issuer": "me@example.com", "jwksUri": URI})]
    await proxy.push()
    await until(lambda: status(app, token()), "401")
    assert await status(app) == "200"
    proxy.key_sets = (KeySet(uri=URI, keys=key_set()),)
    await proxy.push()
    await until(lambda: status(app, token()), "200")


async def test_strangers_show_tokens_too(proxy: Proxy, app: Box) -> None:
    proxy.resources = [
        authentication(issuer(), app="app"),
        policy("ann", "ALLOW", source(requestPrincipals=["*/ann"]), app="app"),
    ]
    await proxy.push()

    async def stranger(jwt: str) -> str:
        bearer = f"authorization: Bearer {jwt}"
        return str((await ask(None, app.v4, 8000, "app", "/", bearer))[0])

    await until(lambda: stranger("nonsense"), "401")
    assert await stranger(token()) == "200"
    assert await stranger(token(sub="bob")) == "403"
