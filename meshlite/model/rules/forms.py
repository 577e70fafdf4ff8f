"""Forms of strings: names, hosts, labels, headers, patterns. A function returns what is wrong, or "".

Sources: RFC 1123 (names), RFC 9110 (headers), https://github.com/google/re2/wiki/Syntax (patterns) and
https://www.envoyproxy.io/docs/envoy/latest/configuration/advanced/substitution_formatter (header values).
"""

from __future__ import annotations

import ipaddress
import re

import re2

from meshlite.model.scalars import shown

_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_HOST_LABEL = re.compile(r"[A-Za-z0-9]([-_A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_WILDCARD_LABEL = re.compile(r"\*|(\*-?)?[A-Za-z0-9]([-_A-Za-z0-9]*[A-Za-z0-9])?")
_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([-_a-z0-9]{0,61}[a-z0-9])?")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~A-Za-z0-9-]+")
_HEADER_VALUE = re.compile(r"(?:[^%\x00-\x08\x0a-\x1f\x7f]|%%|%[A-Z0-9_]+(?:\([^)]*\))?(?::[0-9]+)?%)*")
_PSEUDO = frozenset((":method", ":scheme", ":authority", ":path", ":status"))
_BITS = re.compile(r"0|[1-9][0-9]{0,2}")
_MISSING_IN_RE2 = {
    "(?=": "lookahead",
    "(?!": "lookahead",
    "(?<=": "lookbehind",
    "(?<!": "lookbehind",
    "(?P=": "back references",
    "(?>": "atomic groups",
    "(?(": "conditions",
}


def label(text: str) -> str:
    return (
        "" if _LABEL.fullmatch(text) else f"{shown(text)} is not a DNS label (letters, digits, -; at most 63)"
    )


def host_label(text: str) -> str:
    """Wider than Istio's: Compose allows underscores in the names of projects and services."""
    return "" if _HOST_LABEL.fullmatch(text) else f"{shown(text)} is not one part of a host name"


def object_name(text: str) -> str:
    if len(text) <= 253 and _OBJECT_NAME.fullmatch(text) and ".." not in text:
        return ""
    return f"{shown(text)} is not a name: lower case letters, digits, - and ., at most 253"


def namespace(text: str) -> str:
    if _NAMESPACE.fullmatch(text):
        return ""
    return f"{shown(text)} is not a namespace: lower case letters, digits, - and _, at most 63"


def label_key(text: str) -> str:
    prefix, slash, name = text.rpartition("/")
    named = len(name) <= 63 and _QUALIFIED.fullmatch(name)
    if not named or (
        slash and (len(prefix) > 253 or not all(_LABEL.fullmatch(part) for part in prefix.split(".")))
    ):
        return f"{shown(text)} is not a label's key"
    return ""


def label_value(text: str) -> str:
    if not text or (len(text) <= 63 and _QUALIFIED.fullmatch(text)):
        return ""
    return f"{shown(text)} is not a label's value: letters, digits, -, _ and ., at most 63"


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def subnet(text: str) -> str:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return f"{shown(text)} is not an address or a subnet such as 10.1.0.0/16"
    return ""


def address_or_cidr(text: str) -> str:
    """As Go reads them: no netmask in dots, and bits without a sign or leading zeros."""
    address, slash, bits = text.partition("/")
    if slash and (not _BITS.fullmatch(bits) or "%" in address):
        return f"{shown(text)} is not an address or a subnet such as 10.1.0.0/16"
    return subnet(text)


def domain(text: str) -> str:
    """A host name without wildcard."""
    if not text or len(text) > 255:
        return "a host must not be empty" if not text else "a host has at most 255 characters"
    *parts, last = text.removesuffix(".").split(".")
    if last.isdigit():
        return f"{shown(text)} is not a host name: its last part is a number"
    bad = next((part for part in (*parts, last) if not _HOST_LABEL.fullmatch(part)), None)
    return "" if bad is None else f"{shown(text)} is not a host name: {shown(bad)} cannot be a part of one"


def wildcard_domain(text: str) -> str:
    """A host name whose first part may be, or begin with, `*`."""
    first, dot, rest = text.partition(".")
    if "*" not in text:
        return domain(text)
    if len(text) > 255 or len(first) > 63 or not _WILDCARD_LABEL.fullmatch(first) or "*" in rest:
        return f"{shown(text)} is not a host name: * may stand only at the beginning"
    return domain(rest) if dot else ""


