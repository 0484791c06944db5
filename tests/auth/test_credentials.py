"""A credential is for one host of one organization, sealed in its row, and shown nowhere."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pricore.auth.credentials import Credentials
from pricore.auth.sealing import Sealer
from pricore.errors import ConflictError, GitError, InvalidError, SealError
from pricore.hosts.addresses import login_place, parse_address, parse_host, parse_instance
from pricore.models import Login, Organization, Repository
from pricore.remotes import known_hosts, ssh_agent
from pricore.remotes.access import Access, may_use, prepare
from pricore.store import Store
from tests.harness import need

TOKEN = "tok-3n1gm4"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "data/pricore.sqlite3") as opened:
        yield opened


@pytest.fixture
async def acme(store: Store) -> Organization:
    return await store.organizations.create("acme", "Acme")


@pytest.fixture
def credentials(store: Store, tmp_path: Path) -> Credentials:
    return Credentials(store, Sealer(tmp_path / "data/key"))


async def follow(store: Store, organization: Organization, url: str, **options: Any) -> Repository:
    return await store.repositories.add(organization, parse_address(url), **options)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://Git.Example.com/a/b.git", ("https", "git.example.com")),
        ("https://git.example.com:443/a/b", ("https", "git.example.com")),
        ("https://git.example.com:8443/a/b", ("https", "git.example.com:8443")),
        ("http://git.example.com/a/b", ("http", "git.example.com")),
        ("ssh://git@git.example.com:2222/a/b", ("ssh", "git.example.com:2222")),
        ("git@Git.example.com:a/b.git", ("ssh", "git.example.com")),
        ("https://[2001:DB8::1]:8443/a/b", ("https", "[2001:db8::1]:8443")),
        ("git://git.example.com/a/b", None),
        ("/srv/git/a", None),
    ],
)
def test_an_address_has_a_place_to_log_in(url: str, place: tuple[str, str] | None) -> None:
    """The protocol and the host with its port decide, however they are written."""
    assert place == login_place(url)
    if place is not None and place[0] != "http":
        assert place[1] == parse_host(place[1], place[0])


@pytest.mark.parametrize(
    "host",
    [
        *(
            "",
            "https://git.example.com",
            "git.example.com/",
            "me@git.example.com",
            "-oProxyCommand=x",
            "*.example.com",
        ),
        *("git.example.com:0", "git.example.com:65536", "git.example.com:", "a b", "a\nb", "gît.example.com"),
        *("git.example.com\n", "a_b.example.com", "git.example.com:\uff18\uff10", "x.helper=!id #"),
    ],
)
def test_what_is_no_host_is_refused(host: str) -> None:
    """Neither a pattern nor an option nor anything that git or ssh would read otherwise is a host."""
    with pytest.raises(InvalidError, match="is no host"):
        parse_host(host, "https")


async def test_a_token_is_found_for_its_host_alone(
    store: Store, acme: Organization, credentials: Credentials
) -> None:
    """Exactly the host, the port, the protocol and the organization: anything else gets nothing."""
    other = await store.organizations.create("other", "Other")
    await credentials.add_https(acme, "deploy", host="Git.Example.com", token=TOKEN)

    found = await credentials.find(await follow(store, acme, "https://git.example.com/a/b"))
    assert found is not None
    assert (found.username, found.secret) == ("x-access-token", TOKEN)
    assert TOKEN not in repr(found)
    assert TOKEN not in f"{Access(login=found)}"
    for url in (
        "http://git.example.com/a/b2",
        "https://git.example.com:8443/a/b",
        "https://git.example.com./a/b",
        "https://sub.git.example.com/a/b",
        "https://example.com/a/b",
        "git@git.example.com:a/b3",
        "/srv/git.example.com",
    ):
        assert await credentials.find(await follow(store, acme, url)) is None
    assert await credentials.find(await follow(store, other, "https://git.example.com/a/b")) is None
    instance = parse_instance("gitea", "git.example.com:443")
    assert await credentials.for_api(acme, instance) == found
    assert await credentials.for_api(other, instance) is None
    assert await credentials.for_api(acme, parse_instance("gitea", "http://git.example.com")) is None


async def test_a_given_credential_comes_first_and_goes_nowhere_else(
    store: Store, acme: Organization, credentials: Credentials
) -> None:
    """What a repository was given counts before its host's, and is let go of when it moves to another host."""
    await credentials.add_https(acme, "first", host="git.example.com", token="1")
    second = await credentials.add_https(acme, "second", host="git.example.com", token="2")
    repository = await follow(store, acme, "https://git.example.com/a/b", credential_id=second.id)
    found = await credentials.find(repository)
    assert found is not None
    assert found.name == "second"
    with pytest.raises(ConflictError, match="was given second"):
        await store.credentials.remove(second)

    same = await store.repositories.change(repository, parse_address("https://git.example.com/a/c"), confined=True)
    assert same.credential_id == second.id
    moved = await store.repositories.change(same, parse_address("https://evil.example.com/a/c"), confined=True)
    assert moved.credential_id is None
    given = await store.repositories.change(moved, credential_id=second.id)
    with pytest.raises(GitError, match=r"second is for https:// at git\.example\.com alone"):
        await credentials.find(given)


