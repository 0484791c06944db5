"""Whatever is pushed, moved and deleted between syncs, what is served is what a first sync would find.

Save for what a registry owes its users: a released version stays at its first commit until another is accepted,
and goes with its tag only where that is the policy; a branch whose newest commit makes no version stays at the
last that did, and so does the name of the package; what was deleted on purpose stays away until its ref moves.
"""

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, closing, suppress
from pathlib import Path
from typing import Any, Final, Self

import hypothesis
import msgspec
import pytest
from hypothesis import strategies as st

from pricore.composer.discovery import TAGS, claim, place, split_place
from pricore.composer.versions import sort_key
from pricore.errors import PricoreError
from pricore.hosts.addresses import parse_address
from pricore.models import Package, Version
from pricore.services import packages
from pricore.sync.progress import ignore
from tests.harness import GitRepository
from tests.registry import open_registry
from tests.soak import SEED, TIMES

_COMMITS: Final[Mapping[str, str | None]] = {
    "first": '{"name": "acme/library"}',
    "second": '{"name": "acme/library", "description": "second"}',
    "third": '{"name": "acme/library", "description": "third", "require": {"php": ">=8.1"}}',
    "renamed": '{"name": "acme/renamed"}',
    "in capitals": '{"name": "Acme/Library"}',
    "without a name": '{"description": "nameless"}',
    "declared": '{"name": "acme/library", "version": "1.0.0"}',
    "declared otherwise": '{"name": "acme/library", "version": "v2.0"}',
    "uninstallable": '{"name": "acme/library", "require": {"acme/other": "~>1"}}',
    "broken": "{ not JSON",
    "without composer.json": None,
}
"""What stands in composer.json of the commits that branches and tags move between."""

_SECOND: Final = {"first", "second", "renamed", "broken"}
"""The commits that have a second package in a folder of its own, which is always well; the first is as above."""

_FOLDERS: Final = ("packages/a", "packages/b")
_NO_COMMITS: Final = ("annotated", "a tree")
_TAGS: Final = ("1.0", "1.0.0", "v1.0.0", "01.0", "1.1.0-beta1", "2.0", "v2.x-dev", "dev-main", "nightly")
_BRANCHES: Final = ("main", "next", "1.0", "2.x", "v2.x", "a#b", "a+b", "gh-pages")


class Change(msgspec.Struct, frozen=True):
    """A ref that goes to what `target` names, or away where that is None."""

    ref: str
    target: str | None


class Push(msgspec.Struct, frozen=True):
    """What happens upstream between two syncs; `head` is the default branch afterwards."""

    changes: Sequence[Change]
    head: str


class Delete(msgspec.Struct, frozen=True):
    """A version that is served is deleted on purpose, if there is one."""

    number: int


class Accept(msgspec.Struct, frozen=True):
    """A tag that moved is let move, if there is one."""

    number: int


class Policy(msgspec.Struct, frozen=True):
    """What becomes of releases whose tag is gone: keep or remove."""

    vanished: str


Step = Push | Delete | Accept | Policy


def _change(kind: str, names: Sequence[str], targets: Sequence[str]) -> st.SearchStrategy[Change]:
    return st.builds(Change, st.sampled_from([f"refs/{kind}/{name}" for name in names]), st.sampled_from(targets))


_CHANGES: Final = st.one_of(
    _change("heads", _BRANCHES, [*_COMMITS]),
    _change("heads", _BRANCHES[:2], [None, *_COMMITS]),  # type: ignore[list-item]
    _change("tags", _TAGS, [None, *_COMMITS, *_NO_COMMITS]),  # type: ignore[list-item]
    _change("tags", _TAGS[:3], [None, "first", "second", "third"]),  # type: ignore[list-item]
    _change("tags", _TAGS[:2], [None, None, "first", "second"]),  # type: ignore[list-item]
)
_PUSH: Final = st.builds(
    Push, st.lists(_CHANGES, max_size=4), st.sampled_from(("main", "main", "main", "next", "gone"))
)
_STEPS: Final = st.lists(
    st.one_of(
        *(_PUSH, _PUSH, _PUSH),
        st.builds(Delete, st.integers(0, 5)),
        st.builds(Accept, st.integers(0, 1)),
        st.builds(Policy, st.sampled_from(("keep", "remove"))),
    ),
    min_size=1,
    max_size=7,
)