def header_to_match(text: str) -> str:
    if text in _PSEUDO or text.startswith("@request.auth.claims") or _TOKEN.fullmatch(text):
        return ""
    return f"{shown(text)} is not a header's name"


def is_authority(text: str) -> bool:
    return text.lower() in (":authority", "host")


def header_to_change(text: str) -> str:
    if is_authority(text):
        return f"{shown(text)} cannot be changed here; write headers.request.set or rewrite.authority"
    if text.startswith(":"):
        return f"{shown(text)} cannot be changed: it is one of HTTP's own fields"
    return "" if _TOKEN.fullmatch(text) else f"{shown(text)} is not a header's name"


def header_value(text: str) -> str:
    if _HEADER_VALUE.fullmatch(text):
        return ""
    return f"{shown(text)} is not a header value: write %% for a percent sign, %NAME% for a variable"


def token(text: str) -> str:
    """A header name of a CORS list, which may be `*`."""
    return "" if _TOKEN.fullmatch(text) else f"{shown(text)} is not a header's name"


def pattern(text: str) -> str:
    """An RE2 pattern as Envoy takes it."""
    if not text:
        return "a pattern must not be empty"
    if len(text) > 1024:
        return "a pattern has at most 1024 characters"
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(text, options)
    except UnicodeEncodeError:
        return f"{shown(text)} is not text"
    except re2.error as error:
        return f"{shown(text)} is not a pattern that RE2 takes: {_re2_reason(text, error)}"
    return ""


def expression(text: str) -> str:
    """An expression in CEL: https://github.com/google/cel-spec/blob/master/doc/langdef.md."""
    # On first use: the parser is large, and few resources have an expression.
    import cel

    try:
        cel.compile(text)
    except ValueError as error:
        found = re.search(r"<input>:([0-9]+):([0-9]+): (?:Syntax error: )?([^\n]*)", str(error))
        where = f"line {found[1]}, column {found[2]}: {found[3]}" if found else "it cannot be parsed"
        return f"is not a CEL expression: {where}"
    return ""


def _re2_reason(text: str, error: Exception) -> str:
    said = error.args[0].decode(errors="replace") if error.args else ""
    lacking = next((what for start, what in _MISSING_IN_RE2.items() if start in text), "")
    if not lacking and re.search(r"\\[1-9]", text):
        lacking = "back references"
    return f"{said}; RE2 has no {lacking}" if lacking else said


def export_to(entries: tuple[str, ...], own: str, hideable: bool = False) -> str:
    """Where a resource is visible: `.`, `*` or namespaces; `own` is what `.` stands for.

    `hideable`: `~` is taken, too, for services that nobody is to see.
    """
    seen = set()
    for entry in entries:
        place = own if entry == "." else entry
        if entry == "~" and not hideable:
            return "~ (nobody) is for services only"
        if entry == "~" and len(entries) > 1:
            return "~ means nobody: leave out the others"
        if entry not in ("*", "~") and (reason := host_label(place)):
            return f"{reason}; write ., * or a namespace"
        if place in seen:
            same = place == own and "." in entries
            return f". and {own} are the same namespace" if same else f"{shown(entry)} is given twice"
        seen.add(place)
    return "* already means every namespace: leave out the others" if "*" in seen and len(seen) > 1 else ""


PROTOCOLS = frozenset(
    (
        "tcp", "udp", "grpc", "grpc-web", "http", "http_proxy", "http2", "https", "tls", "mongo", "redis",
        "mysql", "hbone", "doublehbone",
    )
)  # fmt: skip
"""Protocols of ports as Istio knows them, in any case."""


def protocol(text: str) -> str:
    """The protocol of a port; none is fine, too."""
    if not text or text.lower() in PROTOCOLS:
        return ""
    return f"{shown(text)} is not a protocol: write one of {', '.join(sorted(PROTOCOLS)).upper()}"


def gateway(text: str) -> str:
    """`mesh`, a name, or namespace/name."""
    space, slash, name = text.partition("/")
    if not slash:
        return domain(text)
    return host_label(space) or label(name)