async def test_a_secret_is_bound_to_its_row(store: Store, acme: Organization, credentials: Credentials) -> None:
    """A sealed secret that is moved to another credential, and its host, opens for neither."""
    first = await credentials.add_https(acme, "first", host="git.example.com", token=TOKEN)
    second = await credentials.add_https(acme, "second", host="evil.example.com", token="x")
    sealed = await store.credentials.sealed(first.id)
    assert sealed is not None
    assert TOKEN.encode() not in sealed
    await store.credentials.change(second, sealed, username="x")

    with pytest.raises(SealError, match="the credential second cannot be opened"):
        await credentials.login(second)


@pytest.mark.parametrize("text", ["a\nb", "a\r\nhost=evil.example.com", "a\0b", "a\x1b[2Jb", " ", "", "x" * 9000])
async def test_what_would_be_another_line_is_no_token(
    store: Store, acme: Organization, credentials: Credentials, text: str
) -> None:
    """A line break in a token or a user would be a further word to git: it is refused, and not repeated."""
    with pytest.raises(InvalidError, match="the token must be one line") as caught:
        await credentials.add_https(acme, "deploy", host="git.example.com", token=text)
    assert not text.strip() or text not in str(caught.value)
    if text:
        with pytest.raises(InvalidError, match="the user must have"):
            await credentials.add_https(acme, "deploy", host="git.example.com", token=TOKEN, username=text)
    assert await store.credentials.of_organization(acme.id) == []


async def test_a_name_is_taken_once(store: Store, acme: Organization, credentials: Credentials) -> None:
    """Names are an organization's own; with the organization its credentials go."""
    other = await store.organizations.create("other", "Other")
    for organization in (acme, other):
        await credentials.add_https(organization, "deploy", host="git.example.com", token=TOKEN)
    with pytest.raises(ConflictError, match="choose another name"):
        await credentials.add_ssh(acme, "deploy", host="git.example.com")

    await store.organizations.delete(acme)
    assert await store.credentials.of_organization(acme.id) == []
    assert len(await store.credentials.of_organization(other.id)) == 1


async def test_a_login_of_another_host_is_never_lent(credentials: Credentials, acme: Organization) -> None:
    """Whoever asks git to read an address with the login of another one is refused before git begins."""
    made = await credentials.add_https(acme, "deploy", host="git.example.com", token=TOKEN)
    login = await credentials.login(made)
    assert may_use("https://git.example.com/a", login)

    with pytest.raises(GitError, match="the credential deploy is for"):
        async with prepare("https://evil.example.com/a", Access(login=login)):
            pass


ASKED = {
    "https://git.example.com/a": True,
    "https://GIT.example.com:443/b/c": True,
    "http://git.example.com/a": False,
    "http://git.example.com:443/a": False,
    "https://git.example.com:8443/a": False,
    "https://sub.git.example.com/a": False,
    "https://evil.example.com/git.example.com": False,
    "https://git.example.com@evil.example.com/a": False,
}