class Host:
    """A bare repository whose refs are written without git: what they can point to is there from the beginning."""

    def __init__(self, template: Path, objects: Mapping[str, str], folder: Path) -> None:
        shutil.copytree(template, folder)
        self.folder = folder
        self.objects = objects
        self.refs = {"refs/heads/main": "first"}
        self.head = "main"
        self._write("refs/heads/main", "first")

    def push(self, push: Push) -> None:
        for change in push.changes:
            if change.target is None:
                self.refs.pop(change.ref, None)
                (self.folder / change.ref).unlink(missing_ok=True)
            else:
                self.refs[change.ref] = change.target
                self._write(change.ref, change.target)
        self.head = push.head
        (self.folder / "HEAD").write_text(f"ref: refs/heads/{push.head}\n")

    def _write(self, ref: str, target: str) -> None:
        path = self.folder / ref
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{self.objects[target]}\n")

    def names(self, *, folders: bool) -> dict[str, str]:
        """The package name that the default branch gives now in each folder, where it gives one."""
        found = {path: _name(text) for path, text in _files(self.refs.get(f"refs/heads/{self.head}")).items()}
        return {path: name for path, name in found.items() if name and (path != "") == folders}

    def places(self, *, folders: bool) -> dict[str, str]:
        """The commit of each ref, or of each folder of one that has a package, in the way of the product."""
        found: dict[str, str] = {}
        for ref, target in self.refs.items():
            paths = [path for path in _files(target) if path] if folders else []
            commit = self.objects["second" if target == "annotated" else target]
            found |= {place(ref, path): commit for path in paths} or {ref: commit}
        return found


def _files(kind: str | None) -> dict[str, str]:
    """The composer.json in each folder of what a name of `_COMMITS`, or of what else refs lead to, stands for."""
    kind = {"annotated": "second", "a tree": "without composer.json"}.get(kind or "", kind)
    text = _COMMITS[kind] if kind else None
    first = {} if text is None else {"": text, _FOLDERS[0]: text}
    return first | ({_FOLDERS[1]: '{"name": "acme/other"}'} if kind in _SECOND else {})


def _name(text: str) -> str | None:
    with suppress(ValueError):
        name: str | None = json.loads(text).get("name")
        return name
    return None


class Synced:
    """A data folder with one repository, or with its folders, synced one call at a time."""

    def __init__(self, folder: Path, url: str, *, folders: bool) -> None:
        self._folder = folder
        self._url = url
        self.folders = folders
        self._opened = AsyncExitStack()

    async def __aenter__(self) -> Self:
        registry = await self._opened.enter_async_context(open_registry(self._folder))
        self._services, self._store, self._syncer = registry.services, registry.store, registry.syncer
        self._organization = registry.organization
        self._repository = await self._store.repositories.add(
            self._organization, parse_address(self._url), paths=["packages/*"] if self.folders else []
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()

    async def sync(self) -> bool:
        """Whether it could be synced; the reason why not is one of the product's own."""
        with suppress(PricoreError):
            await self._syncer.sync(self._repository, progress=ignore)
            return True
        return False

    async def call_it(self, names: Mapping[str, str]) -> None:
        """Let the repository have had these names before, by folder."""
        async with self._store.transaction() as db:
            await db.executemany(
                "INSERT INTO default_names (repository_id, path, name) VALUES (?, ?, ?)",
                [(self._repository.id, path, name) for path, name in names.items()],
            )

    async def delete(self, package: str, version: str) -> None:
        found = await self._store.packages.get(self._organization, package)
        await packages.delete_version(self._services, self._organization, found, version)

    async def moved(self) -> list[tuple[Package, Version]]:
        """The versions whose tag moved, with their packages."""
        return [
            (package, version)
            for package in await self._store.packages.of_organization(self._organization.id)
            for version in await self._store.packages.versions(package)
            if version.moved_to
        ]

    async def accept(self, package: Package, version: Version) -> None:
        await self._store.packages.accept(package, version)

    async def set_vanished(self, policy: str) -> None:
        await self._store.repositories.change(self._repository, vanished_versions=policy)

    async def deleted(self) -> dict[str, str]:
        """The commit of each ref that makes no version because that was deleted."""
        refs = await self._store.repositories.refs(self._repository.id)
        return {name: ref.commit for name, ref in refs.items() if ref.deleted_at is not None}

    def packages(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in self._rows("SELECT * FROM packages")}

    def served(self) -> dict[tuple[str, str], dict[str, Any]]:
        """All there is of each version but for when and under which number it came, by (package, version)."""
        rows = self._rows(
            """
            SELECT packages.name AS package, version, normalized, ref, reference, shasum, entry, default_branch,
                released_at, gone_at
            FROM versions JOIN packages ON packages.id = package_id
            """
        )
        return {(row["package"], row["version"]): row for row in rows}

    def _rows(self, sql: str) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self._store.path)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql)]


