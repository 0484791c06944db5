"""Rate limits as a client meets them."""

import asyncio
import time
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

import pytest

from pricore.auth.access_tokens import create_secret
from pricore.auth.rate_limits import Allowance
from pricore.system.clock import now
from tests.web.api.harness import ALL, ORG, TIME, call, create_token, read, refusal, token_id
from tests.web.composer.harness import Reply, Start, World, error

HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
ARCHIVE = "/packages/acme/library/v1.0.0.zip"


def allowance(reply: Reply) -> tuple[int, int, int]:
    """Limit, remaining and reset of an answer."""
    limit, remaining, reset = (int(reply.headers[name]) for name in HEADERS)
    return limit, remaining, reset


def of(address: str) -> Mapping[str, str]:
    """The header with which a trusted proxy names a client."""
    return {"X-Forwarded-For": address}


@pytest.fixture
async def tight(start: Start) -> World:
    """A server behind a proxy on this machine: 3 requests, 2 downloads and 2 failures a minute."""
    return await start(
        requests_per_minute=3,
        downloads_per_minute=2,
        failures_per_minute=2,
        trusted_proxies=(ip_network("127.0.0.1"),),
    )


async def test_answers_say_what_is_left(world: World, admin: str) -> None:
    """Each answer has the limit, one less remaining than the one before, and the same end of the minute."""
    before = int(time.time())
    paths = [f"{ORG}/packages", "/org/acme/packages.json", "/org/acme/p2/acme/library.json", f"{ORG}/missing/x"]
    replies = [await call(world, "GET", path, admin) for path in paths[:3]]
    replies += [await call(world, "GET", f"{ORG}/packages/acme/missing", admin)]
    replies += [await call(world, "GET", f"{ORG}/packages?page=0", admin)]
    replies += [await call(world, "POST", f"{ORG}/tokens", admin, body=b"{")]

    assert [reply.status for reply in replies] == [200, 200, 200, 404, 422, 400]
    found = [allowance(reply) for reply in replies]
    assert [(limit, left) for limit, left, _ in found] == [(1000, 1000 - count) for count in range(1, 7)]
    assert len({reset for _, _, reset in found}) == 1
    assert before + 60 <= found[0][2] <= int(time.time()) + 61


async def test_unchanged_metadata_counts_too(world: World, admin: str) -> None:
    """A 304 has the headers as any other answer."""
    first = await world.get("/p2/acme/library.json", admin)
    again = await world.ask(
        "/p2/acme/library.json", admin, headers={"If-Modified-Since": first.headers["Last-Modified"]}
    )

    assert (again.status, allowance(again)[1]) == (304, allowance(first)[1] - 1)


async def test_a_download_says_what_is_left_of_that_package(world: World, admin: str) -> None:
    """100 a minute of each package, in every encoding."""
    left = [
        allowance(await world.get(path, admin, headers={"Accept-Encoding": encoding}))[:2]
        for path, encoding in [
            (ARCHIVE, "identity"),
            (ARCHIVE, "zstd"),
            ("/packages/acme/library/dev-main.zip", "gzip"),
            ("/packages/beta/tools/1.0.0.zip", "zstd"),
        ]
    ]

    assert left == [(100, 99), (100, 98), (100, 97), (100, 99)]


async def test_over_the_limit_the_api_answers_429_at_once(tight: World) -> None:
    """The fourth of three requests is refused, with the seconds until the minute is over."""
    admin = await tight.token(scopes=ALL)
    replies = [await call(tight, "GET", f"{ORG}/packages", admin) for _ in range(5)]

    assert [reply.status for reply in replies] == [200, 200, 200, 429, 429]
    message, _ = refusal(replies[4], 429)
    wait = int(replies[4].headers["Retry-After"])
    assert 55 <= wait <= 60
    assert message == f"3 requests a minute are the limit; try again in {wait} s"
    assert allowance(replies[4])[:2] == (3, 0)
    assert now() + wait - 2 <= allowance(replies[4])[2] <= now() + wait + 2
    assert "Retry-After" not in replies[0].headers


async def test_a_token_is_counted_by_address_and_an_address_by_token(tight: World) -> None:
    """What one client used up is still there for the same token elsewhere, and for others at its address."""
    one, two = await tight.token(scopes=ALL), await tight.token(scopes=ALL)
    path = tight.base + f"{ORG}/packages"
    for secret, address in [(one, "192.0.2.1"), (one, "192.0.2.2"), (two, "192.0.2.1")]:
        statuses = [(await tight.ask(path, secret, headers=of(address))).status for _ in range(4)]
        assert statuses == [200, 200, 200, 429], address


async def test_a_header_of_a_stranger_opens_nothing(start: Start) -> None:
    """Without a trusted proxy, a client that invents addresses is one client."""
    world = await start(requests_per_minute=3)
    secret = await world.token(scopes=ALL)
    statuses = [
        (await world.ask(world.base + f"{ORG}/packages", secret, headers=of(f"192.0.2.{number}"))).status
        for number in range(4)
    ]

    assert statuses == [200, 200, 200, 429]


