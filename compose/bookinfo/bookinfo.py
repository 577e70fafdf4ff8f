#!/usr/bin/env python3
"""Bookinfo: one page made by four small services, to watch a mesh at work.

`bookinfo.py productpage|details|reviews|ratings` serves one of them on port 9080. Names, versions and paths
are those of Istio's sample (https://istio.io/latest/docs/examples/bookinfo/), so its YAML makes sense here:

    productpage ──► details
                └─► reviews v1 (no stars), v2 (black), v3 (red) ──► ratings (asked by v2 and v3)

Needs nothing but Python. Environment: VERSION (v1), PORT (9080), and for callers DETAILS_URL, REVIEWS_URL,
RATINGS_URL.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import socketserver
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

VERSION = os.environ.get("VERSION", "v1")
REPLICA = socket.gethostname()
URLS = {
    name: os.environ.get(f"{name.upper()}_URL", f"http://{name}:9080")
    for name in ("details", "reviews", "ratings")
}

# What a caller hands on, so that a route by user and a trace reach through every hop.
FORWARDED = (
    "end-user", "user-agent", "authorization", "cookie", "baggage",
    "x-request-id", "traceparent", "tracestate", "x-ot-span-context", "x-cloud-trace-context",
    "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags",
)  # fmt: skip

BOOK = {
    "id": 0,
    "title": "The Comedy of Errors",
    "author": "William Shakespeare",
    "year": 1595,
    "type": "paperback",
    "pages": 200,
    "publisher": "PublisherA",
    "language": "English",
    "ISBN-10": "1234567890",
    "ISBN-13": "123-1234567890",
}
DESCRIPTION = (
    "Two pairs of twins, one town, and nobody who keeps a record of who is who. Everybody answers to the "
    "right name and yet the wrong one turns up: a play about identity, four hundred years before mutual TLS."
)
REVIEWS = {
    "Reviewer1": "Reads in one evening. I laughed at the locked door, and again at the unpaid chain.",
    "Reviewer2": "Light as a feather beside the later plays, but every mix-up is wired with great care.",
}
STAR_COLORS = {"v1": None, "v2": "black", "v3": "red"}
# As in Istio's sample: v2 waits longer for ratings than the page waits for it, which a delay brings to light.
RATINGS_TIMEOUT = {"v2": 10.0, "v3": 2.5}
PAGE_TIMEOUT, PAGE_ATTEMPTS = 3.0, 2


@dataclass(frozen=True)
class Request:
    """One request, read completely."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(part for part in self.path.split("/") if part)


@dataclass(frozen=True)
class Reply:
    """One answer: JSON, or text that is already HTML."""

    content: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Service = Callable[[Request], Reply]

NOT_FOUND = Reply({"error": "there is nothing at this path"}, 404)


def health(name: str) -> Reply:
    return Reply({"status": f"{name} is healthy", "version": VERSION})


# -- the three services behind the page ----------------------------------------------------------------------


def details(request: Request) -> Reply:
    match request.parts:
        case ("health",):
            return health("Details")
        case ("details", product) if product.isdigit():
            shown = {key: value for key, value in BOOK.items() if key != "title"}
            return Reply({**shown, "id": int(product)})
        case _:
            return NOT_FOUND


class Ratings:
    """Stars by product and reviewer; a POST changes them until the process ends."""

    def __init__(self) -> None:
        self._given: dict[int, dict[str, int]] = {}
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Reply:
        match request.method, request.parts:
            case _, ("health",):
                return health("Ratings")
            case "GET" | "HEAD", ("ratings", product) if product.isdigit():
                return self._answer(int(product))
            case "POST", ("ratings", product) if product.isdigit():
                return self._rate(int(product), request.body)
            case _:
                return NOT_FOUND

    def _answer(self, product: int) -> Reply:
        with self._lock:
            stars = dict(self._given.get(product, {"Reviewer1": 5, "Reviewer2": 4}))
        return Reply({"id": product, "ratings": stars})

    def _rate(self, product: int, body: bytes) -> Reply:
        try:
            stars = {str(name): int(value) for name, value in json.loads(body).items()}
        except (ValueError, AttributeError, TypeError):
            return Reply({"error": 'please send stars by reviewer, such as {"Reviewer1": 3}'}, 400)
        with self._lock:
            self._given[product] = stars
        return self._answer(product)


def reviews(request: Request) -> Reply:
    match request.parts:
        case ("health",):
            return health("Reviews")
        case ("reviews", product) if product.isdigit():
            return Reply(reviews_of(int(product), forwarded(request)))
        case _:
            return NOT_FOUND


