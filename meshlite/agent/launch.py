"""A program of its own: starts Envoy as a child of init, as its own user, and tells its pid.

Run as `python -I -S launch.py <plan>`; a plan is JSON: {"command": [...], "uid": n, "log": path, "files": n,
"lock": n, "record": {...}, "record_file": path}. Envoy asks the kernel to end it with its parent (hot
restart), so it must not see a parent that ends.

Whoever asked for it may be gone before it runs. So it is noted in the record before it is Envoy, and until
then the open file `lock` is held: who removes Envoy waits for that lock, and then knows it.
"""

import json
import os
import pathlib
import resource
import stat
import sys
import time
from typing import Any

CAPABILITIES = "-all,+sys_admin,+net_admin,+net_bind_service"
"""CAP_SYS_ADMIN opens sockets in the workloads' namespaces, CAP_NET_ADMIN marks connections,
CAP_NET_BIND_SERVICE opens the ports of gateways below 1024."""


def command(plan: dict[str, Any]) -> list[str]:
    """The plan's command behind setpriv(1), which gives up everything that is not needed."""
    uid = str(plan["uid"])
    binary, *arguments = plan["command"]
    return [
        "setpriv",
        *("--reuid", uid, "--regid", uid, "--clear-groups", "--no-new-privs"),
        *(f"--{kind}={CAPABILITIES}" for kind in ("inh-caps", "ambient-caps", "bounding-set")),
        *("--", reachable(str(binary)), *arguments),
    ]


def reachable(binary: str) -> str:
    """A path by which any user may run the binary, also if it lies below somebody's closed home folder."""
    folders = pathlib.Path(binary).resolve().parents
    if all(folder.stat().st_mode & stat.S_IXOTH for folder in folders):
        return binary
    opened = os.open(binary, os.O_RDONLY)
    os.set_inheritable(opened, True)
    return f"/proc/self/fd/{opened}"


def become(plan: dict[str, Any], parent: int, told: int) -> None:
    """Turn this process into Envoy, once init is its parent."""
    while os.getppid() == parent:
        time.sleep(0.0005)
    os.umask(0o077)
    os.chdir("/")
    log = os.open(str(plan["log"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    for stream in (1, 2):
        os.dup2(log, stream)
    limit_files(int(str(plan["files"])))
    note(plan["record"], str(plan["record_file"]))
    os.write(told, f"{os.getpid()}\n".encode())
    os.execvpe("setpriv", command(plan), {"PATH": os.environ.get("PATH", os.defpath)})


def note(record: dict[str, Any], file: str) -> None:
    """Write the record, with this process as the current one."""
    with open("/proc/self/stat") as stat_file:
        start = int(stat_file.read().rpartition(")")[2].split()[19])
    record["current"]["process"] = {"pid": os.getpid(), "start": start}
    with open(f"{file}.new", "w") as fresh:
        json.dump(record, fresh)
    os.replace(f"{file}.new", file)


def limit_files(wanted: int) -> None:
    """Allow `wanted` open files, or as many as this process may allow itself."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(plan: dict[str, Any]) -> int:
    """Fork twice, print the pid of what became Envoy. Returns the exit code."""
    os.set_inheritable(int(str(plan["lock"])), False)
    heard, told = os.pipe()
    middle = os.fork()
    if middle == 0:
        os.setsid()
        parent = os.getpid()
        if os.fork() == 0:
            try:
                become(plan, parent, told)
            except OSError as error:
                os.write(told, f"error: {error}\n".encode())
                os._exit(1)
        os._exit(0)
    os.close(told)
    os.waitpid(middle, 0)
    with open(heard) as answers:
        answer = answers.read()
    sys.stdout.write(answer)
    return 1 if "error:" in answer or not answer else 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
