"""A program that takes routes away."""

import asyncio
import subprocess


class Remover:
    """An `ip` that lives on and removes routes when it is asked to, like a daemon."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["ip", "-force", "-batch", "-"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.pid = self._process.pid

    def do(self, *commands: str) -> None:
        """Carry out commands, whether or not they fail."""
        assert self._process.stdin is not None
        self._process.stdin.write("".join(f"{each}\n" for each in commands).encode())
        self._process.stdin.flush()

    async def fight(self, seconds: float, *commands: str) -> None:
        """Carry out commands twenty times a second."""
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            self.do(*commands)
            await asyncio.sleep(0.05)

    def stop(self) -> None:
        """End the program."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
