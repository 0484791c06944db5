"""What hosts send is taken when it is signed: a push is queued, anything else is acknowledged."""

import asyncio
import base64
from collections.abc import Mapping

import pytest

from pricore.hosts.table import PROVIDERS
from tests.harness import GitRepository
from tests.web.api.harness import eventually, jobs
from tests.web.webhooks.harness import HOSTS, QUEUED, Followed, Host, standard

every_host = pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)


def test_every_provider_has_a_route() -> None:
    """Whatever kind of host a repository is on, there is a way for it to tell of a push."""
    assert set(PROVIDERS) == {host.route for host in HOSTS.values()}


@every_host
@pytest.mark.usefixtures("busy")
async def test_a_push_is_queued_before_the_answer(followed: Followed, host: Host) -> None:
    """A signed delivery of each host is answered when another process finds its job in the database."""
    reply = await followed.deliver(host)

    assert (reply.status, reply.json) == (200, QUEUED)
    assert jobs(followed.world) == [True, False]


@pytest.mark.parametrize("name", ["forgejo", "gogs"])
@pytest.mark.usefixtures("busy")
async def test_a_host_has_a_route_by_its_own_name(followed: Followed, name: str) -> None:
    """As it is called by commands: /webhooks/forgejo is /webhooks/gitea."""
    host = HOSTS[name]
    proof = host.prove(followed.secret, host.body)
    reply = await followed.send(name, {**host.headers, **proof}, host.body)

    assert (reply.status, reply.json) == (200, QUEUED)


@every_host
async def test_what_was_pushed_is_served(followed: Followed, upstream: GitRepository, host: Host) -> None:
    """A tag that was pushed before the delivery is a version of Composer's soon after."""
    upstream.commit(files={"version.txt": "1.1.0"})
    upstream.tag("1.1.0")
    await followed.deliver(host)

    async def served() -> bool:
        return "1.1.0" in await followed.world.versions("acme/followed")

    await eventually(served, "1.1.0 is served")


