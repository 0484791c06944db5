"""Backups: the registry in one file, taken while it serves, and put back into an empty folder.

What is in one hangs together because of the order. First the database, as it is at one moment. Then the mirrors,
which may be newer than it: a commit is kept for good before its version is published, nothing is ever pruned, and
git reads the refs before the objects. So every version in the database is in a mirror that is copied after it, in
the middle of a fetch too, and no lock is needed for that. Archives come last; they never change. Those that were
uploaded are nowhere else, and always in it; one that was deleted on purpose meanwhile is missing.

In a restored folder no server has its lock, no sync is at work, and jobs that were begun wait again: a sync
compares with what is upstream, so that doing one twice does nothing.
"""

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from threading import Event
from typing import IO, TYPE_CHECKING, Final, TypeVar

import msgspec

from pricore.auth.sealing import Sealer, open_with_passphrase, seal_with_passphrase
from pricore.config import Config
from pricore.engine.database import one_at_a_time
from pricore.engine.sqlite import check_owner, find_damage
from pricore.errors import BackupError, GitError, explain
from pricore.git import Git
from pricore.operations import backup_file
from pricore.operations.backup_file import DATABASE, DISTS, KEY, KNOWN_HOSTS, MIRRORS, UPLOADS, Writer
from pricore.store import Store
from pricore.system.clock import now
from pricore.system.files import create_file, sync_folder
from pricore.vcs.mirror import Mirror

if TYPE_CHECKING:
    from pricore.services.opening import Services

T = TypeVar("T")

Ask = Callable[[], str]
"""Gives the passphrase, asked for when it is needed."""

OnStep = Callable[[str, int, int], None]
"""Told what is going on."""

_STAGING: Final = ".restore"


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """A backup that was made; the `key` is in it or not.

    `left_out` are the mirrors that could not be read, by the URL of their repository, and why.
    """

    created_at: str
    schema: int
    size: int
    key: bool
    repositories: int
    dists: int
    left_out: dict[str, str]


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What was put back. `key` is `restored`, `there` where one was at its place already, or `missing`.

    `queued` counts the repositories without a mirror, which are synced anew.
    """

    created_at: str
    schema: int
    key: str
    repositories: int
    dists: int
    queued: int


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What goes into a backup beside the database; the key only with a passphrase that seals it."""

    passphrase: str | None = None
    repositories: bool = False
    dists: bool = False


async def write(
    file: IO[bytes],
    scratch: Path,
    services: "Services",
    choice: Choice,
    *,
    progress: OnStep = lambda text, done, total: None,
) -> Backup:
    """Write a backup of a data folder to a file; `scratch` is a folder with room for the database.

    `progress` is told what is going on, how much of it is done, and how much there is (0: nobody knows).
    Raises BackupError where that cannot be written, StoreError where the database cannot be copied, SealError.
    """
    store, config, sealed = services.store, services.config, None
    if choice.passphrase is not None:
        sealed = await asyncio.to_thread(_seal_key, config, choice.passphrase)
    head = backup_file.new_head(version=version("pricore"), at=now())
    copied = scratch / DATABASE
    progress("Copying the database", 0, 0)
    await store.copy_to(copied)
    stopped = Event()
    try:
        writer = Writer(file, head, stopped=stopped)
        try:
            progress("Packing the database", 0, 0)
            await _in_thread(stopped, partial(writer.add, DATABASE, copied))
            copied.unlink()
            if config.known_hosts.exists():
                writer.add_content(KNOWN_HOSTS, config.known_hosts.read_bytes())
            if sealed is not None:
                writer.add_content(KEY, sealed)
            repositories, left_out = 0, dict[str, str]()
            if choice.repositories:
                repositories, left_out = await _add_mirrors(writer, stopped, scratch, services, progress)
            files = await _archives(services, kept=choice.dists)
            dists = await _in_thread(stopped, partial(_add_archives, writer, files, _on_loop(progress)))
            await _in_thread(stopped, writer.finish)
        except BaseException:
            writer.abandon()
            raise
    except OSError as error:
        raise BackupError(f"cannot write the backup: {explain(error)}") from None
    return Backup(
        created_at=head.created_at,
        schema=head.schema,
        size=writer.size,
        key=sealed is not None,
        repositories=repositories,
        dists=dists,
        left_out=left_out,
    )


