"""A host of the test's own and workloads beside it: network namespaces, a bridge, sockets made inside."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from meshlite.model.workload import Found, Port, Workload
from meshlite.sources import process

CLONE_NEWNET = 0x40000000
MARK = 0x6D6C
LIMIT = 60
"""Seconds for what must come, however slow and busy the machine is."""
PATIENCE = 10
"""Seconds for one attempt that another may follow."""
SILENCE = 0.6
"""Seconds without an answer where none is wanted."""
SO_ORIGINAL_DST = 80
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextmanager
def inside(namespace: str | Path) -> Iterator[None]:
    """This thread in another network namespace; sockets made there stay there."""
    with open("/proc/thread-self/ns/net") as home, open(namespace) as target:
        _checked(_libc.setns(target.fileno(), CLONE_NEWNET))
        try:
            yield
        finally:
            _checked(_libc.setns(home.fileno(), CLONE_NEWNET))


@contextmanager
def fresh_host() -> Iterator[None]:
    """This thread in a new namespace that plays the host, with a bridge like the engine's."""
    with open("/proc/thread-self/ns/net") as home:
        _checked(_libc.unshare(CLONE_NEWNET))
        try:
            run("ip link set lo up")
            run("ip link add br0 type bridge")
            run("ip addr add 10.77.0.1/24 dev br0")
            run("ip addr add fd77::1/64 dev br0 nodad")
            run("ip link set br0 up")
            run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
            yield
        finally:
            _checked(_libc.setns(home.fileno(), CLONE_NEWNET))


def run(command: str) -> str:
    return subprocess.run(command.split(), check=True, capture_output=True, text=True).stdout