@pytest.mark.parametrize(
    ("name", "header", "events"),
    [
        ("github", "X-GitHub-Event", ["push", "create", "delete", "release"]),
        ("gitlab-token", "X-Gitlab-Event", ["Push Hook", "Tag Push Hook", "Release Hook"]),
        ("bitbucket-cloud", "X-Event-Key", ["repo:push"]),
        ("bitbucket-data-center", "X-Event-Key", ["repo:refs_changed", "mirror:repo_synchronized"]),
        ("gitea", "X-Gitea-Event", ["push", "create", "delete", "release"]),
        ("forgejo", "X-Forgejo-Event", ["push", "create", "delete", "release"]),
        ("gogs", "X-Gogs-Event", ["push", "create", "delete", "release"]),
        ("git-header", "X-Event", ["whatever"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.usefixtures("busy")
async def test_events_that_move_refs_are_syncs(
    followed: Followed, name: str, header: str, events: list[str]
) -> None:
    """Pushes, new and deleted branches and tags, and releases are queued."""
    for event in events:
        reply = await followed.deliver(HOSTS[name], **{header: event})
        assert (reply.status, reply.json) == (200, QUEUED), event
    assert jobs(followed.world) == [True, False]


@pytest.mark.parametrize(
    ("name", "header", "event"),
    [
        ("github", "X-GitHub-Event", "ping"),
        ("github", "X-GitHub-Event", "issues"),
        ("github", "X-GitHub-Event", "PUSH"),
        ("github", "X-GitHub-Event", ""),
        ("gitlab-token", "X-Gitlab-Event", "Merge Request Hook"),
        ("gitlab-signed", "X-Gitlab-Event", "Pipeline Hook"),
        ("bitbucket-cloud", "X-Event-Key", "pullrequest:created"),
        ("bitbucket-data-center", "X-Event-Key", "diagnostics:ping"),
        ("bitbucket-data-center", "X-Event-Key", "pr:opened"),
        ("gitea", "X-Gitea-Event", "issue_comment"),
        ("forgejo", "X-Forgejo-Event", "pull_request"),
    ],
)
async def test_other_events_are_acknowledged(followed: Followed, name: str, header: str, event: str) -> None:
    """A host that sends more than was ticked, or asks whether anybody is there, gets 200; nothing is queued."""
    reply = await followed.deliver(HOSTS[name], **{header: event})

    assert reply.status == 200
    assert set(reply.json) == {"message"}
    assert reply.json["message"].startswith("Pong" if "ping" in event else "Ignored")
    assert jobs(followed.world) == []


async def test_a_delivery_without_an_event_is_ignored(followed: Followed) -> None:
    """A signed body that doesn't say what it is about queues nothing."""
    host = HOSTS["github"]
    reply = await followed.send("github", host.prove(followed.secret, host.body), host.body)

    assert (reply.status, jobs(followed.world)) == (200, [])
    assert reply.json["message"].startswith("Ignored")


async def test_the_connection_test_of_data_center_is_answered(followed: Followed) -> None:
    """Its button sends no signature: the answer says that this proves nothing about the secret."""
    headers = {"X-Event-Key": "diagnostics:ping", "Content-Type": "application/json"}
    reply = await followed.send("bitbucket", headers, b'{"test":true}')

    assert (reply.status, jobs(followed.world)) == (200, [])
    assert "without a signature" in reply.json["message"]
    forged = await followed.send("bitbucket", headers | {"X-Hub-Signature": "sha256=00"}, b'{"test":true}')
    assert forged.status == 401


@pytest.mark.parametrize("body", [b"", b"\x00\xff not JSON", b"[" * 100_000], ids=["none", "bytes", "deep"])
@pytest.mark.usefixtures("busy")
async def test_what_is_in_the_body_does_not_matter(followed: Followed, body: bytes) -> None:
    """Nothing in it is parsed: what is signed counts."""
    host = HOSTS["github"]
    reply = await followed.send("github", {**host.headers, **host.prove(followed.secret, body)}, body)

    assert (reply.status, reply.json) == (200, QUEUED)


@pytest.mark.usefixtures("busy")
async def test_any_host_can_tell_of_any_repository(followed: Followed) -> None:
    """The route says who sends, not who was configured: a mirror on another host may tell of a push as well."""
    for host in HOSTS.values():
        assert (await followed.deliver(host)).status == 200


def _two(secret: str, body: bytes) -> Mapping[str, str]:
    other = "whsec_" + base64.b64encode(bytes(32)).decode()
    stale = standard(other, body)["webhook-signature"]
    proof = standard(secret, body)
    return proof | {"webhook-signature": f"v1a,AAAA {stale} {proof['webhook-signature']}"}


@pytest.mark.usefixtures("busy")
async def test_one_of_several_standard_signatures_is_enough(followed: Followed) -> None:
    """While a host changes its secret it signs with both; a version that isn't known is passed over."""
    host = HOSTS["gitlab-signed"]
    reply = await followed.send("gitlab", {**host.headers, **_two(followed.secret, host.body)}, host.body)

    assert (reply.status, reply.json) == (200, QUEUED)


@pytest.mark.usefixtures("busy")
async def test_the_scheme_has_no_case_and_the_place_is_free(followed: Followed) -> None:
    """`bearer` counts as Bearer, and a proxy's own Authorization doesn't hide the secret in its own header."""
    host = HOSTS["git-header"]
    for headers in (
        {"Authorization": f"bearer {followed.secret}"},
        {"Authorization": "Basic cHJveHk6cHJveHk=", "X-Webhook-Secret": followed.secret},
    ):
        reply = await followed.send("git", headers, host.body)
        assert (reply.status, reply.json) == (200, QUEUED)


async def test_a_flood_is_one_waiting_sync(followed: Followed, busy: None) -> None:
    """Two hundred deliveries at once, most of them replays, leave one sync waiting behind the one that runs."""
    hosts = list(HOSTS.values())
    replies = await asyncio.gather(*(followed.deliver(hosts[number % 4 * 2]) for number in range(200)))

    assert {200} == {reply.status for reply in replies}
    assert jobs(followed.world) == [True, False]


async def test_a_rotated_secret_counts_for_the_very_next_request(followed: Followed, busy: None) -> None:
    """What another process made anew is in force at once, and the old one is refused."""
    host = HOSTS["github"]
    assert (await followed.deliver(host)).status == 200
    made = await followed.rotate()

    assert (await followed.deliver(host)).status == 401
    assert (await followed.deliver(host, secret=made)).status == 200
