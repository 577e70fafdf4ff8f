"""The API's reference page, made from the table of routes: `python -m meshlite.server.reference FILE`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from meshlite.server.auth import Role
from meshlite.server.call import Route
from meshlite.server.routes import ROUTES

_WHO = {
    Role.ANYONE: "anyone",
    Role.VIEWER: "viewer",
    Role.OPERATOR: "operator",
    Role.ADMIN: "admin",
    Role.NODE: "nodes",
    Role.OWN_NODE: "the node itself",
}

_PEOPLE = (Role.VIEWER, Role.OPERATOR, Role.ADMIN)

_ABOVE = """# Server API

<!-- Made from the routes: `python -m meshlite.server.reference docs/reference/api.md` -->

JSON over HTTP. `GET /v1/openapi.json` serves the same as an OpenAPI 3.1 document, with the form of
every body.

- **On the server's host**: the socket `/run/meshlite/admin.sock`. Root, the server's own user and
  members of the group `meshlite` are *admin*. Try
  `curl --unix-socket /run/meshlite/admin.sock http://localhost/v1/nodes`.
- **From elsewhere**: TLS 1.2 or newer on port 7443. Agents show their node's certificate; people send
  `Authorization: Bearer …` with a token that `meshlite access create` printed. Without either only the
  calls for *anyone* are answered.

A call is for the role that is named and for those above it: *viewer*, *operator*, *admin*.

| Call | Who | Body | Answer |
|---|---|---|---|
"""

_BELOW = """
## Errors

Every answer that is not 2xx has the body `{"error": "…", "hint": "…", "details": […]}`, except the 422
of `POST /v1/resources`, which lists each rejected document with its place, field and reason.

| Status | Means |
|---|---|
| 400 | the body or a parameter cannot be read; `details` names each field |
| 401 | who are you? Or: the join token is unknown, used up or expired; the node was removed |
| 403 | you are known and may not do this |
| 404, 405 | no such path, node or resource; or not with this method |
| 408, 413 | the body came too slowly, or is too large |
| 409 | changed by somebody else meanwhile, or the node's name is taken |
| 503 | the state cannot be written now (disk full, file locked): nothing was changed |

## Joining

`POST /v1/tokens` makes a token: `<secret>.<SHA-256 of the root certificate, hex>`. A new node

1. gets `/v1/ca` without verifying TLS (nothing secret is sent) and keeps the root that has this hash;
2. verifies TLS with that root and the name `meshlite-server`, which every server certificate has and
   no other certificate, so any address of the server will do;
3. sends the token and a certificate request (ECDSA P-256) to `/v1/nodes/join`.

A name that has joined already is refused (409) unless the token was made for it (`"node": "<name>"`), or
the node has been silent for so long that it is not listed any more.
Without `namespaces` the token lets the node report workloads in any namespace and get the identities of
those that it reports. With `namespaces` it may speak for these only, and get any identity in them.
`DELETE /v1/nodes/{node}` ends the node's right to call at once.

## Reports and leases

A node sends its full set of workloads at every change, and at least every third of the lease. A node
that is silent for the lease is withdrawn with its workloads; its next report brings both back. A
workload that cannot be taken (a namespace that is not the node's to speak for, an id that another node
has) is left out and named in the answer's `refused`; the others count. A service whose workloads are
gone stays known for ten minutes, and longer where a resource names it; it goes with its last workload
where its project has left the mesh, or only nodes mesh it that have been silent for ten minutes. A node
that is silent for as long as a certificate lasts (a day) is not listed any more. Both are as they were
when they come back: the service has its virtual address for good, the node its projects. A restart of the
server does not begin these times anew.

## The snapshot stream

`GET /v1/snapshots?version=V` never ends by itself. Each line is a JSON object. The first comes at once:
the whole state (`"full": true`), or only `{"version": V}` if V is current. Then there is a line for each
change, with what was changed and what was removed, against the line before; and every 5 s of silence a
heartbeat, which is nothing but the version. Fields that are empty are left out. A slow reader misses
states in between, never the latest; one that takes nothing for 30 s is cut off. The version is a hash
of the content: it is the same after a restart of the server.

## Changing resources safely

`POST /v1/resources` applies all documents or none. Each change raises the resource's `generation`; an
equal document changes nothing. With `If-Match: *` every document must carry the generation that it was
based on (0: there is none yet), else the answer is 409 and nothing is applied. `DELETE` takes the
generation itself, as the `ETag` of `GET` gives it: `If-Match: "3"`. The last 20 changes are in
`/history`, also after a deletion.
"""


def page() -> str:
    """Markdown."""
    return _ABOVE + "".join(_row(route) for route in ROUTES) + _parameters() + _BELOW


def _row(route: Route) -> str:
    lowest = next((role for role in _PEOPLE if role in route.allow), None)
    named = (role for role in Role if role in route.allow and (role not in _PEOPLE or role is lowest))
    who = ", ".join(_WHO[role] for role in named)
    body = f"`{route.body.__name__}`" if route.body else ""
    answer = f"`{route.answer.__name__}`" if route.answer else "204"
    return f"| `{route.method} {route.path}`<br>{route.summary} | {who} | {body} | {answer} |\n"


def _parameters() -> str:
    def rows() -> Iterator[str]:
        for route in ROUTES:
            for place, described in (("query", route.query), ("header", route.headers)):
                for name, meaning in described.items():
                    yield f"| `{route.method} {route.path}` | {place} | `{name}` | {meaning} |\n"

    return "\n| Call | In | Parameter | Meaning |\n|---|---|---|---|\n" + "".join(rows())


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page())
