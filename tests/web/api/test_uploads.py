"""Packages that are uploaded over the API: what becomes of them, what is refused, and what may come how."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import pytest

from pricore.composer import composer_json
from pricore.web.http import bodies
from tests.web.api.harness import ALL, ORG, call, eventually, read, refusal
from tests.web.composer.harness import Reply, Start, World, pack, shasum

PATH: Final = f"{ORG}/packages"
NAME: Final = "acme/words"


def words(*, text: str = "one", **composer: Any) -> bytes:
    """A zip of acme/words."""
    return pack({"composer.json": json.dumps({"name": NAME, **composer}), "file.txt": text})


async def upload(world: World, secret: str, content: Any, query: str = "") -> Reply:
    return await call(world, "POST", PATH + query, secret, body=content)


async def uploaded(world: World, secret: str, content: bytes, query: str = "") -> Any:
    """The version that an upload became."""
    reply = await upload(world, secret, content, query)
    assert reply.status == 201, reply
    return reply.json["data"]


def head(secret: str, *, size: int) -> bytes:
    """The head of a request with a body of so many bytes."""
    fields = f"Host: x\r\nAuthorization: Bearer {secret}\r\nContent-Length: {size}"
    return f"POST {PATH} HTTP/1.1\r\n{fields}\r\n\r\n".encode()


def left(world: World) -> list[str]:
    """The names of all files among the uploads."""
    return sorted(path.name for path in world.config.uploads.rglob("*") if path.is_file())


# What becomes of it


async def test_an_upload_is_a_version_as_any_other(world: World, admin: str) -> None:
    """Its metadata goes by the same rules: links stay, what only a root package has goes; every list shows it."""
    composer: dict[str, Any] = {
        "description": "Words",
        "type": "symfony-bundle",
        "require": {"php": ">=8.1", "acme/library": "self.version"},
        "provide": {"acme/virtual": "1.0"},
        "scripts": {"post-install-cmd": "evil"},
        "repositories": [{"type": "vcs", "url": "https://evil.example.com"}],
        "time": "2001-01-01",
        "dist": {"url": "https://evil.example.com"},
        "source": {"url": "https://evil.example.com"},
    }
    made = await uploaded(world, admin, words(version="v1.2", **composer))
    (entry,) = (await world.versions(NAME, admin)).values()

    assert {key: made[key] for key in ("package", "version", "normalized_version", "kind")} == {
        "package": NAME,
        "version": "v1.2",
        "normalized_version": "1.2.0.0",
        "kind": "upload",
    }
    assert entry == {
        "name": NAME,
        "version": "v1.2",
        "published-time": entry["published-time"],
        "version_normalized": "1.2.0.0",
        "description": "Words",
        "type": "symfony-bundle",
        "time": "2001-01-01T00:00:00+00:00",
        "require": {"php": ">=8.1", "acme/library": "self.version"},
        "provide": {"acme/virtual": "1.0"},
        "dist": {
            "type": "zip",
            "url": f"{world.base}/org/acme/packages/{NAME}/v1.2.zip",
            "reference": made["reference"],
            "shasum": made["shasum"],
        },
    }
    for accepted in ("zstd", "gzip", "identity"):
        reply = await world.get(entry["dist"]["url"], admin, headers={"Accept-Encoding": accepted})
        assert shasum(reply.decoded) == made["shasum"]
    assert NAME in (await world.get("/packages.json", admin)).json["available-packages"]
    assert NAME in (await world.get("/list.json", admin)).json["packageNames"]
    (found,) = (await world.get("/search.json?q=words&type=symfony-bundle", admin)).json["results"]
    assert (found["name"], found["description"]) == (NAME, "Words")
    (provider,) = (await world.get("/providers/acme/virtual.json", admin)).json["providers"]
    assert provider["name"] == NAME


async def test_uploads_travel_inline(start: Start) -> None:
    """While all is small, packages.json carries them as the others."""
    world = await start(inline_limit=1_000_000)
    secret = await world.token(scopes=ALL)
    made = await uploaded(world, secret, words(version="1.0.0"))
    inline = (await world.get("/packages.json", secret)).json["packages"]

    assert inline[NAME]["1.0.0"]["dist"]["shasum"] == made["shasum"]
    assert "acme/library" in inline


@pytest.mark.parametrize(
    ("composer", "query", "version", "normalized"),
    [
        ({"version": "1.0.0"}, "", "1.0.0", "1.0.0.0"),
        ({}, "?version=2.1-beta3", "2.1-beta3", "2.1.0.0-beta3"),
        ({"version": "2.1.0.0-beta3"}, "?version=2.1-beta3", "2.1-beta3", "2.1.0.0-beta3"),
        ({}, "?version=1.0.0%2Bbuild.5", "1.0.0+build.5", "1.0.0.0"),
        ({}, "?version=dev-feature/x", "dev-feature/x", "dev-feature/x"),
        ({"version": "1.0.0"}, "?version=dev-main", "dev-main", "dev-main"),
        ({}, "?version=DEV-main", "dev-main", "dev-main"),
        ({}, "?version=master", "dev-master", "dev-master"),
        ({}, "?version=1.x-dev", "1.x-dev", "1.9999999.9999999.9999999-dev"),
    ],
)
async def test_the_version_is_given_or_declared(
    world: World, admin: str, composer: Mapping[str, str], query: str, version: str, normalized: str
) -> None:
    """In any form that Composer takes; a branch's needs not agree with what is declared."""
    made = await uploaded(world, admin, words(**composer), query)
    (entry,) = (await world.versions(NAME, admin)).values()

    assert (made["version"], made["normalized_version"]) == (version, normalized)
    assert (entry["version"], entry["version_normalized"]) == (version, normalized)
    assert shasum((await world.get(entry["dist"]["url"], admin)).body) == made["shasum"]