class History:
    """A registry that follows a host, and what it has to keep of all that it ever served."""

    def __init__(self, host: Host, registry: Synced) -> None:
        self._host = host
        self._registry = registry
        self._names: dict[str, str] = {}
        self._vanished = "keep"
        self._released: dict[tuple[str, str], dict[str, Any]] = {}
        self._accepted: dict[str, str] = {}
        self._deleted: dict[tuple[str, str], str] = {}  # (package, ref) -> the commit at which it stays away
        self._claims: set[object] = set()  # what refs whose version was deleted ever could make

    async def take(self, step: Step) -> None:
        """Take a step and sync; afterwards all that has to be kept is served as it was."""
        match step:
            case Push():
                self._host.push(step)
            case Delete(number) if served := self._registry.served():
                await self._delete([*served][number % len(served)])
            case Accept(number) if moved := await self._registry.moved():
                package, version = moved[number % len(moved)]
                await self._registry.accept(package, version)
                places = self._host.places(folders=self._registry.folders)
                # where its own tag is gone, another one that means the same
                refs = [ref for ref in places if claim(ref) == claim(version.ref)]
                moved_refs = [version.ref] if version.ref in places else refs
                self._accepted |= dict.fromkeys(moved_refs, str(version.moved_to))
            case Policy(vanished):
                await self._registry.set_vanished(vanished)
                self._vanished = vanished
        before = self._registry.served()
        if await self._registry.sync():
            self._see()
        else:
            assert self._registry.served() == before, "a sync that failed changes nothing"
        self._check_deleted()
        self._check_released()

    async def _delete(self, key: tuple[str, str]) -> None:
        version = self._registry.served()[key]
        await self._registry.delete(*key)
        assert key not in self._registry.served()
        self._released.pop(key, None)
        self._claims.add(claim(version["ref"]))
        if self._registry.packages()[key[0]]["replaced_by"] is None:
            self._deleted[key[0], version["ref"]] = version["reference"]

    def _see(self) -> None:
        """What the host has now was read: names, policies and marks depend on it."""
        self._names |= self._host.names(folders=self._registry.folders)
        places = self._host.places(folders=self._registry.folders)
        self._deleted = {
            (package, ref): commit
            for (package, ref), commit in self._deleted.items()
            if places.get(ref, commit) == commit
        }
        served = self._registry.served()
        if self._vanished == "remove":
            for key in [key for key, version in self._released.items() if version["ref"] not in places]:
                assert key not in served or served[key]["ref"] in places, f"{key} outlives its tag"
                del self._released[key]
        for version in served.values():
            if version["ref"].startswith(TAGS) and version["ref"] not in places:
                assert version["gone_at"] is not None, f"{version['ref']} is gone, and not marked"
        for ref, commit in [*self._accepted.items()]:
            for key, version in served.items():
                if version["ref"] == ref and version["reference"] == commit and key in self._released:
                    self._released[key] = version
            if places.get(ref) != commit:
                del self._accepted[ref]

    def _check_deleted(self) -> None:
        for (package, ref), commit in self._deleted.items():
            assert not [
                version
                for version in self._registry.served().values()
                if (version["package"], version["ref"], version["reference"]) == (package, ref, commit)
            ], f"{ref} makes again what was deleted"

    def _check_released(self) -> None:
        served = self._registry.served()
        for key, version in served.items():
            if version["ref"].startswith(TAGS):
                self._released.setdefault(key, version)
        for key, first in self._released.items():
            now = served.get(key)
            assert now is not None, f"{key} was released, and is gone"
            # a name in other letters, a tag of another spelling, or the same tag again
            kept = ("version", "normalized", "reference", "shasum", "released_at")
            assert {name: now[name] for name in kept} == {name: first[name] for name in kept}

    async def compare(self, fresh: Synced) -> None:
        """Hold what is served against what a first sync finds, which knows no more than the package's name."""
        if not self._host.refs:
            return  # an empty repository is an accident, and changes nothing
        await fresh.call_it(self._names)
        await fresh.sync()
        served, found = self._registry.served(), fresh.served()
        for key, version in served.items():
            if not self._frozen(version):
                self._explain(key, version, found)
        deleted = await self._registry.deleted()
        for key, version in found.items():
            if not any(_identity(item) == _identity(version) for item in served.values()):
                assert deleted.get(version["ref"]) == version["reference"], f"{key} is upstream, and not served"
                assert claim(version["ref"]) in self._claims, f"nobody deleted {key}"
        marked = {
            key[1] for key, version in served.items() if version["default_branch"] and not self._frozen(version)
        }
        assert marked <= {f"dev-{self._host.head}"}, "another branch is the default"
        for name, package in self._registry.packages().items():
            current = self._names.get(package["path"], name).lower()
            assert package["replaced_by"] == (None if name == current else current)
            if {key for key in served if key[0] == name} == {key for key in found if key[0] == name} != set():
                assert package["latest_version"] == fresh.packages()[name]["latest_version"]

    def _frozen(self, version: Mapping[str, Any]) -> bool:
        """Whether it is of a package that the repository supplied under another name."""
        name = self._names.get(split_place(version["ref"])[1])
        return name is not None and version["package"] != name.lower()

    def _comparable(self, version: Mapping[str, Any]) -> dict[str, Any]:
        """All of a version that has to be as in a first sync."""
        # folders that are alike share the archive of whichever was met first
        left_out = {"shasum"} if self._registry.folders else set()
        fields = {name: value for name, value in version.items() if name not in left_out}
        return fields | {"entry": json.loads(version["entry"])}

    def _explain(self, key: tuple[str, str], version: dict[str, Any], found: Mapping[Any, dict[str, Any]]) -> None:
        """A version that is served is one that a first sync finds, or has a reason to be there."""
        ref = version["ref"]
        target = self._host.places(folders=self._registry.folders).get(ref)
        new = found.get(key)
        if new is not None and (new["ref"], new["reference"]) == (ref, version["reference"]):
            assert self._comparable(version) == self._comparable(new)
        elif ref.startswith(TAGS):
            assert key in self._released  # held against its first commit by each push
            accepted = self._accepted.get(ref)
            assert new is None or new["ref"] != ref or new["reference"] != accepted, f"{key} was let move"
        else:
            assert target is not None, f"{ref} is gone, and {key} still served"
            others = [item for item in found.values() if _identity(item) == _identity(version)]
            # its newest commit makes no version, or the name that it was first to have is another's in git's order
            assert not any(item["ref"] == ref for item in others), f"{key} is not at its newest commit"


