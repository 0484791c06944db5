"""Errors have one shape, whatever went wrong."""

import io

import pytest

from tests.web.composer.harness import World, error


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/org/acme",
            "/org/acme/",
            "/org/acme/p2/library.json",
            "/org/acme/p2/acme/library",
            "/packages.json",
        ),
        *(
            "/org/acme/packages/acme/library.zip",
            "/org/acme/packages/acme/library/v1.0.0.tar",
            "/org//packages.json",
        ),
        *("/org/acme/p2/a/b/c.json", "/favicon.ico", "/org/acme/p2/acme%2Flibrary.json", "/org/acme/%00"),
    ],
)
async def test_an_unknown_address_is_not_there(world: World, path: str) -> None:
    """What is no route is 404 in the shape of every error, with a token and without."""
    for secret in (await world.token(), None):
        error(await world.ask(world.base + path, secret), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/packages.json", "GET,HEAD"),
        ("DELETE", "/p2/acme/library.json", "GET,HEAD"),
        ("PUT", "/packages/acme/library/v1.0.0.zip", "GET,HEAD"),
        ("OPTIONS", "/list.json", "GET,HEAD"),
        ("PATCH", "/security-advisories", "GET,HEAD,POST"),
        ("GET", "/downloads", "POST"),
    ],
)
async def test_a_wrong_method_is_refused(world: World, secret: str, method: str, path: str, allowed: str) -> None:
    """A method that a route doesn't take is 405, with those that it takes."""
    reply = await world.ask(path, secret, method=method)

    error(reply, 405)
    assert allowed == reply.headers["Allow"]


@pytest.mark.parametrize("path", ["/downloads", "/security-advisories"])
async def test_a_large_body_is_refused(world: World, secret: str, path: str) -> None:
    """A body of more than a megabyte is 413."""
    body = io.BytesIO(b"x" * (1024 * 1024 + 1))
    reply = await world.ask(path, secret, method="POST", body=body)

    error(reply, 413)


async def test_who_is_refused_is_told_by_composer(world: World) -> None:
    """The errors that a person can do something about are in the field that Composer prints."""
    for secret in (None, await world.token(scopes=())):
        document = (await world.ask("/packages.json", secret)).json
        assert document["message"] == document["warning"]
