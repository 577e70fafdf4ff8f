"""The nftables rules of a captured namespace and of the host, as text for one atomic `nft -f`. Pure.

Each text replaces our own table as a whole; tables of others are never touched. nftables knows the interplay
of hooks and priorities: https://wiki.nftables.org/wiki-nftables/index.php/Netfilter_hooks
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

TABLE = "meshlite"
LINK = "mesh0"
"""A private link's end inside a namespace; what comes in there is the mesh."""
HOST_LINKS = "ml-"
"""How the host's ends of private links begin."""
OPENING = "tcp flags & (fin | syn | rst | ack) == syn"
"""A connection's first packet. Matching only this leaves older connections alone."""

_EMPTY = f"table inet {TABLE}\nflush table inet {TABLE}\n"
"""Rules go, chains stay: taking a chain's hook away costs the kernel 12 ms, emptying it nothing."""
_DELETE = f"table inet {TABLE}\ndelete table inet {TABLE}\n"


@dataclass(frozen=True)
class Mode:
    """What becomes of connections that reach a workload beside the mesh.

    `strict`: they are reset; otherwise they pass the inbound listener, which knows no identity for them.
    `exceptions`: ports where it is the other way round. `gateways`: ports where the node proxy itself listens
    for whoever comes.
    """

    strict: bool = False
    exceptions: frozenset[int] = frozenset()
    gateways: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Proxy:
    """Where the node proxy listens in every namespace, and the mark on all connections it opens.

    `host`: the inode of the host's own namespace. It stands in the rules, so that they can be told from those
    of another host that runs inside this one.
    """

    outbound: int = 15001
    inbound: int = 15006
    mark: int = 0x6D6C
    host: str = ""
    link_network: str = "169.254.0.0/16"
    virtual_networks: tuple[str, str] = ("240.240.0.0/16", "fd6d:6c00::f0f0:0/112")
    """Addresses of services, IPv4 and IPv6. Only TCP is carried there by the proxy."""


@dataclass(frozen=True)
class Capture:
    """One namespace's capture. `bound`: ports whose app listens on one address of its own only.

    `replicas`: where that goes which is dialled at a virtual address and is not TCP.
    """

    proxy: Proxy = Proxy()
    mode: Mode = Mode()
    bound: Mapping[int, str] = field(default_factory=dict)
    replicas: Mapping[str, str] = field(default_factory=dict)


def namespace_rules(capture: Capture) -> str:
    """Capture of one namespace, outbound and inbound, IPv4 and IPv6. UDP, loopback and own addresses pass.

    UDP and ICMP to a virtual address pass to a replica's own; without one they are refused, not lost.
    """
    chains = [
        *_untracked(capture),
        _chain("outbound", "nat", "output", "-100", [*_outbound(capture.proxy), *_to_replicas(capture)]),
        _chain("source", "nat", "postrouting", "100", _source(capture)),
        _chain("unreached", "filter", "output", "0", _unreached(capture.proxy)),
        _chain("inbound", "nat", "prerouting", "-100", _inbound(capture)),
        _chain("admission", "filter", "input", "0", _admission(capture)),
    ]
    return _table(chains)


def drain_rules(proxy: Proxy = Proxy()) -> str:
    """No new capture, but connection tracking goes on: captured connections live until they end.

    Deleting the table at once would reset them. The redirect below never matches; it keeps NAT registered.
    """
    never = f"meta l4proto tcp meta mark 1 meta mark 2 redirect to :{proxy.outbound}"
    return _table([_chain("outbound", "nat", "output", "-100", [f"{never} {belongs_to(proxy.host)}"])])


def belongs_to(host: str) -> str:
    """The comment in a namespace's rules that names the host whose they are."""
    return f'comment "host {host}"'


def no_rules() -> str:
    """Our table is gone."""
    return _DELETE


def anew(text: str) -> str:
    """`text` for a table whose chains are another version's: they cannot be changed, only made again."""
    return _DELETE + text


def host_rules(proxy: Proxy = Proxy()) -> str:
    """Private links are the node proxy's alone: nobody else opens a connection on them, nothing is forwarded.

    Links stay tracked on the host, so that a host firewall that admits only established connections lets
    their replies in. What the node proxy sends to a link that is gone goes nowhere, least of all to the
    host's router; nor does what a container outside the mesh sends to a virtual address.
    """
    inside = [
        f'iifname != "{HOST_LINKS}*" accept',
        "ct state established accept",
        "counter drop",
    ]
    outside = [
        f'{_mark(proxy)} ip daddr {proxy.link_network} oifname != "{HOST_LINKS}*" counter reject',
        f'oifname != "{HOST_LINKS}*" accept',
        "ct state established,related accept",
        f"{_mark(proxy)} accept",
        "counter reject with icmpx admin-prohibited",
    ]
    ipv4, ipv6 = proxy.virtual_networks
    through = [
        f'iifname "{HOST_LINKS}*" counter drop',
        f'oifname "{HOST_LINKS}*" counter drop',
        f"ip daddr {ipv4} counter reject with icmpx admin-prohibited",
        f"ip6 daddr {ipv6} counter reject with icmpx admin-prohibited",
    ]
    return _table(
        [
            _chain("from_links", "filter", "input", "-10", inside),
            _chain("to_links", "filter", "output", "-10", outside),
            _chain("through_links", "filter", "forward", "-10", through),
        ]
    )