async def test_downloads_of_one_package_are_limited(tight: World) -> None:
    """The third of two downloads is refused, whatever the version; another package's isn't."""
    secret = await tight.token()
    paths = [ARCHIVE, "/packages/acme/library/dev-main.zip", "/packages/acme/library/1.1.0-beta1.zip"]
    replies = [await tight.ask(path, secret, headers=of("192.0.2.1")) for path in paths]

    assert [reply.status for reply in replies] == [200, 200, 429]
    assert "2 downloads of acme/library a minute are the limit" in error(replies[2], 429)
    assert allowance(replies[2])[:2] == (2, 0)
    assert int(replies[2].headers["Retry-After"]) > 50
    other = await tight.token()
    assert (await tight.ask("/packages/acme/plugin/dev-main.zip", other)).status == 200
    assert (await tight.ask(ARCHIVE, secret, headers=of("192.0.2.2"))).status == 200


async def used_up(start: Start, **settings: Any) -> tuple[World, str]:
    """A server with a token that has no download of acme/library left in this minute."""
    world = await start(downloads_per_minute=240, **settings)
    secret = await world.token()
    assert {(await world.ask(ARCHIVE, secret)).status for _ in range(240)} == {200}
    return world, secret


async def test_a_download_over_the_limit_is_held_back_and_sent(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waits for its turn, as metadata does: an older Composer would turn to Git for one that is refused."""
    world, secret = await used_up(start)
    waits = []
    wait = Allowance.wait

    def noted(allowance: Allowance, *, longest: float) -> float | None:
        waits.append(wait(allowance, longest=longest))
        return waits[-1]

    monkeypatch.setattr(Allowance, "wait", noted)
    replies = await asyncio.gather(*(world.ask(ARCHIVE, secret) for _ in range(4)))

    assert [reply.status for reply in replies] == [200] * 4
    assert allowance(replies[0])[:2] == (240, 0)
    turns = [seconds for seconds in waits if seconds is not None]
    assert len(turns) == 4
    assert turns == sorted(turns)


async def test_a_download_is_refused_where_its_turn_is_too_far(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the seconds after which Composer tries again by itself."""
    monkeypatch.setattr("pricore.web.http.admission.LONGEST_DOWNLOAD_WAIT", 0.5)
    world, secret = await used_up(start)
    replies = await asyncio.gather(*(world.ask(ARCHIVE, secret) for _ in range(20)))

    assert {reply.status for reply in replies} == {200, 429}
    refused = next(reply for reply in replies if reply.status == 429)
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.json["warning"] == refused.json["message"]


async def test_a_token_that_is_revoked_while_it_waits_gets_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is held back is asked again when the turn comes."""
    world, secret = await used_up(start)
    waiting = asyncio.Event()

    def begin(_: Allowance, *, longest: float) -> float:
        waiting.set()
        return 0.5

    monkeypatch.setattr(Allowance, "wait", begin)
    asked = asyncio.create_task(world.ask(ARCHIVE, secret))
    await waiting.wait()
    async with world.store.transaction() as db:
        await db.execute("DELETE FROM tokens")
    assert (await asked).status == 401


async def test_metadata_over_the_limit_is_held_back_and_served(start: Start) -> None:
    """Requests for packages.json and p2 documents over the limit wait for their turn, one after another."""
    world = await start(requests_per_minute=240)
    secret = await world.token()
    for _ in range(240):
        await world.ask("/list.json", secret)
    began = time.monotonic()
    waits = []

    async def ask(path: str) -> int:
        status = (await world.ask(path, secret)).status
        waits.append(time.monotonic() - began)
        return status

    paths = ["/packages.json", "/p2/acme/library.json", "/p2/acme/library~dev.json", "/p2/acme/plugin.json"]
    assert await asyncio.gather(*map(ask, paths)) == [200] * 4
    gaps = [later - earlier for earlier, later in zip([0.0, *waits], waits, strict=False)]
    assert all(gap > 0.2 for gap in gaps), "a quarter of a second each"
    reply = await world.ask("/packages.json", secret)
    assert (reply.status, allowance(reply)[:2]) == (200, (240, 0))


async def test_metadata_is_refused_where_its_turn_is_too_far(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of more than can have their turn in time, the rest is refused, and said so to whoever runs Composer."""
    monkeypatch.setattr("pricore.web.http.admission.LONGEST_WAIT", 0.5)
    world = await start(requests_per_minute=600)
    secret = await world.token()
    for _ in range(600):
        await world.ask("/list.json", secret)
    replies = await asyncio.gather(*(world.ask("/p2/acme/library.json", secret) for _ in range(20)))

    statuses = [reply.status for reply in replies]
    assert set(statuses) == {200, 429}
    assert 4 <= statuses.count(200) <= 10
    refused = next(reply for reply in replies if reply.status == 429)
    assert refused.json["warning"] == refused.json["message"]


async def test_failed_authentications_of_an_address_are_limited(tight: World) -> None:
    """The third failure in a minute is 429; a good token of the same address gets its answer all the same."""
    address = of("192.0.2.1")
    bad: list[Any] = [create_secret(), "nonsense", None, create_secret()]
    replies = [await tight.ask("/packages.json", secret, headers=address) for secret in bad]

    assert [reply.status for reply in replies] == [401, 401, 429, 429]
    assert "too many failed authentications" in error(replies[2], 429)
    assert (allowance(replies[0])[:2], allowance(replies[3])[:2]) == ((2, 1), (2, 0))
    assert int(replies[3].headers["Retry-After"]) > 50
    good = await tight.ask("/packages.json", await tight.token(), headers=address)
    assert (good.status, allowance(good)[:2]) == (200, (3, 2))
    assert (await tight.ask("/packages.json", create_secret(), headers=of("192.0.2.2"))).status == 401


async def test_a_revoked_token_is_refused_as_such(tight: World) -> None:
    """Who is over the limit learns that the token is gone; it isn't held back or counted any more."""
    secret = await tight.token(scopes=ALL)
    for _ in range(4):
        await call(tight, "GET", f"{ORG}/packages", secret)
    await tight.store.tokens.revoke(await tight.store.organizations.get("acme"), await token_id(tight, secret))

    refusal(await call(tight, "GET", f"{ORG}/packages", secret), 401)


@pytest.mark.parametrize(
    ("settings", "limited"),
    [
        ({"rate_limits": False}, set()),
        ({"requests_per_minute": 0}, {"downloads", "failures"}),
        ({"downloads_per_minute": 0}, {"requests", "failures"}),
        ({"failures_per_minute": 0}, {"requests", "downloads"}),
    ],
)
async def test_limits_can_be_switched_off(start: Start, settings: dict[str, Any], limited: set[str]) -> None:
    """All together or one by one; what no limit counts has no headers."""
    wanted = {"requests_per_minute": 3, "downloads_per_minute": 2, "failures_per_minute": 1} | settings
    world = await start(**wanted)
    requests, downloads = await world.token(scopes=ALL), await world.token()

    async def statuses(path: str, secret: str | None, count: int) -> list[int]:
        return [(await world.ask(path, secret)).status for _ in range(count)]

    packages = world.base + f"{ORG}/packages"
    assert (429 in await statuses(packages, requests, 4)) == ("requests" in limited)
    assert (429 in await statuses(ARCHIVE, downloads, 3)) == ("downloads" in limited)
    assert (429 in await statuses("/packages.json", None, 2)) == ("failures" in limited)
    shown = HEADERS[0] in (await world.ask(packages, requests)).headers
    assert shown == ("requests" in limited)


async def test_a_token_sees_its_limits(world: World, admin: str) -> None:
    """`GET /api/token` shows what is left of this minute, this request included."""
    made = (await create_token(world, admin))["token"]
    limits = (await read(world, "/api/token", made))["data"]["limits"]

    assert TIME.fullmatch(limits["requests"].pop("resets_at"))
    assert limits == {
        "address": "127.0.0.1",
        "requests": {"limit": 1000, "remaining": 999},
        "downloads_per_minute": 100,
    }


async def test_a_token_sees_that_it_has_no_limits(start: Start) -> None:
    """Where limits are off, `GET /api/token` shows null."""
    world = await start(rate_limits=False)
    limits = (await read(world, "/api/token", await world.token()))["data"]["limits"]

    assert limits == {"address": "127.0.0.1", "requests": None, "downloads_per_minute": None}


async def test_a_token_sees_where_it_is_used(tight: World) -> None:
    """The address that limits count by: through a proxy that is trusted, the one that it names."""
    secret = await tight.token()
    assert [
        (await tight.ask(f"{tight.base}/api/token", secret, headers=headers)).json["data"]["limits"]["address"]
        for headers in ({}, of("203.0.113.7"))
    ] == ["127.0.0.1", "203.0.113.7"]


async def test_urls_have_the_scheme_that_a_trusted_proxy_names(start: Start) -> None:
    """Behind a proxy with TLS the metadata's URLs are https, and each origin gets its own."""
    world = await start(trusted_proxies=(ip_network("127.0.0.1"),), inline_limit=0)
    secret = await world.token()
    proxied = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "php.example.com"}
    for headers, base in (
        (proxied, "https://php.example.com"),
        ({}, world.base),
        (proxied, "https://php.example.com"),
    ):
        (first, *_) = (await world.get("/p2/acme/library.json", secret, headers=headers)).json["packages"][
            "acme/library"
        ]
        assert first["dist"]["url"].startswith(f"{base}/org/acme/")
    bad = await world.ask("/packages.json", secret, headers={"X-Forwarded-Host": 'a"b'})
    assert "Host header" in error(bad, 400)