def reviews_of(product: int, headers: Mapping[str, str]) -> dict[str, Any]:
    given: list[dict[str, Any]] = [{"reviewer": name, "text": text} for name, text in REVIEWS.items()]
    if color := STAR_COLORS.get(VERSION):
        rated = call(f"{URLS['ratings']}/ratings/{product}", headers, RATINGS_TIMEOUT[VERSION])
        for review in given:
            review["rating"] = rating_of(review["reviewer"], rated, color)
    return {"id": str(product), "podname": REPLICA, "version": VERSION, "reviews": given}


def rating_of(reviewer: str, rated: Answer, color: str) -> dict[str, Any]:
    if rated.status != 200:
        return {"error": "Ratings service is currently unavailable"}
    return {"stars": rated.data.get("ratings", {}).get(reviewer, 0), "color": color}


# -- calling each other --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What a call to another service came to; `status` is 0 when there was no answer at all."""

    status: int
    data: Any
    replica: str
    version: str
    seconds: float


def forwarded(request: Request) -> dict[str, str]:
    return {name: request.headers[name] for name in FORWARDED if name in request.headers}


def call(url: str, headers: Mapping[str, str], timeout: float) -> Answer:
    """GET `url` on a new connection, waiting at most `timeout` seconds; failure is an answer too."""
    started = time.monotonic()
    request = urllib.request.Request(url, headers=dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=timeout) as got:
            status, data = got.status, json.loads(got.read())
            replica, version = got.headers.get("x-replica", "?"), got.headers.get("x-version", "?")
    except urllib.error.HTTPError as error:
        with error:
            status, data, replica, version = error.code, {}, error.headers.get("x-replica", "-"), "-"
    except (OSError, ValueError):
        status, data, replica, version = 0, {}, "-", "-"
    return Answer(status, data, replica, version, time.monotonic() - started)


def call_again(url: str, headers: Mapping[str, str]) -> Answer:
    """Call, and once more if that failed; the time is that of all attempts."""
    started = time.monotonic()
    for _ in range(PAGE_ATTEMPTS):
        answer = call(url, headers, PAGE_TIMEOUT)
        if answer.status == 200:
            break
    return Answer(answer.status, answer.data, answer.replica, answer.version, time.monotonic() - started)


# -- the page ------------------------------------------------------------------------------------------------


def productpage(request: Request) -> Reply:
    match request.method, request.parts:
        case _, ("health",):
            return health("Product page")
        case _, ():
            return Reply("", 302, {"location": "/productpage"})
        case "POST", ("login",):
            return signed_in(parse_qs(request.body.decode("utf-8", "replace")).get("username", [""])[0])
        case _, ("logout",):
            return signed_in("")
        case _, ("productpage",):
            return page(request)
        case _, ("api", "v1", "products", *rest):
            return products(rest, user_headers(request))
        case _:
            return NOT_FOUND


def signed_in(user: str) -> Reply:
    return Reply("", 302, {"location": "/productpage", "set-cookie": user_cookie(user)})


def user_cookie(user: str) -> str:
    return f"user={quote(user)}; Path=/; HttpOnly; SameSite=Lax" + ("" if user else "; Max-Age=0")


def user_of(request: Request) -> str:
    """Who looks at the page: `?u=` first, then the session cookie, then the header of a caller."""
    if "u" in request.query:
        return request.query["u"]
    cookie = SimpleCookie(request.headers.get("cookie", "")).get("user")
    return unquote(cookie.value) if cookie else request.headers.get("end-user", "")


def user_headers(request: Request) -> dict[str, str]:
    user = "".join(char for char in user_of(request) if char.isprintable() and char.isascii())
    return {**forwarded(request), **({"end-user": user} if user else {})}


def products(rest: list[str], headers: Mapping[str, str]) -> Reply:
    match rest:
        case []:
            return Reply([{"id": 0, "title": BOOK["title"], "descriptionHtml": escape(DESCRIPTION)}])
        case [product]:
            kind, path = "details", f"details/{product}"
        case [product, ("reviews" | "ratings") as kind]:
            path = f"{kind}/{product}"
        case _:
            return NOT_FOUND
    if not product.isdigit():
        return Reply({"error": "a product is named by its number"}, 400)
    answer = call_again(f"{URLS[kind]}/{path}", headers)
    if answer.status == 200:
        return Reply(answer.data)
    return Reply({"error": unavailable(kind)}, answer.status or 503)


def unavailable(what: str) -> str:
    return f"Sorry, product {what} are currently unavailable"


