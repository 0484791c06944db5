"""Changes in another organization, one after the other, as another process commits them.

A program: it takes a data folder, prints `{}` after its first change, and ends with its standard input.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

from pricore.store import Store

_PAUSE: Final = 0.05
_OTHER: Final = "other"


@contextmanager
def changing(data: Path, *, active: bool) -> Iterator[None]:
    """Commit a change every 50 ms as long as the block runs, where that is active."""
    if not active:
        yield
        return
    with subprocess.Popen(
        [sys.executable, "-m", "bench.changes", str(data)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.communicate()
    if process.returncode:
        raise RuntimeError("the changes failed")


async def main() -> None:
    """Commit until standard input ends."""
    async with Store(Path(sys.argv[1]) / "pricore.sqlite3") as store:
        organization = await store.organizations.find(_OTHER) or await store.organizations.create(_OTHER, "Other")
        end = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        for number in count():
            await store.organizations.change(organization, description=f"change {number}")
            if number == 0:
                print("{}", flush=True)
            await asyncio.wait([end], timeout=_PAUSE)
            if end.done():
                return


if __name__ == "__main__":
    asyncio.run(main())
