"""What does not prove that it comes from the host is refused with what to do, and changes nothing."""

import asyncio
import hashlib
import json
import logging
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.web.api.harness import jobs, refusal, repository_id
from tests.web.composer.harness import Reply, Start, World
from tests.web.webhooks.harness import HOSTS, Followed, Host, hex_hmac, secrets_of, standard

every_host = pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)
signing = {name: host for name, host in HOSTS.items() if host.over_body}
every_signing_host = pytest.mark.parametrize("host", signing.values(), ids=signing)

OTHER = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@pytest.fixture(autouse=True)
def nothing_is_queued(followed: Followed, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever is refused leaves no job, and no secret in the log."""
    caplog.set_level(logging.DEBUG)
    yield
    assert jobs(followed.world) == []
    assert followed.secret not in caplog.text
    assert OTHER not in caplog.text


def refused(reply: Reply) -> str:
    """The message of a 401: it has one line, which says what the operator can do."""
    message, _ = refusal(reply, 401)
    assert "\n" not in message
    assert "`pricore repo webhook`" in message
    return message


@every_host
async def test_another_secret(followed: Followed, host: Host) -> None:
    """A delivery with another secret, also an empty one, is refused."""
    for secret in (OTHER, "whsec_", "whsec_AAAA"):
        refused(await followed.deliver(host, secret=secret))


@every_host
async def test_no_proof(followed: Followed, host: Host) -> None:
    """A delivery without a signature or token is told in which header it is missing."""
    message = refused(await followed.send(host.route, host.headers, host.body))

    assert host.header in message


@every_host
async def test_something_that_is_no_proof(followed: Followed, host: Host) -> None:
    """A header that is empty, malformed or not ASCII is a wrong one, not a failure."""
    proof = host.prove(followed.secret, host.body)
    for value in ("", " ", "\u00ff\u00e9", "\U0001f511", "sha256=", "v1,", "null", "Bearer ", "Bearer"):
        refused(await followed.send(host.route, {**host.headers, **proof, host.header: value}, host.body))


@every_host
async def test_bytes_that_are_no_text(followed: Followed, host: Host) -> None:
    """A header of bytes that are no UTF-8 is a wrong one, not a failure."""
    reader, writer = await asyncio.open_connection(followed.world.client.host, followed.world.client.port)
    head = f"POST /webhooks/{host.route}/{followed.id} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n{host.header}: "
    writer.write(head.encode() + b"Bearer \xff\xfe\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 401 ")


@every_host
async def test_a_proof_that_is_altered(followed: Followed, host: Host) -> None:
    """A proof that is cut, prolonged, or in capitals is refused: there is one way to write it."""
    proof = host.prove(followed.secret, host.body)
    value = proof[host.header]
    for altered in (value[:-1], value[: len(value) // 2], f"{value}0", value.upper(), value[1:], f"x{value}"):
        refused(await followed.send(host.route, {**host.headers, **proof, host.header: altered}, host.body))


@every_signing_host
async def test_the_signature_of_another_body(followed: Followed, host: Host) -> None:
    """What was signed for one body says nothing about another."""
    proof = host.prove(followed.secret, host.body + b" ")

    refused(await followed.send(host.route, {**host.headers, **proof}, host.body))


@pytest.mark.parametrize("host", [host for host in signing.values() if host.body], ids=signing)
async def test_json_that_was_written_anew(followed: Followed, host: Host) -> None:
    """The bytes are signed, not what they mean: the same document written in another way is refused."""
    again = json.dumps(json.loads(host.body)).encode()
    assert again != host.body
    proof = host.prove(followed.secret, host.body)

    refused(await followed.send(host.route, {**host.headers, **proof}, again))


@every_host
async def test_another_repository_s_secret(followed: Followed, admin: str, host: Host) -> None:
    """Who may tell of one repository may not tell of another."""
    other = await repository_id(followed.world, "acme/library", admin)
    secret = await secrets_of(followed.world).provide(other)

    refused(await followed.deliver(host, secret=secret))


@every_host
async def test_no_secret_set(followed: Followed, admin: str, host: Host) -> None:
    """A repository without a secret takes no webhook at all, whatever it shows."""
    bare = Followed(followed.world, await repository_id(followed.world, "acme/library", admin), "whsec_")
    for reply in (await bare.deliver(host), await bare.send(host.route, host.headers, host.body)):
        assert "makes one" in refused(reply)


async def test_the_unsigned_connection_test_needs_a_secret_too(followed: Followed, admin: str) -> None:
    """Where no secret was made, not even a ping is answered."""
    bare = Followed(followed.world, await repository_id(followed.world, "acme/library", admin), "")

    assert "makes one" in refused(await bare.send("bitbucket", {"X-Event-Key": "diagnostics:ping"}, b""))


async def test_the_old_signature_of_github(followed: Followed) -> None:
    """SHA-1 in X-Hub-Signature is no proof."""
    host = HOSTS["github"]
    for value in (
        f"sha1={hex_hmac(followed.secret, host.body, digest=hashlib.sha1)}",
        f"sha256={hex_hmac(followed.secret, host.body)}",
    ):
        refused(await followed.send("github", {**host.headers, "X-Hub-Signature": value}, host.body))


@pytest.mark.parametrize("value", ["sha1", "sha512", "md5"])
async def test_another_algorithm(followed: Followed, value: str) -> None:
    """The sender doesn't choose the algorithm."""
    host = HOSTS["bitbucket-cloud"]
    digest = getattr(hashlib, value)
    signature = f"{value}={hex_hmac(followed.secret, host.body, digest=digest)}"

    refused(await followed.send("bitbucket", {**host.headers, "X-Hub-Signature": signature}, host.body))


async def test_a_wrong_signature_beside_the_right_token(followed: Followed) -> None:
    """Where GitLab signs, the signature has to hold; the token doesn't make up for it."""
    wrong = standard(OTHER, HOSTS["gitlab-signed"].body)
    headers = {**HOSTS["gitlab-signed"].headers, **wrong, "X-Gitlab-Token": followed.secret}

    refused(await followed.send("gitlab", headers, HOSTS["gitlab-signed"].body))


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp"])
@pytest.mark.parametrize("value", ["1", "", None])
async def test_another_id_or_time_than_was_signed(followed: Followed, name: str, value: str | None) -> None:
    """A standard signature covers the id and the time, which can neither be changed nor left out."""
    host = HOSTS["gitlab-signed"]
    headers: dict[str, Any] = {**host.headers, **host.prove(followed.secret, host.body)}
    del headers[name]
    if value is not None:
        headers[name] = value

    refused(await followed.send("gitlab", headers, host.body))


async def test_forgejo_s_signature_goes_before_gitea_s(followed: Followed) -> None:
    """Where both are there, one of them right is not enough."""
    host = HOSTS["forgejo"]
    refused(await followed.deliver(host, X_Forgejo_Signature=hex_hmac(OTHER, host.body)))


@every_host
async def test_unknown_repositories_and_providers(followed: Followed, host: Host) -> None:
    """What isn't there is 404 with or without a proof."""
    proof = {**host.headers, **host.prove(followed.secret, host.body)}
    for path in (
        f"{host.route}/{uuid.uuid4()}",
        f"{host.route}/x",
        f"{host.route}/%FF%00",
        f"nobody/{followed.id}",
        f"{host.route.upper()}/{followed.id}",
        f"{host.route}/{followed.id}/more",
    ):
        url = f"{followed.world.base}/webhooks/{path}"
        refusal(await followed.world.ask(url, method="POST", headers=proof, body=host.body), 404)


async def test_guessing_comes_to_an_end(start: Start, followed: Followed) -> None:
    """Past the limit of failures a forged delivery is 429, and a good one from the same address is still taken."""
    world = await start(failures_per_minute=3)
    host = HOSTS["github"]
    limited = Followed(world, followed.id, followed.secret)
    statuses = [(await limited.deliver(host, secret=OTHER)).status for _ in range(5)]

    assert statuses == [401, 401, 401, 429, 429]
    assert (await limited.deliver(host, **{"X-GitHub-Event": "ping"})).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_another_method(followed: Followed, method: str) -> None:
    """Only POST delivers: others get 405, with Allow."""
    reply = await followed.world.ask(f"{followed.world.base}/webhooks/github/{followed.id}", method=method)

    assert reply.status == 405
    assert reply.headers["Allow"] == "POST"


@pytest.mark.parametrize("content", [None, b"AAAA\n"], ids=["missing", "malformed"])
async def test_a_key_that_cannot_be_used(
    followed: Followed, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the key nothing can be checked: 500 outside, and the file's name in the log alone."""
    key = followed.world.config.key
    key.unlink() if content is None else key.write_bytes(content)
    message, _ = refusal(await followed.deliver(HOSTS["github"]), 500)

    assert str(key) not in message
    assert str(key) in caplog.text


async def test_a_secret_that_was_moved_to_another_row(followed: Followed, start: Start, admin: str) -> None:
    """Who can write the database, and has one secret, cannot make it another repository's."""
    world: World = followed.world
    other = await repository_id(world, "acme/library", admin)
    with world.database() as connection:
        connection.execute(
            "UPDATE repositories SET webhook_secret = (SELECT webhook_secret FROM repositories WHERE id = ?) "
            "WHERE id = ?",
            (followed.id, other),
        )

    refusal(await Followed(world, other, followed.secret).deliver(HOSTS["github"]), 500)
