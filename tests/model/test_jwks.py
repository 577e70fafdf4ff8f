"""Key sets that somebody wrote into a policy are given to Envoy in a form that it takes."""

from __future__ import annotations

import json

import pytest

from meshlite.model.jwks import UNKNOWN, inline

KEY = {"kty": "RSA", "n": "AQAB", "e": "AQAB"}
ODD = {"kty": "EC", "crv": "secp256k1", "x": "AQAB", "y": "AQAB"}


@pytest.mark.parametrize(
    ("written", "keys"),
    [
        ({"keys": [KEY]}, [KEY]),
        (KEY, [KEY]),
        ({"keys": [ODD, KEY]}, [KEY]),
        ({"keys": []}, json.loads(UNKNOWN)["keys"]),
        (ODD, json.loads(UNKNOWN)["keys"]),
    ],
)
def test_there_is_a_key_that_envoy_knows_or_one_that_no_token_is_good_by(
    written: object, keys: object
) -> None:
    assert json.loads(inline(json.dumps(written)))["keys"] == keys