@dataclass
class Box:
    """A workload: a sleeping process with a network namespace of its own, eth0 on the bridge."""

    name: str
    number: int
    process: subprocess.Popen[bytes]
    hosts_file: str = ""

    @property
    def v4(self) -> str:
        return f"10.77.0.{self.number}"

    @property
    def v6(self) -> str:
        return f"fd77::{self.number}"

    @property
    def path(self) -> Path:
        return Path(f"/proc/{self.process.pid}/ns/net")

    @property
    def found(self) -> Found:
        token = process.started(self.process.pid)
        workload = Workload(
            id=f"{self.name}-{token}",
            node="node-1",
            name=self.name,
            service=self.name,
            namespace="test",
            ports=(Port(number=8080),),
            addresses=(self.v4, self.v6),
        )
        namespace = process.namespace(self.process.pid)
        interfaces = (f"{self.v4}/24", f"{self.v6}/64")
        return Found(
            workload=workload, namespace=namespace, hosts_file=self.hosts_file, interfaces=interfaces
        )

    def run(self, command: str) -> str:
        return run(f"nsenter --net={self.path} {command}")

    def socket(self, address: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A socket in this namespace, of the address's family."""
        with inside(self.path):
            return new_socket(address, kind)


def new_socket(address: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    made.setblocking(False)
    return made


@contextmanager
def box(name: str, number: int, default_route: bool = True) -> Iterator[Box]:
    process = subprocess.Popen(["unshare", "--net", "sleep", "600"])
    try:
        made = Box(name, number, process)
        _wait_for_namespace(made)
        run(f"ip link add v{number} type veth peer name eth0 netns {process.pid}")
        run(f"ip link set v{number} master br0 up")
        made.run("ip link set lo up")
        made.run(f"ip addr add {made.v4}/24 dev eth0")
        made.run(f"ip addr add {made.v6}/64 dev eth0 nodad")
        made.run("ip link set eth0 up")
        if default_route:
            made.run("ip route add default via 10.77.0.1")
            made.run("ip -6 route add default via fd77::1")
        yield made
    finally:
        process.kill()
        process.wait()


def _wait_for_namespace(made: Box) -> None:
    while os.stat(made.path).st_ino == os.stat("/proc/thread-self/ns/net").st_ino:
        assert made.process.poll() is None


@asynccontextmanager
async def serving(where: Box | None, address: str, port: int, label: str) -> AsyncIterator[None]:
    """A TCP server that greets every caller with its label and the address the caller had dialled first.

    Afterwards it answers every line with the same line. `where` None: on the host.
    """
    listener = where.socket(address) if where else new_socket(address)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ":" in address:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind((address, port))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{label} {_original(writer.get_extra_info('socket'))}\n".encode())
        try:
            while line := await reader.readline():
                writer.write(line)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, sock=listener, backlog=512)
    try:
        yield
    finally:
        server.close()


def _original(connection: socket.socket) -> str:
    """`10.77.0.2:8080`: what the caller dialled, before any redirection."""
    try:
        if connection.family == socket.AF_INET:
            packed = connection.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
            return f"{socket.inet_ntoa(packed[4:8])}:{struct.unpack('!H', packed[2:4])[0]}"
        packed = connection.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
        return f"[{socket.inet_ntop(socket.AF_INET6, packed[8:24])}]:{struct.unpack('!H', packed[2:4])[0]}"
    except OSError:
        return "-"


@dataclass
class Call:
    """An open connection. `greeting`: what the server said first."""

    greeting: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def echo(self, text: str) -> str:
        self.writer.write(f"{text}\n".encode())
        return (await asyncio.wait_for(self.reader.readline(), LIMIT)).decode().strip()

    def close(self) -> None:
        self.writer.close()


async def call(where: Box | None, address: str, port: int, mark: int = 0, patience: float = PATIENCE) -> Call:
    """Connect and read the greeting. Raises OSError (TimeoutError when nothing comes for so many seconds)."""
    made = where.socket(address) if where else new_socket(address)
    if mark:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    try:
        async with asyncio.timeout(patience):
            await asyncio.get_running_loop().sock_connect(made, (address, port))
            reader, writer = await asyncio.open_connection(sock=made)
            greeting = (await reader.readline()).decode().strip()
    except BaseException:
        made.close()
        raise
    return Call(greeting, reader, writer)


async def dial(where: Box | None, address: str, port: int, mark: int = 0, patience: float = PATIENCE) -> str:
    """The greeting, or in a word what happened instead: refused, silence, forbidden, unreachable."""
    try:
        made = await call(where, address, port, mark, patience)
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "silence"
    except OSError as error:
        return {errno.EHOSTUNREACH: "forbidden", errno.ENETUNREACH: "unreachable"}.get(
            error.errno or 0, str(error)
        )
    made.close()
    return made.greeting


async def whole_answer(reader: asyncio.StreamReader) -> tuple[str, str]:
    """Head and body of an HTTP answer on a connection for this one request.

    Where the length is told the end is not waited for: Envoy closes a second after an answer of its own.
    """
    head = (await reader.readuntil(b"\r\n\r\n"))[:-4].decode()
    lengths = [line for line in head.lower().split("\r\n") if line.startswith("content-length: ")]
    if not lengths:
        return head, (await reader.read()).decode()
    try:
        return head, (await reader.readexactly(int(lengths[0].split()[1]))).decode()
    except asyncio.IncompleteReadError as broken:
        return head, broken.partial.decode()


async def ping(where: Box, address: str) -> bool:
    """Whether an ICMP echo is answered, by the address that was asked."""
    with inside(where.path):
        if ":" in address:
            made = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        else:
            made = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    made.setblocking(False)
    request, answer = (128, 129) if ":" in address else (8, 0)
    body = struct.pack("!BBHHH", request, 0, 0, 4711, 1)
    checksum = ~sum(struct.unpack("!4H", body)) & 0xFFFF
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(PATIENCE):
            made.connect((address, 0))
            await loop.sock_sendall(made, body[:2] + struct.pack("!H", checksum) + body[4:])
            while True:
                heard = await loop.sock_recv(made, 200)
                if (heard if ":" in address else heard[20:])[0] == answer:
                    return True
    except TimeoutError:
        return False
    finally:
        made.close()


async def ask_udp(where: Box | None, address: str, port: int, patience: float = PATIENCE) -> str:
    """One datagram there and back."""
    made = where.socket(address, socket.SOCK_DGRAM) if where else new_socket(address, socket.SOCK_DGRAM)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(patience):
            await loop.sock_connect(made, (address, port))
            await loop.sock_sendall(made, b"hello")
            return (await loop.sock_recv(made, 100)).decode()
    except TimeoutError:
        return "silence"
    finally:
        made.close()


@asynccontextmanager
async def answering_udp(where: Box | None, address: str, port: int) -> AsyncIterator[None]:
    made = where.socket(address, socket.SOCK_DGRAM) if where else new_socket(address, socket.SOCK_DGRAM)
    if ":" in address:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.bind((address, port))

    def answer() -> None:
        data, caller = made.recvfrom(100)
        made.sendto(b"udp " + data, caller)

    loop = asyncio.get_running_loop()
    loop.add_reader(made, answer)
    try:
        yield
    finally:
        loop.remove_reader(made)
        made.close()
