"""What each Git host's API says is understood: lists over all their pages, and webhooks made once."""

import base64

import pytest

from pricore.errors import NotFoundError, ProviderError
from pricore.hosts.provider import Found
from tests.hosts.harness import TOKEN, WITH_API, Host, login

LISTS: dict[tuple[str, str], list[Found]] = {
    ("github", "acme"): [
        Found(name="acme/library", ssh_url="git@github.com:acme/library.git"),
        Found(name="acme/.github", ssh_url="git@github.com:acme/.github.git"),
        Found(name="acme/secret", ssh_url="git@github.com:acme/secret.git"),
        Found(name="acme/old", ssh_url="git@github.com:acme/old.git", archived=True),
        Found(name="acme/monolog", ssh_url="git@github.com:acme/monolog.git", fork=True),
        Found(name="acme/begun", ssh_url="git@github.com:acme/begun.git", empty=True),
    ],
    ("gitlab", "acme"): [
        Found(name="acme/library", ssh_url="git@gitlab.com:acme/library.git"),
        Found(name="acme/php/http/client", ssh_url="git@gitlab.com:acme/php/http/client.git"),
        Found(name="acme/old", ssh_url="git@gitlab.com:acme/old.git", archived=True),
        Found(name="acme/php/monolog", ssh_url="git@gitlab.com:acme/php/monolog.git", fork=True),
        Found(name="acme/begun", ssh_url="git@gitlab.com:acme/begun.git", empty=True),
    ],
    ("gitlab", "ada"): [Found(name="ada/tools", ssh_url="git@gitlab.com:ada/tools.git")],
    ("bitbucket", "acme"): [
        Found(name="acme/library", ssh_url="git@bitbucket.org:acme/library.git"),
        Found(name="acme/monolog", ssh_url="git@bitbucket.org:acme/monolog.git", fork=True),
        Found(name="acme/begun", ssh_url="git@bitbucket.org:acme/begun.git", empty=True),
    ],
    ("gitea", "acme"): [
        Found(name="acme/library", ssh_url="ssh://git@codeberg.org/acme/library.git"),
        Found(name="acme/client", ssh_url="ssh://git@codeberg.org/acme/client.git"),
        Found(name="acme/old", ssh_url="ssh://git@codeberg.org/acme/old.git", archived=True),
        Found(name="acme/monolog", ssh_url="ssh://git@codeberg.org/acme/monolog.git", fork=True),
        Found(name="acme/begun", ssh_url="ssh://git@codeberg.org/acme/begun.git", empty=True),
    ],
    ("gitea", "ada"): [Found(name="ada/tools", ssh_url="ssh://git@codeberg.org/ada/tools.git")],
}
HOOKS = {
    # without one of ours, with one, and where the token may not
    "github": ("acme/library", "acme/secret", "acme/monolog"),
    "gitlab": ("acme/library", "acme/php/http/client", "acme/old"),
    "bitbucket": ("acme/library", "acme/monolog", "acme/begun"),
    "gitea": ("acme/library", "acme/client", "acme/old"),
}


@pytest.mark.parametrize(("kind", "owner"), LISTS)
async def test_all_pages_of_a_list_are_read(kind: str, owner: str) -> None:
    """Organizations, groups with those below, users and workspaces are listed to the last page."""
    async with Host(kind) as host:
        assert await host.list(kind, owner, login()) == LISTS[kind, owner]


async def test_private_repositories_of_a_user_are_listed_to_that_user_alone() -> None:
    """GitHub says what a user keeps private to that user's own token, by another list."""
    async with Host("github-user") as host:
        assert [found.name for found in await host.list("github", "ada", login())] == ["ada/tools"]
        assert [found.name for found in await host.list("github", "bob", login())] == ["bob/shared"]
        host.seen.clear()
        assert [found.name for found in await host.list("github", "bob")] == ["bob/shared"]
        assert all(request.path != "/user" for request in host.seen), "who has no token is nobody"


@pytest.mark.parametrize("kind", WITH_API)
async def test_an_owner_that_is_not_there(kind: str) -> None:
    """The error names the host and who it was that looked."""
    async with Host(kind) as host:
        with pytest.raises(
            NotFoundError, match=r"^git\.example\.com has nothing at GET /.*the credential deploy$"
        ):
            await host.list(kind, "nobody", login())


@pytest.mark.parametrize(
    ("kind", "username", "header"),
    [
        ("github", "x-access-token", f"Bearer {TOKEN}"),
        ("gitlab", "x-access-token", f"Bearer {TOKEN}"),
        ("gitea", "x-access-token", f"token {TOKEN}"),
        ("bitbucket", "x-token-auth", f"Bearer {TOKEN}"),
        (
            "bitbucket",
            "ada@example.com",
            f"Basic {base64.b64encode(f'ada@example.com:{TOKEN}'.encode()).decode()}",
        ),
    ],
)
async def test_the_token_goes_in_the_header_that_the_host_wants(kind: str, username: str, header: str) -> None:
    """On every request, and in no URL."""
    async with Host(kind) as host:
        await host.list(kind, "acme", login(username))
        assert {request.headers["Authorization"] for request in host.seen} == {header}
        assert not any(TOKEN in request.raw_path for request in host.seen)
        host.seen.clear()
        await host.list(kind, "acme")
        assert not any("Authorization" in request.headers for request in host.seen)


@pytest.mark.parametrize("kind", WITH_API)
async def test_a_webhook_is_made_once(kind: str) -> None:
    """One of the same URL is brought up to date, and others are left alone."""
    without, having, forbidden = HOOKS[kind]
    async with Host(kind) as host:
        assert await host.register(kind, without) is True
        assert await host.register(kind, having) is False
        with pytest.raises(ProviderError, match=r"refuses GET .* to the credential deploy: may its token do that"):
            await host.register(kind, forbidden)
