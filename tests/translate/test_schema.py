"""What is not in Envoy's schema is refused with a place and a reason, however odd it is."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format

from meshlite.translate.envoy import schema


@pytest.mark.parametrize("name", [None, 1, True, [], {}], ids=repr)
def test_the_type_of_a_message_is_text(name: Any) -> None:
    chain = {"filters": [{"name": "a"}, {"name": "b", "typed_config": {"@type": name}}]}
    with pytest.raises(json_format.ParseError, match=r"filters\.1\.typed_config\.@type is not the name"):
        schema.parse("envoy.config.listener.v3.FilterChain", chain)