async def test_a_branch_is_uploaded_anew(world: World, admin: str) -> None:
    """The last one is served, and each that ever was is found by its reference; one that comes back is as new."""
    urls = []
    for text in ("one", "two", "one", "one"):
        made = await uploaded(world, admin, words(text=text), "?version=dev-main")
        (entry,) = (await world.versions(NAME, admin)).values()
        assert entry["dist"]["reference"] == made["reference"]
        urls.append(entry["dist"]["url"])

    assert urls[0] == urls[2] == urls[3] != urls[1]
    for url in urls:
        await world.get(url, admin)
    assert len(left(world)) == 2


async def test_a_branch_has_one_name(world: World, admin: str) -> None:
    """1.x-dev and v1.x-dev mean the same: the second is refused by the name of the first."""
    await uploaded(world, admin, words(), "?version=1.x-dev")
    message, _ = refusal(await upload(world, admin, words(text="two"), "?version=v1.x-dev"), 409)

    assert "v1.x-dev means 1.x-dev, which is there already" in message


async def test_of_many_who_upload_one_release_one_content_wins(world: World, admin: str) -> None:
    """However close they come: who has the same is told so, and who has another is refused."""
    contents = [words(text=text, version="1.0.0") for text in ("one", "two") * 4]
    replies = await asyncio.gather(*(upload(world, admin, content) for content in contents))
    statuses = [reply.status for reply in replies]

    assert sorted(statuses) == [201] * 4 + [409] * 4
    assert len(set(statuses[::2])) == len(set(statuses[1::2])) == 1
    assert len(left(world)) == 1


async def test_an_upload_moves_the_dates(world: World, admin: str) -> None:
    """No client goes on with what it has; where nothing changed, nothing moves."""
    dates = []
    for text in ("one", "one", "two"):
        await uploaded(world, admin, words(text=text), "?version=dev-main")
        dates.append((await world.get(f"/p2/{NAME}~dev.json", admin)).headers["Last-Modified"])

    assert dates[0] == dates[1] != dates[2]


async def test_what_is_deleted_can_be_uploaded_anew(world: World, admin: str) -> None:
    """With another content too: nothing marks it, as no upstream would bring it back by itself."""
    await uploaded(world, admin, words(version="1.0.0"))
    assert (await call(world, "DELETE", f"{PATH}/{NAME}/versions/1.0.0", admin)).status == 200
    assert left(world) == []
    again = await uploaded(world, admin, words(text="two", version="1.0.0"))
    (entry,) = (await world.versions(NAME, admin)).values()
    assert entry["dist"]["shasum"] == again["shasum"]

    assert (await call(world, "DELETE", f"{PATH}/{NAME}", admin)).status == 200
    assert left(world) == []
    refusal(await call(world, "GET", f"{PATH}/{NAME}", admin), 404)


async def test_archives_of_uploads_are_counted(world: World, admin: str) -> None:
    """As those out of Git are."""
    await uploaded(world, admin, words(version="1.0.0"))
    await world.get(f"/packages/{NAME}/1.0.0.zip", admin)
    await read(world, PATH, admin)  # on the same connection: what was asked before is done, not only here
    await world.store.usage.flush()

    assert (await read(world, f"{PATH}/{NAME}/downloads", admin))["data"]["total_archives"] == 1


