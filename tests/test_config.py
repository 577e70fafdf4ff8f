"""Settings: what counts, and that every wrong one is told with its file or variable, key and reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from meshlite.config import Settings, load


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "meshlite.yaml"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("paths: [1, 2]", "paths: Input should be a valid dictionary"),
        ("paths: {state: relative}", "paths.state: must be an absolute path, not 'relative'"),
        ("paths: {stat: /x}", "paths.stat: there is no such setting (did you mean state?)"),
        ("ports: nine", "ports: Input should be a valid dictionary"),
        ("ports: {server: 0}", "ports.server: Input should be greater than or equal to 1, not 0"),
        ("ports: {server: 70000}", "ports.server: Input should be less than or equal to 65535, not 70000"),
        ("ports: {outbound: 15006}", "ports: each needs a port of its own: outbound, inbound"),
        ("hook: maybe", "hook: Input should be a valid boolean"),
        ("virtual_network: nonsense", "virtual_network: is no IPv4 network"),
        ("virtual_network: 10.0.0.1/8", "virtual_network: is no IPv4 network"),
        ("virtual_network: 240.240.0.0/28", "virtual_network: must be an IPv4 network of at least"),
        ("virtual_network: 169.254.0.0/16", "virtual_network 169.254.0.0/16 and link_network"),
        ("virtual_network6: 'fd00::/64'", "virtual_network6: "),
        ("virtual_network6: 'fd00:::/96'", "virtual_network6: is no IPv6 network"),
        ("lease_seconds: .inf", "lease_seconds: "),
        ("lease_seconds: -1", "lease_seconds: Input should be greater than 0, not -1"),
        ("certificate_hours: .nan", "certificate_hours: "),
        ("proxy_uid: -5", "proxy_uid: "),
        ("proxy_concurrency: 1.5", "proxy_concurrency: "),
        ("proxy_mark: 0", "proxy_mark: "),
        ("node: 'a b'", "node: "),
        ("node: null", "node: Input should be a valid string"),
        ("trust_domain: ''", "trust_domain: "),
        ("server: mesh.example.com", "server: "),
        ("server_adress: 0.0.0.0", "server_adress: there is no such setting (did you mean server_address?)"),
        ("server_address: 'a b'", "server_address: "),
        ("1: 2", "1: there is no such setting"),
        ("- a", "expected keys and values, found list"),
        ("a: [", "cannot be read: "),
        ("node: \x07", "cannot be read: "),
    ],
)
def test_a_wrong_setting_is_told_with_file_key_and_reason(file: Path, text: str, fault: str) -> None:
    file.write_text(text + "\n")
    with pytest.raises(ValueError, match=re.escape(f"{file}: {fault}")):
        load(file, {"MESHLITE_RUN_DIR": "/run/x"})


def test_all_faults_are_told_and_whose_they_are(file: Path) -> None:
    file.write_text("hook: maybe\nlease_seconds: x\n")
    with pytest.raises(ValueError, match="MESHLITE_RUN_DIR: must be an absolute path") as caught:
        load(file, {"MESHLITE_PROXY_UID": "me", "MESHLITE_RUN_DIR": "here"})
    lines = str(caught.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        "MESHLITE_RUN_DIR",
        str(file),
        "MESHLITE_PROXY_UID",
        str(file),
    ]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_a_file_that_is_no_text_or_no_file_is_told(file: Path, content: bytes | None) -> None:
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read") as caught:
        load(file, {})
    assert str(file) in str(caught.value)


def test_what_is_absent_or_empty_says_nothing_and_the_environment_goes_before_the_file(file: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        load(file, {})
    assert load(None, {"MESHLITE_CONFIG": str(file)}).lease_seconds == Settings().lease_seconds
    file.write_text("")
    assert load(file, {}).hook
    file.write_text("lease_seconds: 3\npaths: {state: /a, run: /b}\n")
    found = load(file, {"MESHLITE_LEASE_SECONDS": "4", "MESHLITE_RUN_DIR": "/c"}, hook=False)
    assert (found.lease_seconds, str(found.paths.state), str(found.paths.run)) == (4.0, "/a", "/c")
    assert not found.hook