def page(request: Request) -> Reply:
    headers = user_headers(request)
    info = call_again(f"{URLS['details']}/details/0", headers)
    opinions = call_again(f"{URLS['reviews']}/reviews/0", headers)
    body = PAGE.format(
        style=STYLE,
        title=escape(str(BOOK["title"])),
        author=escape(str(BOOK["author"])),
        description=escape(DESCRIPTION),
        user=sign_in_form(headers.get("end-user", "")),
        details=details_html(info),
        reviews=reviews_html(opinions),
        hops="".join(hop_html(name, answer) for name, answer in (("details", info), ("reviews", opinions))),
        replica=escape(REPLICA),
        version=escape(VERSION),
    )
    cookie = {"set-cookie": user_cookie(request.query["u"])} if "u" in request.query else {}
    return Reply(body, 200, cookie)


def sign_in_form(user: str) -> str:
    if user:
        return f'<span>Signed in as <b>{escape(user)}</b></span> <a href="/logout">Sign out</a>'
    return (
        '<form method="post" action="/login"><label>User <input name="username" size="12" '
        'autocomplete="username" required></label> <button>Sign in</button></form>'
    )


def details_html(answer: Answer) -> str:
    if answer.status != 200:
        return f'<p class="sorry">{unavailable("details")}</p>'
    shown = {escape(key): escape(str(value)) for key, value in answer.data.items() if key != "id"}
    return f"<dl>{''.join(f'<dt>{key}</dt><dd>{value}</dd>' for key, value in shown.items())}</dl>"


def reviews_html(answer: Answer) -> str:
    if answer.status != 200:
        return f'<p class="sorry">{unavailable("reviews")}</p>'
    return "".join(review_html(review) for review in answer.data.get("reviews", ()))


def review_html(review: Mapping[str, Any]) -> str:
    text, name = escape(str(review["text"])), escape(str(review["reviewer"]))
    rating = review.get("rating") or {}
    if "error" in rating:
        stars = f'<p class="sorry">{escape(str(rating["error"]))}</p>'
    elif "stars" in rating:
        given = max(0, min(5, int(rating["stars"])))
        color = escape(str(rating["color"]))
        stars = f'<p class="stars {color}" title="{given} of 5, {color}">{"★" * given}{"☆" * (5 - given)}</p>'
    else:
        stars = ""
    return f"<blockquote>{stars}<p>{text}</p><footer>{name}</footer></blockquote>"


def hop_html(name: str, answer: Answer) -> str:
    outcome = {200: "200", 0: "no answer"}.get(answer.status, str(answer.status))
    cells = (name, answer.version, answer.replica, outcome, f"{answer.seconds * 1000:.0f} ms")
    bad = "" if answer.status == 200 else ' class="sorry"'
    return f"<tr{bad}>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


STYLE = """
:root { color-scheme: light dark; --ink: #22252b; --soft: #667; --paper: #f5f3ee; --card: #fff;
  --line: #dddad2; --accent: #2f5d8c; --red: #c8372d; --sorry: #9a5b00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e6e1; --soft: #9aa0ab; --paper: #17191d; --card: #20242a;
    --line: #343a43; --accent: #8cb8e8; --red: #ff7a6e; --sorry: #f0b35a; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
header { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; align-items: center; padding: .8rem 1.5rem;
  background: var(--card); border-bottom: 1px solid var(--line); }
header > b { margin-right: auto; }
header a { color: var(--accent); }
main { max-width: 60rem; margin: 2rem auto; padding: 0 1.5rem; display: grid; gap: 1.5rem; }
section { padding: 1.2rem 1.4rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; }
h1 { font: 600 2rem/1.2 Georgia, serif; margin: 0 0 .2rem; }
h2 { font-size: 1.05rem; margin: 0 0 .8rem; }
.book { display: grid; grid-template-columns: 9rem 1fr; gap: 1.5rem; }
.cover { aspect-ratio: 2 / 3; border-radius: 4px 8px 8px 4px; padding: 1rem .8rem; color: #fdf6e3;
  font: 600 1rem/1.25 Georgia, serif; box-shadow: 0 6px 18px #0004;
  background: linear-gradient(100deg, #0003 0 6%, #0000 8%), linear-gradient(160deg, #7a2e3a, #33203f); }
.pair { display: grid; grid-template-columns: 1fr 2fr; gap: 1.5rem; }
.by, footer, th, dt { color: var(--soft); }
dl { display: grid; grid-template-columns: auto 1fr; gap: .25rem 1rem; margin: 0; }
dd { margin: 0; }
blockquote { margin: 0 0 1.2rem; padding-left: 1rem; border-left: 3px solid var(--line); }
blockquote p { margin: 0 0 .3rem; }
.stars { font-size: 1.35rem; letter-spacing: .1em; line-height: 1; }
.red { color: var(--red); }
.sorry, .sorry td { color: var(--sorry); }
table { width: 100%; border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; font-weight: 400; padding: .3rem .6rem .3rem 0; }
tr { border-top: 1px solid var(--line); }
input, button { font: inherit; padding: .25rem .6rem; border: 1px solid var(--line); border-radius: 6px;
  background: var(--paper); color: inherit; }
button { background: var(--accent); color: var(--card); border-color: var(--accent); cursor: pointer; }
@media (max-width: 42rem) { .pair, .book { grid-template-columns: 1fr; } .cover { width: 8rem; } }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · Bookinfo</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<header><b>Bookinfo</b>{user}</header>
<main>
<div class="book">
<div class="cover">{title}</div>
<div><h1>{title}</h1><p class="by">{author}</p><p>{description}</p></div>
</div>
<div class="pair">
<section><h2>Book details</h2>{details}</section>
<section><h2>Reviews</h2>{reviews}</section>
</div>
<section>
<h2>Who answered</h2>
<table>
<tr><th>service</th><th>version</th><th>replica</th><th>answer</th><th>took</th></tr>
{hops}
</table>
</section>
<footer>productpage {version} on {replica}</footer>
</main>
</body>
</html>
"""


