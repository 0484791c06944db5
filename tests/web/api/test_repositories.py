"""Repositories are added, changed and deleted over the API, on hosts outside alone, and have a history."""

import asyncio
import os
import subprocess
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from pricore.hosts.addresses import parse_address
from pricore.models import Repository
from tests.harness import GitRepository
from tests.remotes.test_network_guard import INSIDE, lead
from tests.web.api.harness import (
    ALL,
    ORG,
    TIME,
    assert_fits,
    call,
    eventually,
    held,
    instance_token,
    jobs,
    links,
    read,
    refusal,
    repository_id,
    wait_for_jobs,
)
from tests.web.composer.harness import Start, World

REPOSITORIES = f"{ORG}/repositories"
FOLLOWED = {"name": "acme/followed"}


@pytest.fixture
async def remote(upstream: GitRepository, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The URL of acme/followed 1.0.0 behind a web server on 127.0.0.1, with a branch that is left out."""
    upstream.commit(FOLLOWED)
    upstream.tag("1.0.0")
    upstream.git("checkout", "--quiet", "-b", "broken")
    upstream.commit("{ not JSON")
    upstream.git("checkout", "--quiet", "main")
    monkeypatch.setenv("no_proxy", "*")

    async def answer(request: web.Request) -> web.Response:
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(upstream.folder.parent),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "REQUEST_METHOD": request.method,
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query_string,
            "CONTENT_TYPE": request.content_type,
        }
        backend = await asyncio.create_subprocess_exec(
            *("git", "http-backend"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        output, _ = await backend.communicate(await request.read())
        head, _, body = output.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(headers.pop("Status", "200").split()[0])
        return web.Response(status=status, headers=headers, body=body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        yield f"http://127.0.0.1:{server.port}/upstream/.git"


async def add(world: World, secret: str, url: str, **fields: Any) -> Any:
    """A new repository as the answer shows it."""
    reply = await call(world, "POST", REPOSITORIES, secret, {"url": url} | fields)
    assert reply.status == 201, reply
    return reply.json["data"]


async def view(world: World, repository: str, secret: str) -> Any:
    return (await read(world, f"{REPOSITORIES}/{repository}", secret))["data"]


async def wait_for_status(world: World, repository: str, status: str, secret: str) -> Any:
    """The repository once a sync ended so."""

    async def so() -> bool:
        return bool((await view(world, repository, secret))["sync_status"] == status)

    await eventually(so, f"{repository} is {status}")
    return await view(world, repository, secret)


async def record(world: World, repository: str) -> Repository:
    found = await world.store.repositories.find(repository)
    assert found is not None
    return found


async def test_a_repository_that_is_added_is_served(world: World, admin: str, remote: str) -> None:
    """201 with the repository, and soon its packages: nobody needs a shell on the server."""
    made = await add(world, admin, remote)

    assert (made["url"], made["provider"], made["sync_status"]) == (remote, "git", "pending")
    assert_fits({"id": "uuid", "created_at": "2026-01-01T00:00:00Z", "last_synced_at": None}, made)
    synced = await wait_for_status(world, made["id"], "ok", admin)
    assert set(await world.versions("acme/followed", admin)) == {"1.0.0", "dev-main"}
    assert made["id"] in [item["id"] for item in (await read(world, REPOSITORIES, admin))["data"]]
    assert synced["default_branch"] == "main"
    assert (await record(world, made["id"])).confined


async def test_the_first_sync_is_on_disk_with_the_repository(world: World, admin: str, remote: str) -> None:
    """A process that ends right after the answer leaves a repository that the next one reads."""
    busy = await repository_id(world, "acme/library", admin)
    with held(world, busy):
        await call(world, "POST", f"{REPOSITORIES}/{busy}/sync", admin)
        await wait_for_jobs(world, [True])
        made = await add(world, admin, remote)
        assert jobs(world) == [True, False]
    await wait_for_status(world, made["id"], "ok", admin)


async def test_a_repository_is_followed_once(world: World, admin: str, remote: str) -> None:
    """The same address, in whatever form, is 409 with the one that is followed."""
    await add(world, admin, remote)
    for url in (remote, f"{remote}/", remote.replace("http://", "ssh://git@")):
        message, _ = refusal(await call(world, "POST", REPOSITORIES, admin, {"url": url}), 409)
        assert message.startswith(f"acme follows {remote} already")


REFUSED: dict[str, list[dict[str, Any]]] = {
    "url": [
        *({}, {"url": None}, {"url": 1}, {"url": ""}, {"url": "x" * 3000}, {"url": "acme/library"}),
        *({"url": "https://ada:s3cret@git.example.com/a"}, {"url": "ftp://git.example.com/a"}),
        *({"url": "ext::sh -c id"}, {"url": "--upload-pack=x"}),
        *({"url": "git://127.0.0.1/a/b"}, {"url": "git://1.1.1.1:6379/x"}),
    ],
    "provider": [{"url": "a/b", "provider": "sourceforge"}, {"url": "a/b", "provider": 1}],
    "confined": [{"url": "https://git.example.com/a", "confined": False}],
}


@pytest.mark.parametrize(
    ("document", "field"), [(document, field) for field, documents in REFUSED.items() for document in documents]
)
async def test_what_is_no_repository_is_refused(
    world: World, admin: str, document: dict[str, Any], field: str
) -> None:
    """422 names the field, repeats no secret, and nothing is followed; so it is for a change."""
    before = await read(world, REPOSITORIES, admin)
    repository = before["data"][0]["id"]

    for method, path in (("POST", REPOSITORIES), ("PATCH", f"{REPOSITORIES}/{repository}")):
        message, errors = refusal(await call(world, method, path, admin, document), 422)
        assert errors == {field: [message]}
        assert "s3cret" not in message
    assert await read(world, REPOSITORIES, admin) == before


@pytest.mark.parametrize("form", ["{}", "file://{}", "FILE://{}", "~", "~root", "./library", "..", "/"])
async def test_a_folder_of_the_server_is_refused(
    world: World, admin: str, upstream: GitRepository, tmp_path: Path, form: str
) -> None:
    """A folder is refused in the same words whether there is one or not: nobody learns what the server has."""
    messages = set()
    for folder in (upstream.folder, tmp_path / "missing"):
        document = {"url": form.format(folder)}
        messages.add(refusal(await call(world, "POST", REPOSITORIES, admin, document), 422)[0])

    assert messages == {
        "only the command line of this server can follow a folder of it; give the URL of a Git host"
    }


@pytest.mark.parametrize("host", INSIDE)
async def test_a_host_on_the_inside_is_refused(start: Start, host: str) -> None:
    """Nobody gets at what only the server can reach: neither by adding a repository nor by changing one."""
    world = await start(inline_limit=0)
    secret = await world.token(scopes=ALL)
    before = await read(world, REPOSITORIES, secret)
    repository = before["data"][0]["id"]
    shown = f"[{host}]" if ":" in host else host
    urls = [f"{scheme}://{shown}/a/b.git" for scheme in ("https", "http", "git", "ssh")]

    for url in (*urls, f"https://{shown}:8443/a/b", *([] if ":" in host else [f"git@{host}:a/b"])):
        for method, path in (("POST", REPOSITORIES), ("PATCH", f"{REPOSITORIES}/{repository}")):
            _, errors = refusal(await call(world, method, path, secret, {"url": url}), 422)
            assert set(errors) == {"url"}
    assert await read(world, REPOSITORIES, secret) == before
    assert jobs(world) == []


async def test_a_name_that_leads_inside_later_is_not_followed_there(
    world: World, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sync looks where the name leads now: what it led to when it was added counts for nothing."""
    busy = await repository_id(world, "acme/library", admin)
    names = {"git.example.com": ["8.8.8.8"]}
    lead(monkeypatch, names)
    with held(world, busy):
        await call(world, "POST", f"{REPOSITORIES}/{busy}/sync", admin)
        await wait_for_jobs(world, [True])
        made = await add(world, admin, "https://git.example.com/a/b.git")
        names["git.example.com"] = ["10.0.0.1"]
    failed = await wait_for_status(world, made["id"], "failed", admin)

    assert failed["sync_error"].startswith("git.example.com is inside the network of this server")
    (run,) = (await read(world, f"{REPOSITORIES}/{made['id']}/sync-runs", admin))["data"]
    assert (run["status"], run["error"]) == ("failed", failed["sync_error"])


async def test_a_failure_does_not_tell_where_the_data_is(world: World, admin: str, remote: str) -> None:
    """What is wrong with a mirror is told, by its repository; the paths of the server are not."""
    busy = await repository_id(world, "acme/library", admin)
    with held(world, busy):
        await call(world, "POST", f"{REPOSITORIES}/{busy}/sync", admin)
        await wait_for_jobs(world, [True])
        made = await add(world, admin, remote)
        (world.config.repositories / f"{made['id']}.git").touch()
    failed = await wait_for_status(world, made["id"], "failed", admin)
    runs = await read(world, f"{REPOSITORIES}/{made['id']}/sync-runs", admin)

    assert f"git init of the mirror of {remote} failed" in failed["sync_error"]
    assert str(world.config.data) not in f"{failed}{runs}"


async def test_the_operator_is_not_confined(
    start: Start, world: World, admin: str, remote: str, upstream: GitRepository
) -> None:
    """A host that is allowed no more is read no more for who came over the API; the operator may go on."""
    mine = await world.store.repositories.add(await world.store.organizations.get("other"), parse_address(remote))
    made = await add(world, admin, remote)
    await wait_for_status(world, made["id"], "ok", admin)
    upstream.tag("1.1.0")
    await world.client.close()
    restarted = await start(inline_limit=0)
    everywhere = await instance_token(restarted)
    for slug, repository in (("acme", made["id"]), ("other", mine.id)):
        path = f"/api/organizations/{slug}/repositories/{repository}/sync"
        assert (await call(restarted, "POST", path, everywhere)).status == 200
    failed = await wait_for_status(restarted, made["id"], "failed", admin)

    assert "is inside the network" in failed["sync_error"]
    assert "1.0.0" in await restarted.versions("acme/followed", admin), "what was served stays"

    async def served() -> bool:
        return (await record(restarted, mine.id)).sync_status == "ok"

    await eventually(served, "the operator's is read")


async def test_owner_and_name_are_enough_with_a_provider(
    world: World, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository at a provider is named as there."""
    lead(monkeypatch, {"github.com": ["127.0.0.1"]})
    made = await add(world, admin, "acme/wanted", provider="github")

    assert (made["provider"], made["repo_identifier"]) == ("github", "acme/wanted")
    assert made["url"] == "https://github.com/acme/wanted.git"


async def test_a_repository_moves(world: World, admin: str, remote: str, upstream: GitRepository) -> None:
    """After a change everything that is served stays, and the new address is read at once."""
    await world.follow(upstream)
    repository = await repository_id(world, "acme/followed", admin)
    before = await world.versions("acme/followed", admin)
    reply = await call(world, "PATCH", f"{REPOSITORIES}/{repository}", admin, {"url": remote})

    assert (reply.status, reply.json["data"]["url"]) == (200, remote)
    assert set(await world.versions("acme/followed", admin)) == set(before)
    assert (await record(world, repository)).confined
    await wait_for_status(world, repository, "ok", admin)
    moved = await world.versions("acme/followed", admin)
    assert {item["source"]["url"] for item in moved.values()} == {remote}
    assert {name: item["dist"] for name, item in moved.items()} == {
        name: item["dist"] for name, item in before.items()
    }


async def test_the_provider_alone_can_be_changed(world: World, admin: str, upstream: GitRepository) -> None:
    """The operator's address stays the operator's; a provider that is not named stays where the host does."""
    organization = await world.store.organizations.get("acme")
    mine = await world.store.repositories.add(organization, parse_address("http://127.0.0.1:1/team/a.git"))
    path = f"{REPOSITORIES}/{mine.id}"

    changed = (await call(world, "PATCH", path, admin, {"provider": "gitlab"})).json["data"]
    assert (changed["provider"], changed["repo_identifier"]) == ("gitlab", "team/a")
    assert not (await record(world, mine.id)).confined
    changed = (await call(world, "PATCH", path, admin, {"url": "http://127.0.0.1:1/team/b.git"})).json["data"]
    assert (changed["provider"], changed["repo_identifier"]) == ("gitlab", "team/b")
    assert (await record(world, mine.id)).confined
    changed = (await call(world, "PATCH", path, admin, {"provider": None})).json["data"]
    assert changed["provider"] == "git"


async def test_a_change_has_its_limits(world: World, admin: str, remote: str) -> None:
    """Nothing to change is 422, an address that is followed already 409, what isn't there 404."""
    made = await add(world, admin, remote)
    first, second = [
        f"{REPOSITORIES}/{(await add(world, admin, f'http://127.0.0.1:1/{name}'))['id']}" for name in "ab"
    ]

    assert set(refusal(await call(world, "PATCH", first, admin, {}), 422)[1]) == {"url"}
    refusal(await call(world, "PATCH", first, admin, {"url": remote}), 409)
    refusal(await call(world, "PATCH", second, admin, {"url": "http://127.0.0.1:1/a"}), 409)
    assert (await call(world, "PATCH", first, admin, {"url": "http://127.0.0.1:1/a.git"})).status == 200
    for missing in (uuid.uuid4(), "x", made["id"].upper()):
        for method in ("GET", "PATCH", "DELETE"):
            document = {"provider": "git"} if method == "PATCH" else None
            refusal(await call(world, method, f"{REPOSITORIES}/{missing}", admin, document), 404)
    other = await read(world, "/api/organizations/other/repositories", await world.token(scopes=ALL, org="other"))
    refusal(await call(world, "DELETE", f"{REPOSITORIES}/{other['data'][0]['id']}", admin), 404)


async def test_a_deleted_repository_is_gone(world: World, admin: str) -> None:
    """Its packages are served no longer, its mirror is gone, and the second time there is nothing there."""
    repository = await repository_id(world, "acme/plugin", admin)
    reply = await call(world, "DELETE", f"{REPOSITORIES}/{repository}", admin)

    assert (reply.status, reply.json) == (200, {"message": "Repository deleted successfully"})
    assert (await world.ask("/p2/acme/plugin~dev.json", admin)).status == 404
    assert not list(world.config.repositories.glob(f"{repository}.*"))
    for method, path in (("DELETE", ""), ("GET", ""), ("POST", "/sync"), ("GET", "/sync-runs")):
        refusal(await call(world, method, f"{REPOSITORIES}/{repository}{path}", admin), 404)


async def test_a_repository_is_deleted_while_it_is_read(
    world: World, admin: str, unused_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A host that says nothing does not hold a deletion up, and the queue goes on with the next one."""
    reached = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await reader.read()
        await asyncio.sleep(0.01)
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", unused_tcp_port)
    async with server:
        made = await add(world, admin, f"http://127.0.0.1:{unused_tcp_port}/library")
        await reached.wait()
        began = time.monotonic()
        reply = await call(world, "DELETE", f"{REPOSITORIES}/{made['id']}", admin)

        assert (reply.status, time.monotonic() - began < 2) == (200, True)
        assert not list(world.config.repositories.glob(f"{made['id']}.*"))
        await wait_for_jobs(world, [])
    assert not [item for item in caplog.records if item.name.startswith("pricore") and item.levelname != "INFO"]
    busy = await repository_id(world, "acme/library", admin)
    await call(world, "POST", f"{REPOSITORIES}/{busy}/sync", admin)
    await wait_for_jobs(world, [])


async def test_a_repository_is_deleted_while_another_process_reads_it(world: World, admin: str) -> None:
    """The answer comes within a second or two, and nothing is served any more; the mirror is left to the other."""
    repository = await repository_id(world, "acme/library", admin)
    with held(world, repository):
        began = time.monotonic()
        reply = await call(world, "DELETE", f"{REPOSITORIES}/{repository}", admin)

        assert (reply.status, time.monotonic() - began < 2) == (200, True)
        assert (await world.ask("/p2/acme/library.json", admin)).status == 404


async def test_a_leftover_is_swept_at_the_start(start: Start, world: World, admin: str) -> None:
    """What a process that was killed left goes when the server starts: mirrors and archives that nothing names."""
    repository = await repository_id(world, "acme/library", admin)
    with held(world, repository):
        await call(world, "DELETE", f"{REPOSITORIES}/{repository}", admin)
    assert list(world.config.repositories.glob(f"{repository}.*"))
    kept = world.config.dists / "ab"
    kept.mkdir(parents=True)
    forgotten = [kept / f"{'ab' * 20}.zip.zst", kept / ".new-half"]
    for path in forgotten:
        path.write_bytes(b"left behind")
        os.utime(path, (1, 1))
    secret = await world.token()
    await world.get("/packages/acme/plugin/dev-main.zip", secret)
    served = {path for path in world.config.dists.rglob("*.zip.*") if path not in forgotten}
    await world.client.close()
    await start(inline_limit=0)

    async def tidied() -> bool:
        left = [path for path in forgotten if path.exists()]
        return not left and not list(world.config.repositories.glob(f"{repository}.*"))

    await eventually(tidied, "nothing is left over")
    assert served
    assert all(path.exists() for path in served)


async def test_a_restricted_token_manages_no_repositories(world: World, restricted: str, remote: str) -> None:
    """It could see or remove what it may not: 403 says why; a sync it can still ask for."""
    path = f"{REPOSITORIES}/{await repository_id(world, 'acme/library', restricted)}"
    before = await read(world, REPOSITORIES, restricted)

    for method, where, document in (
        ("POST", REPOSITORIES, {"url": remote}),
        ("PATCH", path, {"url": remote}),
        ("DELETE", path, None),
    ):
        message, _ = refusal(await call(world, method, where, restricted, document), 403)
        assert message.startswith("the access token is restricted to packages")
    assert await read(world, REPOSITORIES, restricted) == before
    assert (await call(world, "POST", f"{path}/sync", restricted)).status == 200


async def test_the_history_tells_what_each_sync_did(
    world: World, admin: str, remote: str, upstream: GitRepository
) -> None:
    """Newest first: what came, and each ref that makes no version with the reason."""
    made = await add(world, admin, remote)
    await wait_for_status(world, made["id"], "ok", admin)
    upstream.tag("1.1.0")
    await call(world, "POST", f"{REPOSITORIES}/{made['id']}/sync", admin)
    await wait_for_jobs(world, [])
    path = f"{REPOSITORIES}/{made['id']}/sync-runs"
    newest, first = (await read(world, path, admin))["data"]

    example = {
        "id": "uuid",
        "status": "ok",
        "started_at": "2026-01-01T00:00:00Z",
        "finished_at": "2026-01-01T00:00:00Z",
        "left_out": [{"ref": "refs/heads/broken", "reason": "why"}],
    }
    assert_fits(example, newest)
    assert [newest[name] for name in ("error", "updated", "removed", "kept")] == [None, [], [], []]
    assert (newest["added"], newest["read"]) == (["acme/followed:1.1.0"], 1)
    assert sorted(first["added"]) == ["acme/followed:1.0.0", "acme/followed:dev-main"]
    assert [item["ref"] for item in newest["left_out"]] == ["refs/heads/broken"]
    assert "not valid JSON" in newest["left_out"][0]["reason"]
    assert (await read(world, f"{path}/{first['id']}", admin))["data"] == first
    refusal(await call(world, "GET", f"{path}/{uuid.uuid4()}", admin), 404)
    other = await repository_id(world, "acme/library", admin)
    refusal(await call(world, "GET", f"{REPOSITORIES}/{other}/sync-runs/{first['id']}", admin), 404)


async def test_the_history_comes_in_pages(world: World, admin: str) -> None:
    """Pages have `meta` and Link headers, and have every run once."""
    repository = await repository_id(world, "acme/library", admin)
    for number in range(4):
        await world.store.repositories.record_failure(repository, f"failure {number}", started_at=number)
    path = f"{REPOSITORIES}/{repository}/sync-runs"
    reply = await call(world, "GET", f"{path}?page=2&per_page=2", admin)

    assert reply.json["meta"] == {"current_page": 2, "last_page": 3, "per_page": 2, "total": 5}
    assert links(reply) == {
        name: f"{path}?page={page}&per_page=2"
        for name, page in {"first": 1, "prev": 1, "next": 3, "last": 3}.items()
    }
    seen = [
        item for page in (1, 2, 3) for item in (await read(world, f"{path}?page={page}&per_page=2", admin))["data"]
    ]
    assert [item["error"] for item in seen] == [*(f"failure {number}" for number in (3, 2, 1, 0)), None]
    assert set(refusal(await call(world, "GET", f"{path}?page=0", admin), 422)[1]) == {"page"}


async def test_the_history_hides_what_a_restricted_token_does_not_see(
    world: World, admin: str, upstream: GitRepository
) -> None:
    """Versions of other packages are not in it, nor reasons, refs and failures, which can tell of them."""
    upstream.git("checkout", "--quiet", "-b", "unnamed")
    upstream.commit({"description": "each version has its own name"})
    for branch, name in (("own", "acme/own"), ("secret", "acme/secret"), ("taken", "acme/plugin")):
        upstream.git("checkout", "--quiet", "-b", branch)
        upstream.commit({"name": name})
    upstream.git("checkout", "--quiet", "unnamed")
    await world.follow(upstream)
    secret = await world.token(scopes=ALL, packages=["acme/own"])
    repository = await repository_id(world, "acme/own", secret)
    path = f"{REPOSITORIES}/{repository}/sync-runs"
    (mine,) = (await read(world, path, secret))["data"]
    (whole,) = (await read(world, path, admin))["data"]

    assert mine["added"] == ["acme/own:dev-own"]
    assert sorted(whole["added"]) == ["acme/own:dev-own", "acme/secret:dev-secret"]
    assert "acme/plugin" in str(whole["left_out"])
    assert (mine["left_out"], mine["read"]) == ([], 0)
    assert (await read(world, f"{path}/{mine['id']}", secret))["data"] == mine
    await world.store.repositories.record_failure(repository, "acme/secret comes from elsewhere", started_at=1)
    assert "acme/secret" not in str(await read(world, path, secret))
    assert "acme/secret" not in str(await read(world, REPOSITORIES, secret))
    assert "acme/secret" not in str(await view(world, repository, secret))
    organization = await world.store.organizations.get("acme")
    hidden = await world.store.packages.get(organization, "acme/secret")
    await world.store.packages.delete(organization, hidden)
    assert "acme/secret" not in str(await read(world, path, secret)), "also once it is no more"
    assert "acme/secret" not in str(await view(world, repository, secret))


async def test_how_often_a_repository_is_looked_at(start: Start) -> None:
    """An interval is set for a repository or for all of an organization, and shows when the next look is."""
    world = await start(sync_interval=3600, internal_hosts=("127.0.0.1",))
    admin = await world.token(scopes=ALL)
    path = f"{REPOSITORIES}/{await repository_id(world, 'acme/library', admin)}"
    before = (await read(world, path, admin))["data"]
    assert (before["sync_interval"], before["failures"], before["failing_since"]) == (None, 0, None)
    assert TIME.fullmatch(before["next_sync_at"])
    for interval in (60, 0, None):
        changed = (await call(world, "PATCH", path, admin, {"sync_interval": interval})).json["data"]
        assert changed["sync_interval"] == interval
        assert (changed["next_sync_at"] is None) == (interval == 0)
    organization = (await call(world, "PATCH", ORG, admin, {"sync_interval": 0})).json["data"]
    assert organization["sync_interval"] == 0
    assert (await read(world, path, admin))["data"]["next_sync_at"] is None
    for wrong in (-1, "1h", 1.5, 32 * 86400, True):
        for address in (path, ORG):
            _, errors = refusal(await call(world, "PATCH", address, admin, {"sync_interval": wrong}), 422)
            assert set(errors) == {"sync_interval"}


async def test_what_becomes_of_vanished_releases_is_seen_and_set(start: Start) -> None:
    """`vanished_versions` is keep, remove, or null for the instance's; anything else is refused."""
    world = await start()
    admin = await world.token(scopes=ALL)
    path = f"{REPOSITORIES}/{await repository_id(world, 'acme/library', admin)}"
    assert (await call(world, "GET", path, admin)).json["data"]["vanished_versions"] is None
    for policy in ("remove", "keep", None):
        changed = (await call(world, "PATCH", path, admin, {"vanished_versions": policy})).json["data"]
        assert changed["vanished_versions"] == policy
    for wrong in ("drop", "", 1):
        _, errors = refusal(await call(world, "PATCH", path, admin, {"vanished_versions": wrong}), 422)
        assert set(errors) == {"vanished_versions"}


async def test_the_folders_that_are_packages_are_seen_and_set(start: Start) -> None:
    """`paths` are patterns; they come with the repository or later, and what is no folder is refused."""
    world = await start(internal_hosts=("127.0.0.1",))
    admin = await world.token(scopes=ALL)
    wanted = {"url": "http://127.0.0.1:1/acme/mono.git", "paths": ["packages/*/", "."]}
    made = (await call(world, "POST", REPOSITORIES, admin, wanted)).json["data"]
    assert made["paths"] == ["packages/*", "."]
    path = f"{REPOSITORIES}/{made['id']}"
    for paths in (["libs/one"], []):
        assert (await call(world, "PATCH", path, admin, {"paths": paths})).json["data"]["paths"] == paths
    for wrong in (["../x"], ["/etc"], ["a/**"], "packages/*", None, [1]):
        _, errors = refusal(await call(world, "PATCH", path, admin, {"paths": wrong}), 422)
        assert set(errors) <= {"paths", "paths.0"}
        assert errors