# Who may


async def test_a_restricted_token_uploads_within_its_packages(world: World, admin: str) -> None:
    """A name that is not its own is refused alike whether it is there or not."""
    restricted = await world.token(scopes=ALL, packages=[NAME])
    await uploaded(world, restricted, words(version="1.0.0"))
    messages = set()
    for name in ("acme/library", "acme/missing"):
        content = pack({"composer.json": json.dumps({"name": name, "version": "1.0.0"})})
        message, _ = refusal(await upload(world, restricted, content), 403)
        messages.add(message.replace(name, "NAME"))

    assert messages == {"the access token is for other packages than NAME"}
    assert "acme/missing" not in {item["name"] for item in (await read(world, PATH, admin))["data"]}
    other = await world.token(packages=["acme/library"])
    assert (await world.ask(f"/packages/{NAME}/1.0.0.zip", other)).status == 404


# What is refused


@pytest.mark.parametrize(
    ("content", "query", "field", "reason"),
    [
        (b"", "", "file", "the archive is refused: it is no zip"),
        (b"PK\3\4" + bytes(100), "", "file", "the archive is refused: it is no zip"),
        (pack({"a.txt": "a"}), "", "file", "it has no composer.json"),
        (pack({"composer.json": "{"}), "", "file", "composer.json is not valid JSON"),
        (pack({"composer.json": "[]"}), "", "file", "composer.json holds no JSON object"),
        (pack({"composer.json": " " * composer_json.MAX_COMPOSER_JSON + "{}"}), "", "file", "larger than 256 kB"),
        (pack({"composer.json": "[" * 10_000}), "", "file", "composer.json"),
        (words(name=None), "", "file", 'composer.json has no "name"'),
        (words(name="../x", version="1.0.0"), "", "file", "is not a package name"),
        (words(name="acme/con", version="1.0.0"), "", "file", "a name that Windows reserves"),
        (
            words(version="1.0.0", require={"php": "nonsense?"}),
            "",
            "file",
            "require.php: invalid version constraint",
        ),
        (words(version="1.0.0", bin="../../x"), "", "file", "bin ../../x leads outside of the package"),
        (words(version=1), "", "file", '"version" in composer.json is not a string'),
        (words(), "", "version", "it has no version: give one"),
        (words(version="1.0.0"), "?version=", "version", 'invalid version string ""'),
        (words(version="nonsense"), "", "version", 'invalid version string "nonsense"'),
        (words(version="nonsense"), "?version=1.0.0", "version", 'invalid version string "nonsense"'),
        (words(version="1.0.0"), "?version=1.0.1", "version", 'does not match version "1.0.0" in composer.json'),
        (words(), "?version=dev-../x", "version", 'invalid version string "dev-../x"'),
        (words(), "?version=dev-a//x", "version", 'invalid version string "dev-a//x"'),
        (words(), "?version=dev-x/", "version", 'invalid version string "dev-x/"'),
        (words(), "?version=1.0%2Bx/y", "version", "only a branch such as dev-feature/x has a slash"),
        (words(), "?version=1.0%20as%202.0", "version", 'invalid version string "1.0 as 2.0"'),
        (words(), "?version=1.0@dev", "version", 'invalid version string "1.0@dev"'),
        (words(), "?version=dev-a%23b", "version", 'invalid version string "dev-a#b"'),
        (words(), "?version=" + "1" * 300, "version", "invalid version string"),
    ],
    ids=lambda value: (
        "zip" if isinstance(value, bytes) else None
    ),  # a zip has the time in it: workers would differ
)
async def test_what_cannot_be_a_version_is_refused(
    world: World, admin: str, content: bytes, query: str, field: str, reason: str
) -> None:
    """One line says why; nothing of it is served, and nothing is left behind."""
    before = (await read(world, PATH, admin))["meta"]["total"]
    message, errors = refusal(await upload(world, admin, content, query), 422)

    assert reason in message
    assert list(errors) == [field]
    assert (await read(world, PATH, admin))["meta"]["total"] == before
    assert left(world) == []


