"""The programs that capture calls: `nft` and `ip`, in the host namespace or, by `nsenter`, in another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

TIMEOUT_SECONDS = 10.0
AT_ONCE = 4
"""Programs at the same time: the kernel serialises most of their work anyway."""


class CaptureError(RuntimeError):
    """A namespace could not be captured or released; says what was tried and what the system answered."""


class Runner:
    """Runs programs, a few at a time."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def nft(self, text: str) -> None:
        """Load `text` in the host's namespace, as one transaction."""
        await self.run(["nft", "-f", "-"], text)

    async def ip(self, batch: str) -> None:
        """Run lines of `ip` in the host's namespace; the first that fails ends it."""
        await self.run(["ip", "-batch", "-"], batch)

    async def inside(
        self, namespace: Path, *, batch: str = "", batch6: str = "", rules: str = "", force: bool = False
    ) -> None:
        """Lines of `ip` and `ip -6`, then nftables `rules`, inside a namespace at once.

        `force`: go on after failures.
        """
        forced = ["-force"] if force else []
        steps = [
            (["ip", *forced, "-batch", "-"], batch),
            (["ip", "-6", *forced, "-batch", "-"], batch6),
            (["nft", "-f", "-"], rules),
        ]
        steps = [(words, text) for words, text in steps if text]
        enter = ["nsenter", f"--net={namespace}"]
        if len(steps) == 1:
            ((words, text),) = steps
            await self.run([*enter, *words], text, check=not force)
        else:
            script = "".join(f"{' '.join(words)} <<'END'\n{text}END\n" for words, text in steps)
            await self.run([*enter, "sh", "-s" if force else "-es"], script, check=not force)

    async def run(self, command: Sequence[str], text: str = "", check: bool = True) -> str:
        """The program's output. Raises CaptureError with its own words where it fails and `check` is set."""
        async with self._turns:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                )
            except FileNotFoundError as error:
                raise CaptureError(f"the program {command[0]!r} is not installed") from error
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    out, err = await process.communicate(text.encode())
            except TimeoutError as error:
                process.kill()
                raise CaptureError(f"{command[0]} did not end within {TIMEOUT_SECONDS:.0f} s") from error
        if check and process.returncode != 0:
            raise CaptureError(f"{' '.join(command)} failed: {err.decode(errors='replace').strip()}")
        return out.decode(errors="replace")