def _outbound(proxy: Proxy) -> list[str]:
    return [
        f"{_mark(proxy)} return {belongs_to(proxy.host)}",
        "fib daddr type local return",
        "ip daddr 169.254.0.0/16 return",
        "ip6 daddr fe80::/10 return",
        f"{OPENING} redirect to :{proxy.outbound}",
    ]


def _to_replicas(capture: Capture) -> list[str]:
    """Tracked as any redirection, so that answers seem to come from the address that was dialled."""
    rules = []
    for family in ("ip", "ip6"):
        found = sorted(item for item in capture.replicas.items() if (":" in item[0]) == (family == "ip6"))
        if found:
            pairs = ", ".join(f"{virtual} : {address}" for virtual, address in found)
            rules.append(f"meta l4proto != tcp dnat {family} to {family} daddr map {{ {pairs} }}")
    return rules


def _source(capture: Capture) -> list[str]:
    """The source address was chosen for the virtual address's route, which may lead another way."""
    if not capture.replicas:
        return []
    networks = zip(("ip", "ip6"), capture.proxy.virtual_networks, strict=True)
    return [
        f'oifname != "lo" ct status dnat ct original {family} daddr {network} meta l4proto != tcp masquerade'
        for family, network in networks
    ]


def _unreached(proxy: Proxy) -> list[str]:
    """What still goes to a virtual address has found no replica."""
    networks = zip(("ip", "ip6"), proxy.virtual_networks, strict=True)
    return ["meta l4proto tcp accept", *(f"{family} daddr {network} reject" for family, network in networks)]


def _inbound(capture: Capture) -> list[str]:
    """Nobody outside dials the capture ports: led on, it would be asked for an app that listens there."""
    mode, proxy = capture.mode, capture.proxy
    rules = ['iifname "lo" return', f"tcp dport {_set([proxy.outbound, proxy.inbound])} return"]
    rules += [
        f'iifname "{LINK}" {OPENING} tcp dport {port} dnat ip to {address}'
        for port, address in sorted(capture.bound.items())
    ]
    rules.append(f'iifname "{LINK}" return')
    rules += [f"tcp dport {_set(mode.gateways)} return"] if mode.gateways else []
    redirect = f"redirect to :{proxy.inbound}"
    if not mode.strict:
        rules += [f"tcp dport {_set(mode.exceptions)} return"] if mode.exceptions else []
        rules.append(f"{OPENING} {redirect}")
    elif mode.exceptions:
        rules.append(f"{OPENING} tcp dport {_set(mode.exceptions)} {redirect}")
    return rules


def _admission(capture: Capture) -> list[str]:
    """The capture ports are for redirected connections only, else they would loop; then the mode's word."""
    mode, proxy = capture.mode, capture.proxy
    ports = _set([proxy.outbound, proxy.inbound])
    rules = [
        f"tcp dport {ports} ct status dnat accept",
        f"tcp dport {ports} reject with tcp reset",
        f'iifname {{ "lo", "{LINK}" }} accept',
    ]
    rules += [f"tcp dport {_set(mode.gateways)} accept"] if mode.gateways else []
    if mode.strict:
        rules.append(f"{OPENING} reject with tcp reset")
    elif mode.exceptions:
        rules.append(f"{OPENING} tcp dport {_set(mode.exceptions)} reject with tcp reset")
    return rules


def _untracked(capture: Capture) -> list[str]:
    """Tracking costs a link time for nothing, except where its connections are sent to another address.

    What leaves for elsewhere, by the fallback route, must be tracked to be redirected.
    """
    bound, replies = capture.bound, f'oifname "{LINK}" ip daddr {capture.proxy.link_network}'
    into, out = (f"tcp {side} != {_set(bound)} " if bound else "" for side in ("dport", "sport"))
    return [
        _chain("link_in", "filter", "prerouting", "-300", [f'iifname "{LINK}" {into}notrack']),
        _chain("link_out", "filter", "output", "-300", [f"{replies} {out}notrack"]),
    ]


def _mark(proxy: Proxy) -> str:
    return f"meta mark {proxy.mark:#x}"


def _set(ports: Iterable[int]) -> str:
    return "{ " + ", ".join(str(port) for port in sorted(ports)) + " }"


def _chain(name: str, kind: str, hook: str, priority: str, rules: list[str]) -> str:
    lines = [f"type {kind} hook {hook} priority {priority}; policy accept;", *rules]
    return f"  chain {name} {{\n" + "".join(f"    {line}\n" for line in lines) + "  }\n"


def _table(chains: list[str]) -> str:
    return f"{_EMPTY}table inet {TABLE} {{\n{''.join(chains)}}}\n"