def _seal_key(config: Config, passphrase: str) -> bytes | None:
    """The key as it may lie beside what it opens; None where nothing was ever sealed."""
    if not config.key.exists():
        return None
    return seal_with_passphrase(Sealer(config.key).read(), passphrase)


async def _archives(services: "Services", *, kept: bool) -> Mapping[str, Sequence[Path]]:
    """The archives that a backup has, by their folder: what was uploaded, and those that are `kept` on request."""
    archives, uploads = services.store.archives, services.uploads
    files = {UPLOADS: [uploads.path(shasum) for shasum in sorted(await archives.uploaded_checksums())]}
    if kept:
        known = sorted(await archives.all_checksums())
        files[DISTS] = [path for shasum in known for path in services.dists.kept(shasum)]
    return files


def _on_loop(progress: OnStep) -> OnStep:
    """The same for who is in another thread."""
    loop = asyncio.get_running_loop()

    def tell(text: str, done: int, total: int) -> None:
        loop.call_soon_threadsafe(progress, text, done, total)

    return tell


async def _add_mirrors(
    writer: Writer, stopped: Event, scratch: Path, services: "Services", progress: OnStep
) -> tuple[int, dict[str, str]]:
    """How many mirrors went in, and why others did not; those that no sync has filled yet are none."""
    store, count, left_out = services.store, 0, {}
    ids = sorted(await store.repositories.ids())
    for number, repository_id in enumerate(ids):
        repository = await store.repositories.find(repository_id)
        if repository is None:
            continue  # removed meanwhile
        progress("Packing mirrors", number, len(ids))
        bundle = scratch / f"{repository_id}.bundle"
        try:
            if await services.sources.mirror(repository_id, url=repository.url).bundle(bundle):
                await _in_thread(stopped, partial(writer.add, f"{MIRRORS}/{bundle.name}", bundle))
                count += 1
        except GitError as error:
            if await store.repositories.find(repository_id) is not None:
                left_out[repository.url] = str(error)
        finally:
            bundle.unlink(missing_ok=True)
    return count, left_out


def _add_archives(writer: Writer, files: Mapping[str, Sequence[Path]], progress: OnStep) -> int:
    """How many archives went in, of those that each folder is to have."""
    count, total = 0, sum(map(len, files.values()))
    for folder, paths in files.items():
        for path in paths:
            progress("Packing archives", count, total)
            with suppress(FileNotFoundError):  # deleted meanwhile
                writer.add(f"{folder}/{path.parent.name}/{path.name}", path)
                count += 1
    return count