@pytest.mark.parametrize("asked", ASKED)
async def test_git_gives_a_token_to_its_host_alone(asked: str) -> None:
    """Wherever git is sent on to, to another host, another port or in the open, it gets no token for that."""
    login = Login(name="deploy", kind="https", host="git.example.com", username="ada", plain=False, secret=TOKEN)
    async with prepare("https://git.example.com/a", Access(login=login)) as way:
        options = [part for setting in way.settings for part in ("-c", setting)]
        process = await asyncio.create_subprocess_exec(
            *("git", *options, "credential", "fill"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={
                "PATH": "/usr/bin:/bin",
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_TERMINAL_PROMPT": "0",
                **way.environment,
            },
            pass_fds=way.descriptors,
        )
        output, _ = await process.communicate(f"url={asked}\n\n".encode())
    assert TOKEN not in " ".join(options)
    assert (f"username=ada\npassword={TOKEN}\n" in output.decode()) == ASKED[asked]
    assert (TOKEN in output.decode()) == ASKED[asked]


async def test_an_agent_signs_with_its_one_key(tmp_path: Path) -> None:
    """OpenSSH's own tools list the key, make a signature with it and check that; nonsense is a failure."""
    need("ssh-add", "ssh-keygen")
    private, public = ssh_agent.create_key("test")
    (tmp_path / "text").write_text("text")
    (tmp_path / "allowed").write_text(f"ada {public}\n")

    async def run(*command: str, stdin: bytes = b"") -> bytes:
        def work() -> bytes:
            environment = {"PATH": "/usr/bin:/bin", "SSH_AUTH_SOCK": str(folder / ssh_agent.SOCKET)}
            done = subprocess.run(command, env=environment, input=stdin, capture_output=True, check=False)
            assert done.returncode == 0, done.stderr
            return done.stdout

        return await asyncio.to_thread(work)

    async with ssh_agent.serving(private) as folder:
        assert (folder.stat().st_mode & 0o777) == 0o700
        assert (await run("ssh-add", "-L")).split()[:2] == public.encode().split()[:2]
        key = str(folder / ssh_agent.PUBLIC_KEY)
        await run("ssh-keygen", "-Y", "sign", "-n", "test", "-f", key, str(tmp_path / "text"))
        signature = str(tmp_path / "text.sig")
        verify = ("ssh-keygen", "-Y", "verify", "-f", str(tmp_path / "allowed"), "-I", "ada", "-n", "test")
        await run(*verify, "-s", signature, stdin=b"text")
        reader, writer = await asyncio.open_unix_connection(folder / ssh_agent.SOCKET)
        for nonsense in (b"", b"\x0d", b"\x0d\xff\xff\xff\xff", b"\x63abc"):
            writer.write(len(nonsense).to_bytes(4) + nonsense)
            assert await reader.readexactly(5) == b"\0\0\0\1\5"
        writer.write(b"\xff\xff\xff\xff")
        assert await reader.read() == b""
        writer.close()
    assert not folder.exists()


def test_a_host_that_is_trusted_has_its_new_keys_alone(tmp_path: Path) -> None:
    """Trusting a host anew replaces its keys, and leaves those of others and whatever else is in the file."""
    file = tmp_path / "known_hosts"
    new = known_hosts.HostKey("ssh-rsa", "AAAA", "")
    known_hosts.trust(file, "git.example.com", [new])
    assert file.read_text() == "git.example.com ssh-rsa AAAA\n"
    others = ["# mine", "[git.example.com]:2222 ssh-ed25519 AAAA", "@revoked git.example.com ssh-ed25519 AAAA"]
    file.write_text("\n".join(["git.example.com,192.0.2.1 ssh-ed25519 AAAA", *others, ""]))

    known_hosts.trust(file, "git.example.com", [new])
    assert file.read_text().splitlines() == [*others, "git.example.com ssh-rsa AAAA"]


def test_a_login_shows_no_secret() -> None:
    """Whoever prints or formats a login sees whose it is, not what it is."""
    login = Login(name="deploy", kind="https", host="h", username="u", plain=False, secret=TOKEN)

    assert f"{login!r}{login}{[login]}" == "Login('deploy', https, 'h')" * 2 + "[Login('deploy', https, 'h')]"