# -- serving -------------------------------------------------------------------------------------------------


def log(line: str) -> None:
    """One write per line, so that lines of several threads do not mix."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with keep-alive around one service."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65536  # head and body leave in one packet
    server: Server

    def answer(self) -> None:
        with self.server.busy():
            started = time.monotonic()
            reply = self.serve()
            self.send(reply)
            self.wfile.flush()
        took = (time.monotonic() - started) * 1000
        log(f"{self.command} {self.path} {reply.status} {took:.0f} ms")

    do_GET = do_POST = do_HEAD = answer

    def serve(self) -> Reply:
        if "transfer-encoding" in self.headers:
            self.close_connection = True
            return Reply({"error": "please send a Content-Length"}, 411)
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        query = {key: values[-1] for key, values in parse_qs(url.query, keep_blank_values=True).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        return self.server.service(Request(self.command, url.path, query, headers, body))

    def send(self, reply: Reply) -> None:
        is_html = isinstance(reply.content, str)
        body = (reply.content if is_html else json.dumps(reply.content)).encode()
        self.send_response(reply.status)
        self.send_header("content-type", "text/html; charset=utf-8" if is_html else "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("x-version", VERSION)
        self.send_header("x-replica", REPLICA)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if self.server.draining:
            self.send_header("connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        return "bookinfo"

    def log_message(self, format: str, *args: object) -> None:
        """Requests are logged by `answer`; broken ones need no line."""


class Server(socketserver.ThreadingTCPServer):
    """A server that, asked to end, first lets callers notice and finishes what it began."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256
    quiet_seconds, notice_seconds, finish_seconds = 0.2, 2.0, 6.0

    def __init__(self, port: int, service: Service) -> None:
        self.service = service
        self.draining = False
        self._running = 0
        self._last = 0.0
        self._lock = threading.Lock()
        if socket.has_dualstack_ipv6():
            self.address_family = socket.AF_INET6
        super().__init__(("", port), Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Counts one request for as long as it is being answered."""
        self._count(+1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            self._running += change
            self._last = time.monotonic()

    def drain(self) -> None:
        """Go on answering, with `Connection: close`, until callers stay away; then end `serve_forever`."""
        self.draining = True
        self._last = time.monotonic()
        self._wait(self.notice_seconds, lambda: time.monotonic() - self._last > self.quiet_seconds)
        self.shutdown()

    def finish(self) -> None:
        self._wait(self.finish_seconds, lambda: True)

    def _wait(self, seconds: float, enough: Callable[[], bool]) -> None:
        """Until nobody is being answered and `enough` says so, at most `seconds`."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and (self._running or not enough()):
            time.sleep(0.02)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hangs up is no event; anything else is worth a line."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            log(f"failed: {error!r}")


SERVICES: dict[str, Callable[[], Service]] = {
    "productpage": lambda: productpage,
    "details": lambda: details,
    "reviews": lambda: reviews,
    "ratings": Ratings,
}


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in SERVICES:
        print(f"usage: bookinfo.py {'|'.join(SERVICES)}", file=sys.stderr)
        return 2
    name = arguments[0]
    server = Server(int(os.environ.get("PORT", "9080")), SERVICES[name]())

    def end(*_: object) -> None:
        threading.Thread(target=server.drain, daemon=True).start()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    log(f"{name} {VERSION} on {REPLICA} serves port {server.server_address[1]}")
    server.serve_forever(poll_interval=0.05)
    server.finish()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
