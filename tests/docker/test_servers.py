"""Servers as people run them, straight from the distribution: nginx, MariaDB, PostgreSQL, Redis, and gRPC."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.docker.compose import ComposeProject
from tests.docker.conftest import compose_file
from tests.docker.mesh import Mesh, meshed

MEGABYTES = 24
PLAIN = """
daemon off; pid /tmp/nginx.pid; error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxied;
  client_max_body_size 0;
  upstream kept { server app:8000; keepalive 4; }
  server {
    listen 80;
    root /tmp/files;
    gzip on; gzip_types *; gzip_proxied any;
    dav_methods PUT;
    location = /spoken { return 200 "$$server_protocol"; }
    location /plain/ { proxy_pass http://app:8000/; }
    location /kept/ { proxy_pass http://kept/; proxy_http_version 1.1; proxy_set_header Connection ""; }
    location /named/ { proxy_pass http://app:8000/; proxy_set_header Host $$host; }
  }
}
"""
APP = """
daemon off; pid /tmp/nginx.pid; error_log stderr;
events {}
http { access_log off; server { listen 8000; location / { return 200 "$$http_host $$request_uri"; } } }
"""
SECURE = """
daemon off; pid /tmp/nginx.pid; error_log stderr;
events {}
http {
  access_log off;
  server {
    listen 8443 ssl; server_name secure; ssl_certificate /tmp/secure.pem; ssl_certificate_key /tmp/secure.key;
    location / { return 200 "secure $$ssl_server_name"; }
  }
  server {
    listen 8443 ssl; server_name other.test;
    ssl_certificate /tmp/other.test.pem; ssl_certificate_key /tmp/other.test.key;
    location / { return 200 "other $$ssl_server_name"; }
  }
}
"""
CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={0}"
    " -addext subjectAltName=DNS:{0} -keyout /tmp/{0}.key -out /tmp/{0}.pem"
)
MARIADB = (
    "mkdir -p /run/mysqld && mariadb-install-db --no-defaults --user=root --datadir=/tmp/db >/dev/null"
    " && exec mariadbd --no-defaults --user=root --datadir=/tmp/db --socket=/tmp/db.sock --skip-grant-tables"
)
POSTGRESQL = """
cd /tmp && bin=$$(echo /usr/lib/postgresql/*/bin)
run() { setpriv --reuid postgres --regid postgres --clear-groups "$$@"; }
run $$bin/initdb -A trust -D /tmp/store >/dev/null && echo 'host all all all trust' >>/tmp/store/pg_hba.conf
exec setpriv --reuid postgres --regid postgres --clear-groups \\
  $$bin/postgres -D /tmp/store -k /tmp -c 'listen_addresses=*'
"""
GRPC = """
import grpc, os
from concurrent import futures
class Greeter(grpc.GenericRpcHandler):
    def service(self, details):
        name = os.uname().nodename.encode()
        if details.method == "/demo/Chat":
            answer = lambda words, _: (name + b" " + word for word in words)
            return grpc.stream_stream_rpc_method_handler(answer)
        if details.method == "/demo/Upload":
            return grpc.stream_unary_rpc_method_handler(lambda parts, _: str(sum(map(len, parts))).encode())
server = grpc.server(futures.ThreadPoolExecutor(16))
server.add_generic_rpc_handlers([Greeter()])
server.add_insecure_port("0.0.0.0:50051")
server.start()
server.wait_for_termination()
"""
ASK_GRPC = """
import grpc, json
with grpc.insecure_channel("greeter:50051") as channel:
    chat, seen = channel.stream_stream("/demo/Chat"), []
    for _ in range(20):
        words = iter((b"one", b"two"))
        seen.append([answer.decode().split() for answer in chat(words)])
    print(json.dumps(seen))
    print(channel.stream_unary("/demo/Upload")(bytes(100_000) for _ in range(50)).decode())
"""
ASK_WITHOUT_WAITING = """
import socket
with socket.create_connection(("web", 80), timeout=60) as s:
    s.sendall(b"".join(b"GET /spoken?%d HTTP/1.1\\r\\nHost: web\\r\\n\\r\\n" % n for n in range(4)))
    answer = b""
    while answer.count(b"HTTP/1.1 200") < 4:
        more = s.recv(65536)
        if not more:
            break
        answer += more
print(answer.count(b"HTTP/1.1 200"))
"""
ASK_OLD = """
import socket
with socket.create_connection(("web", 80), timeout=60) as s:
    s.sendall(b"GET /spoken HTTP/1.0\\r\\nHost: web\\r\\n\\r\\n")
    answer = b"".join(iter(lambda: s.recv(65536), b""))
head, _, body = answer.partition(b"\\r\\n\\r\\n")
print(head.splitlines()[0].decode())
print(b"transfer-encoding" in head.lower(), body.decode())
"""
ASK_TLS = """
import socket, ssl, sys
context = ssl.create_default_context(cadata=sys.argv[2])
with socket.create_connection(("secure", 8443), timeout=60) as plain:
    with context.wrap_socket(plain, server_hostname=sys.argv[1]) as s:
        print(ssl.DER_cert_to_PEM_cert(s.getpeercert(True)).strip() == sys.argv[2].strip())
        s.sendall(b"GET / HTTP/1.1\\r\\nHost: %s\\r\\nConnection: close\\r\\n\\r\\n" % sys.argv[1].encode())
        print(b"".join(iter(lambda: s.recv(65536), b"")).decode().splitlines()[-1])
"""


def nginx(configuration: str, *before: str) -> list[str]:
    steps = ("mkdir -m 777 -p /tmp/files", *before, f"echo '{configuration}' > /tmp/n.conf")
    return ["sh", "-ec", "\n".join((*steps, "exec nginx -c /tmp/n.conf"))]


SERVICES = {
    "client": {"command": ["sleep", "3600"]},
    "web": {"command": nginx(PLAIN), "expose": ["80"], "depends_on": ["app"]},
    "app": {"command": nginx(APP), "expose": ["8000"]},
    "secure": {
        "command": nginx(SECURE, CERTIFICATE.format("secure"), CERTIFICATE.format("other.test")),
        "labels": {"meshlite.ports": "tls:8443"},
    },
    "db": {"command": ["sh", "-ec", MARIADB], "expose": ["3306"]},
    "moved": {
        "command": ["sh", "-ec", MARIADB + " --port=3399"],
        "labels": {"meshlite.ports": "mysql:3399"},
    },
    "store": {"command": ["sh", "-ec", POSTGRESQL], "expose": ["5432"]},
    "cache": {"command": ["redis-server", "--protected-mode", "no"], "expose": ["6379"]},
    "greeter": {
        "command": ["python3", "-c", GRPC],
        "labels": {"meshlite.ports": "grpc:50051"},
        "deploy": {"replicas": 2},
    },
}
NETWORKS = {"default": {"enable_ipv6": True, "ipam": {"config": [{"subnet": "fd6d:6573:68::/64"}]}}}


@pytest.fixture(scope="module")
def mesh(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    folder = tmp_path_factory.mktemp("servers")
    file = compose_file({"services": SERVICES, "networks": NETWORKS}, image, folder / "project")
    project = ComposeProject("servers", file)
    with meshed(Mesh(project, folder / "state")) as mesh:
        mesh.eventually(lambda: project.curl("client", "http://web/spoken")[0] == 200, "the mesh works")
        yield mesh


def python(mesh: Mesh, script: str, *arguments: str) -> list[str]:
    return mesh.project.exec("client", "python3", "-c", script, *arguments).splitlines()


def connections(mesh: Mesh, service: str, port: int) -> int:
    """How many the proxy has opened to a service: what it answers came through the mesh."""
    answer = subprocess.run(
        ["curl", "-sS", "--unix-socket", "/run/meshlite/proxy/admin.sock", "http://envoy/clusters"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    cluster = f"outbound|{port}||{service}.{mesh.project.name}."
    counted = (line for line in answer.splitlines() if line.startswith(cluster) and "::cx_total::" in line)
    return sum(int(line.rpartition("::")[2]) for line in counted)


# -- HTTP --------------------------------------------------------------------------------------------------


def test_http_1_0_by_the_letter(mesh: Mesh) -> None:
    status, body = python(mesh, ASK_OLD)
    assert status.split()[1] == "200"
    assert body == "False HTTP/1.1", "no chunks for who does not know them"


def test_a_connection_is_kept_for_the_next_request(mesh: Mesh) -> None:
    ask = ("curl", "-sS", "-o", "/dev/null", "-o", "/dev/null", "-w", "%{http_code} %{num_connects}\\n")
    answer = mesh.project.exec("client", *ask, "http://web/spoken", "http://web/spoken")
    assert answer.splitlines() == ["200 1", "200 0"]


def test_requests_that_do_not_wait_for_answers(mesh: Mesh) -> None:
    assert python(mesh, ASK_WITHOUT_WAITING) == ["4"]


def test_an_offer_to_go_on_with_http2_is_no_obstacle(mesh: Mesh) -> None:
    assert mesh.project.curl("client", "http://web/spoken", "--http2") == (200, "HTTP/1.1")


def test_big_bodies_in_both_directions_whole_and_in_chunks(mesh: Mesh) -> None:
    script = f"""
    head -c {MEGABYTES}M /dev/urandom > /tmp/big
    curl -sS -f -T /tmp/big http://web/whole
    curl -sS -f -T - http://web/chunked < /tmp/big
    curl -sS -f http://web/whole | cmp - /tmp/big && echo same
    curl -sS -f -D /tmp/head --compressed http://web/chunked | cmp - /tmp/big && echo same
    grep -ic 'transfer-encoding: chunked' /tmp/head
    """
    answer = mesh.project.exec("client", "sh", "-ec", script)
    assert answer.splitlines() == ["same", "same", "1"]


def test_the_server_is_asked_before_a_body_is_sent(mesh: Mesh) -> None:
    script = "curl -sS -v -H 'Expect: 100-continue' --expect100-timeout 20 -T /etc/hostname $0 2>&1"
    answer = mesh.project.exec("client", "sh", "-ec", script, "http://web/asked")
    assert "< HTTP/1.1 100 Continue" in answer
    assert "< HTTP/1.1 201 Created" in answer


def test_head_tells_the_length_and_sends_nothing(mesh: Mesh) -> None:
    mesh.project.exec("client", "sh", "-ec", "echo four | curl -sS -f -T - http://web/short")
    answer = mesh.project.exec("client", "curl", "-sS", "-I", "http://web/short", "http://web/short")
    assert answer.count("HTTP/1.1 200 OK") == 2
    assert answer.lower().count("content-length: 5") == 2


@pytest.mark.parametrize(
    ("path", "host"),
    [("plain", "app:8000"), ("kept", "kept"), ("named", "web")],
    ids=["as nginx does unless told", "over kept connections", "with the name that the client asked for"],
)
def test_nginx_as_a_reverse_proxy_calls_through_the_mesh(mesh: Mesh, path: str, host: str) -> None:
    for _ in range(3):
        answer = mesh.project.curl("client", f"http://web/{path}/page?a=b")
        assert answer == (200, f"{host} /page?a=b")
    assert connections(mesh, "app", 8000) > 0


# -- gRPC and TLS ------------------------------------------------------------------------------------------


def test_streams_of_one_grpc_connection_are_spread_and_each_stays_where_it_is(mesh: Mesh) -> None:
    chats, uploaded = python(mesh, ASK_GRPC)
    seen = json.loads(chats)
    assert [[word for _, word in chat] for chat in seen] == [["one", "two"]] * 20
    assert {len({replica for replica, _ in chat}) for chat in seen} == {1}
    assert len({chat[0][0] for chat in seen}) == 2
    assert uploaded == "5000000"


@pytest.mark.parametrize(("name", "server"), [("secure", "secure"), ("other.test", "other")])
def test_tls_passes_unchanged_to_the_certificate_of_the_name_asked_for(
    mesh: Mesh, name: str, server: str
) -> None:
    mesh.eventually(lambda: mesh.project.exec("secure", "cat", "/tmp/nginx.pid"), "nginx has certificates")
    certificate = mesh.project.exec("secure", "cat", f"/tmp/{name}.pem")
    assert python(mesh, ASK_TLS, name, certificate) == ["True", f"{server} {name}"]
    assert connections(mesh, "secure", 8443) > 0


# -- databases ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("host", "port"), [("db", 3306), ("moved", 3399)])
def test_mariadb(mesh: Mesh, host: str, port: int) -> None:
    def ask(query: str) -> str:
        options = ("--no-defaults", "-h", host, "-P", str(port), "-N", "-B", "-e", query)
        return mesh.project.exec("client", "mariadb", *options)

    mesh.eventually(lambda: ask("select 1") == "1", "MariaDB has started")
    assert ask("create database d; create table d.t (n int); insert into d.t values (6), (7)") == ""
    assert ask("select sum(n) from d.t") == "13"
    assert len(ask(f"select repeat('x', {2 << 20})")) == 2 << 20
    assert connections(mesh, host, port) > 0


def test_postgresql(mesh: Mesh) -> None:
    def ask(query: str) -> str:
        return mesh.project.exec("client", "psql", "-h", "store", "-U", "postgres", "-qtAc", query)

    mesh.eventually(lambda: ask("select 1") == "1", "PostgreSQL has started")
    assert ask("create table t (n int); insert into t select generate_series(1, 1000)") == ""
    assert ask("select sum(n) from t") == "500500"
    assert len(ask(f"select repeat('x', {2 << 20})")) == 2 << 20
    assert connections(mesh, "store", 5432) > 0


def test_redis_with_many_commands_at_once(mesh: Mesh) -> None:
    script = "seq 1 2000 | sed 's/^/incrby total /' | redis-cli -h cache | tail -n 1"
    assert mesh.project.exec("client", "sh", "-ec", script) == "2001000"
    assert connections(mesh, "cache", 6379) > 0


def test_nothing_waits_for_a_protocol_on_ports_that_are_known_or_declared(mesh: Mesh) -> None:
    shown = json.loads(mesh("proxy-config", "listeners", "client", "-o", "json"))
    outbound = [one["config"] for one in shown["listeners"] if one["name"].startswith("outbound/")]
    assert outbound
    looking = [
        one
        for listener in outbound
        for one in listener["listener_filters"]
        if one["name"].endswith(("tls_inspector", "http_inspector"))
    ]
    assert looking
    for one in looking:
        quiet = disabled_ports(one["filter_disabled"])
        assert {3306, 3399, 5432, 6379} <= quiet
        assert not {80, 8000} & quiet


def disabled_ports(rule: dict[str, object]) -> set[int]:
    """Ports of a listener filter's match: a range, or any of several."""
    if "or_match" in rule:
        either = rule["or_match"]
        assert isinstance(either, dict)
        return set().union(*(disabled_ports(one) for one in either["rules"]))
    ports = rule["destination_port_range"]
    assert isinstance(ports, dict)
    return set(range(ports["start"], ports["end"]))


# -- IPv6 --------------------------------------------------------------------------------------------------


def test_http_and_a_database_by_an_ipv6_address(mesh: Mesh) -> None:
    app, store = (address6(mesh, service) for service in ("app", "store"))
    status, answer = mesh.project.curl("client", f"http://[{app}]:8000/", "-D", "-")
    assert status == 200
    assert "server: nginx" in answer, "nginx itself writes it with a capital letter; the proxy with none"
    query = ("psql", "-h", store, "-U", "postgres", "-qtAc", "select 6 * 7")
    assert mesh.project.exec("client", *query) == "42"


def address6(mesh: Mesh, service: str) -> str:
    own = mesh.project.exec(service, "ip", "-6", "-o", "addr", "show", "scope", "global")
    return own.split()[3].partition("/")[0]