async def test_what_is_too_large_is_refused_before_it_comes(start: Start) -> None:
    """By what a request says of itself, or else once more than that has come."""
    world = await start(upload_limit=1)
    secret = await world.token(scopes=ALL)
    reader, writer = await asyncio.open_connection(world.client.host, world.client.port)
    writer.write(head(secret, size=1024**2 + 1))
    answer = await asyncio.wait_for(reader.readline(), timeout=10)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield bytes(64 * 1024)

    reply = await upload(world, secret, pieces())
    refusal(reply, 413)
    assert left(world) == []


async def test_a_body_that_is_packed_once_more_is_refused(world: World, admin: str) -> None:
    """A zip is packed already: unpacking it twice is one more way to send too much."""
    reply = await world.ask(
        world.base + PATH, admin, method="POST", body=words(version="1.0.0"), headers={"Content-Encoding": "gzip"}
    )
    message, _ = refusal(reply, 400)
    assert "without a Content-Encoding" in message


def form(*parts: tuple[str, bytes]) -> bytes:
    """A form as `curl -F` sends it."""
    return b"".join(
        f"--edge\r\nContent-Disposition: form-data; {fields}\r\n\r\n".encode() + content + b"\r\n"
        for fields, content in parts
    ) + (b"--edge--\r\n")


FORM: Final = {"Content-Type": "multipart/form-data; boundary=edge"}
FILE: Final = 'name="file"; filename="words.zip"'


async def test_a_form_with_one_file_is_an_upload(world: World, admin: str) -> None:
    """`curl -F file=@words.zip` sends one: it is the same version as its file alone."""
    content = words(version="1.0.0") + b""
    body = form((FILE, content))
    reply = await world.ask(world.base + PATH, admin, method="POST", body=body, headers=FORM)

    assert reply.status == 201
    assert reply.json["data"] == await uploaded(world, admin, content)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            form(('name="version"', b"1.0.0"), (FILE, words())),
            "and the version in the address, as ?version=1.0.0",
        ),
        (form(('name="file"', b"words.zip")), "file=@words.zip (and the @)"),
        (form((FILE, words(version="1.0.0")), (FILE, words(version="1.1.0"))), "upload one package at a time"),
        (form(), "a form has one file"),
        (form((FILE, words(version="1.0.0")))[:-20], "the form is damaged"),
        (words(version="1.0.0"), "the form is damaged"),
        (b"", "the form is damaged"),
    ],
)
async def test_a_form_with_anything_else_is_refused(world: World, admin: str, body: bytes, reason: str) -> None:
    """In one line that says what to send."""
    reply = await world.ask(world.base + PATH, admin, method="POST", body=body, headers=FORM)
    message, _ = refusal(reply, 400)

    assert reason in message
    assert left(world) == []


async def test_a_form_is_no_larger_than_a_zip(start: Start) -> None:
    """It ends where an upload does."""
    world = await start(upload_limit=1)
    secret = await world.token(scopes=ALL)

    async def pieces() -> AsyncIterator[bytes]:
        yield form((FILE, b""))[: -len("\r\n--edge--\r\n")]
        for _ in range(17):
            yield bytes(64 * 1024)

    reply = await world.ask(world.base + PATH, secret, method="POST", body=pieces(), headers=FORM)
    refusal(reply, 413)
    assert left(world) == []


async def test_another_method_is_told_which_there_are(world: World, admin: str) -> None:
    """`curl -T words.zip` sends a PUT."""
    reply = await world.ask(world.base + PATH, admin, method="PUT", body=words(version="1.0.0"))
    message, _ = refusal(reply, 405)

    assert message == "this address does not take PUT: use GET or HEAD or POST"
    assert reply.headers["Allow"] == "GET,HEAD,POST"


async def test_a_body_that_is_too_slow_is_refused(
    world: World, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection is not held for longer than its size needs."""
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0)
    reader, writer = await asyncio.open_connection(world.client.host, world.client.port)
    writer.write(head(admin, size=1000) + b"PK")
    answer = await asyncio.wait_for(reader.readuntil(b"}"), timeout=10)
    writer.close()

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"the request body took longer than 0 seconds" in answer
    assert left(world) == []


async def test_a_client_that_goes_away_leaves_nothing(world: World, admin: str) -> None:
    """Half an archive is no failure of the registry's, and takes no room."""
    _, writer = await asyncio.open_connection(world.client.host, world.client.port)
    writer.write(head(admin, size=100_000) + bytes(50_000))
    await writer.drain()

    async def begun() -> bool:
        return bool(left(world))

    async def gone() -> bool:
        return not left(world)

    await eventually(begun, "half of it is there")
    writer.close()
    await eventually(gone, "it went with the client")
