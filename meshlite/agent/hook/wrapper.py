"""The runtime wrapper: a shell script that the engine runs in place of its runtime. Pure: renders its text.

It runs the real runtime first, untouched. Only after a `create` that succeeded does it ask the agent: the
container's first process then exists, in its namespaces, and waits for the runtime's `start`. Nothing that
fails on our side can reach the container, unless the operator chose `fail_closed`.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class Wrapper:
    """`real`: the runtime that was configured before, with arguments; `python`: interpreter for `ask`."""

    real: tuple[str, ...]
    python: str
    ask: Path
    socket: Path
    fail_closed: bool = False
    patience: float = PATIENCE_SECONDS
    """Seconds for the agent to answer."""


def script(wrapper: Wrapper) -> str:
    """The wrapper's text. It is called, among others, as `[options] create [options] --pid-file FILE ID`."""
    program, *arguments = wrapper.real
    ask = [wrapper.python, "-I", "-S", str(wrapper.ask), str(wrapper.socket)]
    return _TEMPLATE.format(
        real=shlex.quote(program),
        name=shlex.quote(Path(program).name),
        arguments=_words(arguments),
        ask=_words(ask),
        patience=wrapper.patience,
        otherwise=_REFUSE if wrapper.fail_closed else "exit 0",
    )


def _words(words: Sequence[str]) -> str:
    return " ".join(shlex.quote(word) for word in words)


_REFUSE = """why="meshlite: not captured, and fail_closed is set; 'meshlite status' says more"
echo "$why" >&2
[ -z "$log" ] || printf '{"level":"error","msg":"%s"}\\n' "$why" >>"$log"
kill -KILL "$(cat "$pid_file")"
exit 1"""

_TEMPLATE = """#!/bin/sh
# Written by meshlite. The engine runs this in place of its runtime, so that a container is captured before
# its first instruction. Containers that run keep using this file: it may go only when none of them is left.
real={real}
[ -x "$real" ] || real={name}

create='' log='' pid_file='' previous=''
for word in "$@"; do
    case $previous in --pid-file) pid_file=$word ;; --log) log=$word ;; esac
    case $word in create) create=1 ;; --pid-file=*) pid_file=${{word#--pid-file=}} ;; esac
    previous=$word
done
if [ -z "$create" ] || [ -z "$pid_file" ]; then
    exec "$real" {arguments} "$@"
fi

"$real" {arguments} "$@" || exit $?
{ask} "$previous" "$(cat "$pid_file")" {patience} </dev/null >/dev/null 2>&1 && exit 0
{otherwise}
"""
