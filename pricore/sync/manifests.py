"""The composer.json of many commits, each read once however many have it, within what a repository may cost."""

import time
from collections.abc import Collection, Sequence
from typing import Final

from pricore.composer import composer_json
from pricore.composer.composer_json import MAX_COMPOSER_JSON, Manifest
from pricore.composer.discovery import NOT_READ, CommitFile, split_place
from pricore.errors import ComposerJsonError
from pricore.system.concurrency import OnShare
from pricore.system.threads import SYNCS
from pricore.vcs.mirror import Mirror

MOST_BYTES: Final = 32 * 1024 * 1024
"""Of different ones that one sync reads; a repository of one package seldom has 10 MB."""

MOST_SECONDS: Final = 10.0
"""Of a processor's time that one sync takes to check them; a usual one takes a tenth of a millisecond."""


class Manifests:
    """Reads the composer.json of commits, and of folders as commit:folder, for one sync.

    Newest first: what is too much leaves out the oldest. `on_share` is told in a thread how far a `read` is.
    """

    def __init__(self, mirror: Mirror, on_share: OnShare = lambda share: None) -> None:
        self._mirror = mirror
        self._on_share = on_share
        self._read: dict[str, Manifest | str] = {}
        self._bytes = 0
        self._seconds = 0.0

    async def read(self, places: Sequence[str], *, first: Collection[str] = ()) -> dict[str, CommitFile]:
        """What is in each of some places; those that come `first` are read before newer ones. Raises GitError."""
        times, blobs = await self._mirror.find_files(
            places, "composer.json", on_share=lambda share: self._on_share(share / 2)
        )

        def choose() -> list[str]:
            def newest(at: str) -> tuple[bool, int]:
                return at in first, times[split_place(at)[0]] or 0

            found = dict(blobs[at] for at in sorted(blobs, key=newest, reverse=True))
            return [blob for blob, size in found.items() if self._may_read(blob, size)]

        if wanted := await SYNCS.for_all(len(blobs), choose):
            await self._mirror.read_blobs(
                wanted,
                self._take,
                limit=MAX_COMPOSER_JSON,
                on_share=lambda share: self._on_share((1 + share) / 2),
            )
        return await SYNCS.for_all(
            len(places), lambda: {at: self._file(times[split_place(at)[0]], blobs.get(at)) for at in places}
        )

    def _may_read(self, blob: str, size: int) -> bool:
        """Whether one has to be read; where it may not be, why."""
        if blob in self._read:
            return False
        if size > MAX_COMPOSER_JSON:
            self._read[blob] = composer_json.TOO_LARGE
            return False
        if self._bytes + size > MOST_BYTES:
            self._read[blob] = (
                f"{NOT_READ}a sync reads {MOST_BYTES // 1024**2} MB of composer.json that differ, newest first; "
                "the next one goes on"
            )
            return False
        self._bytes += size
        return True

    def _take(self, blob: str, content: bytes) -> None:
        if self._seconds > MOST_SECONDS:
            self._read[blob] = (
                f"{NOT_READ}checking composer.json of newer versions took more than {MOST_SECONDS:g} seconds; "
                "the next sync goes on"
            )
            return
        # of this thread alone: others that are busy must not count
        began = time.thread_time()
        try:
            self._read[blob] = composer_json.read_manifest(composer_json.parse_composer_json(content))
        except ComposerJsonError as error:
            self._read[blob] = str(error)
        self._seconds += time.thread_time() - began

    def _file(self, authored_at: int | None, blob: tuple[str, int] | None) -> CommitFile:
        if authored_at is None:
            return CommitFile(False, 0)
        read = None if blob is None else self._read[blob[0]]
        if isinstance(read, str):
            return CommitFile(True, authored_at, problem=read)
        return CommitFile(True, authored_at, manifest=read)
