"""Runs inside a container with nothing but Python: `calls.py URL COUNT HEADERS` calls one after another.

Prints a JSON list of what came of each call: {"status", "version", "seconds", "error"}; status 0: no answer.
"""

import json
import sys
import time
import urllib.error
import urllib.request

TIMEOUT = 10.0


def call(url: str, headers: dict[str, str]) -> dict[str, object]:
    begun = time.monotonic()
    status, version, error = 0, "", ""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
            status, version = answer.status, answer.headers.get("x-version", "")
            answer.read()
    except urllib.error.HTTPError as refused:
        status, error = refused.code, refused.read().decode(errors="replace")[:200]
    except OSError as broken:
        reason = getattr(broken, "reason", broken)
        error = getattr(reason, "strerror", None) or str(reason)
    return {"status": status, "version": version, "seconds": time.monotonic() - begun, "error": error}


if __name__ == "__main__":
    target, count, given = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
    json.dump([call(target, given) for _ in range(count)], sys.stdout)