def _identity(version: Mapping[str, Any]) -> object:
    """What only one ref can have; releases are told apart by their order."""
    if version["ref"].startswith("refs/tags/"):
        return version["package"], sort_key(version["normalized"])
    return version["package"], version["version"]


def _tags(**targets: str | None) -> Push:
    """A push of tags, 1_0 for 1.0."""
    changes = [Change(TAGS + name.strip("_").replace("_", "."), target) for name, target in targets.items()]
    return Push(changes, "main")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A bare repository without refs, and the object of each name that a ref can be given."""
    folder = tmp_path_factory.mktemp("histories")
    work = GitRepository(folder / "work")
    objects = {}
    for kind in _COMMITS:
        work.git("rm", "-r", "--quiet", "--ignore-unmatch", ".")
        files = {f"{path}/composer.json".lstrip("/"): text for path, text in _files(kind).items()}
        objects[kind] = work.commit(files={"a.txt": kind, **files})
    objects["a tree"] = work.git("rev-parse", "HEAD^{tree}")
    work.git("tag", "--annotate", "--message=release", "annotated", objects["second"])
    objects["annotated"] = work.git("rev-parse", "refs/tags/annotated")
    bare = folder / "bare"
    subprocess.run(["git", "clone", "--quiet", "--bare", str(work.folder), str(bare)], check=True)
    shutil.rmtree(bare / "hooks", ignore_errors=True)
    (bare / "packed-refs").unlink()
    return bare, objects


@pytest.mark.long
@hypothesis.seed(SEED)
@hypothesis.settings(
    max_examples=20 if TIMES == 1 else 50 * TIMES,
    deadline=None,
    derandomize=TIMES == 1,  # the same in each `make test`; chance is for `make soak`
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)
@hypothesis.given(_STEPS, st.booleans())
# what chance found once, or comes to seldom
@hypothesis.example(
    steps=[_tags(_1_0="first", _1_0_0="second"), Policy("remove"), _tags(_1_0=None)], folders=False
)
@hypothesis.example(steps=[_tags(_1_0="first", _1_0_0="second"), _tags(_1_0=None), Policy("remove")], folders=True)
@hypothesis.example(steps=[_tags(_1_0="first"), _tags(_1_0="second"), Accept(0)], folders=False)
@hypothesis.example(steps=[_tags(_1_0="first"), _tags(_1_0="second"), Delete(1), Delete(0)], folders=True)
def test_what_is_served_is_what_a_first_sync_finds(
    template: tuple[Path, dict[str, str]], steps: list[Step], folders: bool
) -> None:
    """Any history of pushes, moved tags, deletions and changed minds leads to the versions of a first sync."""

    hypothesis.note(f"{steps=} {folders=}")

    async def live_through(folder: Path) -> None:
        host = Host(*template, folder / "host")
        async with Synced(folder / "data", str(host.folder), folders=folders) as registry:
            history = History(host, registry)
            for step in steps:
                await history.take(step)
            async with Synced(folder / "fresh", str(host.folder), folders=folders) as fresh:
                await history.compare(fresh)

    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        asyncio.run(live_through(Path(folder)))