@contextmanager
def destination(target: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """A file that takes the place of `target` at the end, whole and on the disk, and a folder for what it takes.

    Nobody else can read it. Where it fails, what was there is there still. Raises BackupError.
    """
    target = target.absolute()
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as name:
            scratch = Path(name)
            new = scratch / "backup"
            with create_file(new) as file:
                yield file, scratch
            new.replace(target)
            sync_folder(target.parent)
    except OSError as error:
        raise BackupError(f"cannot write {target}: {error.strerror or error}; give another file") from None


async def restore(
    file: IO[bytes], git: Git, config: Config, *, passphrase: Ask | None, progress: Callable[[str], None]
) -> Restored:
    """Put a backup into the data folder, which is empty or not there: all of it, or nothing.

    `passphrase` opens the key that is in it; None leaves the key there. Everything is checked before any of it is
    in its place. Raises BackupError, StoreError, SealError.
    """
    data = config.data
    try:
        check_owner(config.database)
        made = not data.exists()
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            # nobody makes a database there meanwhile
            async with one_at_a_time(data):
                _check_empty(data)
                staging = data / f"{_STAGING}-{secrets.token_hex(8)}"
                staging.mkdir(mode=0o700)
                try:
                    restored = await _restore(file, staging, git, config, passphrase, progress)
                finally:
                    await asyncio.to_thread(shutil.rmtree, staging, ignore_errors=True)
                return restored
        except BaseException:
            if made:
                with suppress(OSError):
                    data.rmdir()
            raise
    except OSError as error:
        raise BackupError(f"cannot restore into {data}: {error.strerror or error}; nothing is there") from None


def _check_empty(data: Path) -> None:
    # the single file unpacks itself there where the user has no cache
    if found := next((path for path in data.iterdir() if path.name != "program"), None):
        raise BackupError(
            f"{data} is not empty, {found.name} is in it: restore into another folder (--data), or move it away"
        )


async def _restore(
    file: IO[bytes],
    staging: Path,
    git: Git,
    config: Config,
    passphrase: Ask | None,
    progress: Callable[[str], None],
) -> Restored:
    progress("Unpacking")
    stopped = Event()
    head = await _in_thread(stopped, partial(backup_file.unpack, file, staging, stopped=stopped))
    progress("Checking the database")
    if damage := await asyncio.to_thread(find_damage, staging / DATABASE, thorough=True):
        raise BackupError(f"the database in the backup is damaged: {damage[0]}; take another one")
    key = await asyncio.to_thread(_open_key, staging / KEY, passphrase)
    if key is not None and config.key.exists() and await asyncio.to_thread(Sealer(config.key).read) != key:
        raise BackupError(f"the key in {config.key} is another one than in the backup: move it away")
    mirrors = await _unpack_mirrors(staging / MIRRORS, git, progress)
    async with Store(staging / DATABASE) as store:
        without = await store.repositories.ids() - mirrors
        for repository_id in without:
            await store.jobs.add(repository_id)
    there = config.key.exists()
    dists = await asyncio.to_thread(_put_in_place, staging, config, None if there else key)
    return Restored(
        created_at=head.created_at,
        schema=head.schema,
        key="there" if there else "missing" if key is None else "restored",
        repositories=len(mirrors),
        dists=dists,
        queued=len(without),
    )


def _open_key(path: Path, passphrase: Ask | None) -> bytes | None:
    """The key in a backup; None where there is none, or where nobody wants it."""
    if not path.exists():
        return None
    sealed = path.read_bytes()
    path.unlink()
    return None if passphrase is None else open_with_passphrase(sealed, passphrase())


async def _unpack_mirrors(folder: Path, git: Git, progress: Callable[[str], None]) -> set[str]:
    """Make mirrors of what is packed in a folder, where it is; gives the ids of their repositories."""
    found = set[str]()
    for bundle in sorted(await asyncio.to_thread(lambda: [*folder.glob("*.bundle")])):
        progress(f"Unpacking mirrors ({len(found) + 1})")
        try:
            await Mirror(git, folder / f"{bundle.stem}.git").unbundle(bundle)
        except GitError as error:
            raise BackupError(f"the mirror {bundle.name} in the backup cannot be read: {error}") from None
        bundle.unlink()
        found.add(bundle.stem)
    return found


def _put_in_place(staging: Path, config: Config, key: bytes | None) -> int:
    """Move what was restored to where it belongs, the database last: without it there is no registry.

    Gives the number of archives.
    """
    for left in staging.glob(f"{DATABASE}.schema-*"):
        left.unlink()  # from before the migration: the backup has that
    moved: list[Path] = []
    names = sorted((item.name for item in staging.iterdir()), key=lambda name: name == DATABASE)
    try:
        if key is not None:
            Sealer(config.key).put(key)
            moved.append(config.key)
        for name in names:
            (staging / name).rename(config.data / name)
            moved.append(config.data / name)
            sync_folder(config.data)
    except BaseException:
        for path in moved:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        raise
    return sum(1 for folder in (DISTS, UPLOADS) for _ in (config.data / folder).glob("*/*"))


async def _in_thread(stopped: Event, work: Callable[[], T]) -> T:
    """What work in a thread gives; it is told to stop, and waited for, where its caller is cancelled."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stopped.set()
        await asyncio.wait([task])
        task.exception()  # seen: it ended because it was told to
        raise
