"""Archives from one place to another, while they are served."""

import msgspec

from pricore.archives.dists import Dists
from pricore.archives.storage import Storage, Stored
from pricore.errors import DistError
from pricore.system.concurrency import OnDone, each


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """How many files were moved, and which were not, with the reason."""

    moved: int
    failed: dict[str, str]


async def move(dists: Dists, source: Storage, target: Storage, *, progress: OnDone) -> Moved:
    """Bring all archives from one place to another. Where it was interrupted it is done by doing it once more.

    Raises StorageError where a place cannot be reached.
    """
    failed: dict[str, str] = {}

    async def work(item: Stored) -> None:
        try:
            await dists.move(item.name, source, target)
        except DistError as error:
            failed[item.name] = str(error)

    items = await source.list()
    await each(items, work, "Moving archives", progress)
    return Moved(moved=len(items) - len(failed), failed=failed)
