"""What an operator types for a repository is understood as git would, and what git must not see is refused."""

from pathlib import Path

import pytest

from pricore.errors import InvalidError
from pricore.hosts.addresses import Address, address_at, host_of, is_local, parse_address, parse_instance


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, which is the home too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def refusal(text: str, provider: str | None = None) -> str:
    """The one line with which an address is refused; it blames the address."""
    with pytest.raises(InvalidError) as caught:
        parse_address(text, provider)
    assert caught.value.field == "url"
    message = str(caught.value)
    assert message.isprintable()
    return message


@pytest.mark.parametrize(
    ("text", "provider", "identifier", "key"),
    [
        ("https://github.com/acme/library.git", "github", "acme/library", "github.com/acme/library"),
        ("https://gitlab.com/acme/team/library", "gitlab", "acme/team/library", "gitlab.com/acme/team/library"),
        ("https://bitbucket.org/acme/library", "bitbucket", "acme/library", "bitbucket.org/acme/library"),
        ("https://git.example.com/a/b.git", "git", "git.example.com/a/b", "git.example.com/a/b"),
        ("http://git.example.com:8080/a/b", "git", "git.example.com/a/b", "git.example.com:8080/a/b"),
        ("https://[2001:db8::1]/a/b", "git", "2001:db8::1/a/b", "2001:db8::1/a/b"),
        ("ssh://git@github.com/acme/library.git", "github", "acme/library", "github.com/acme/library"),
        ("ssh://git@git.example.com:2222/a/b", "git", "git.example.com/a/b", "git.example.com:2222/a/b"),
        ("https://[2001:db8::1]:8443/a/b", "git", "2001:db8::1/a/b", "[2001:db8::1]:8443/a/b"),
        ("git://git.example.com/a/b", "git", "git.example.com/a/b", "git.example.com/a/b"),
        ("git@github.com:acme/library.git", "github", "acme/library", "github.com/acme/library"),
        ("git@gitlab.com:acme/team/library", "gitlab", "acme/team/library", "gitlab.com/acme/team/library"),
        ("git.example.com:a/b.git", "git", "git.example.com/a/b", "git.example.com/a/b"),
        ("git@[2001:db8::1]:a/b.git", "git", "2001:db8::1/a/b", "2001:db8::1/a/b"),
        ("[::1]:a/b.git", "git", "::1/a/b", "::1/a/b"),
        ("git@git.example.com:/srv/a/b.git", "git", "git.example.com/srv/a/b", "git.example.com/srv/a/b"),
    ],
)
def test_an_address_on_a_host_is_understood(text: str, provider: str, identifier: str, key: str) -> None:
    """URLs and scp-like addresses are kept as typed; the provider is read off the host."""
    assert Address(provider, identifier, text, key, local=False) == parse_address(text)


@pytest.mark.parametrize(
    ("provider", "host"),
    [("github", "github.com"), ("gitlab", "gitlab.com"), ("bitbucket", "bitbucket.org")],
)
@pytest.mark.parametrize("text", ["acme/library", "acme/library.git"])
def test_owner_and_name_are_enough_with_a_provider(text: str, provider: str, host: str) -> None:
    """owner/name means the repository at the provider that is given."""
    expected = Address(
        provider, "acme/library", f"https://{host}/acme/library.git", f"{host}/acme/library", local=False
    )

    assert expected == parse_address(text, provider)


def test_a_provider_can_be_given_for_a_host_of_ones_own() -> None:
    """A GitLab on another host is one by saying so, and its repositories are then named as there."""
    expected = Address("gitlab", "a/b", "https://git.example.com/a/b.git", "git.example.com/a/b", local=False)

    assert expected == parse_address("https://git.example.com/a/b.git", "gitlab")


@pytest.mark.parametrize(
    "text", ["{}/library", "./library", "library", "~/library", "{}/library/.git", "{}/library/"]
)
def test_a_folder_is_an_address(text: str, folder: Path) -> None:
    """A folder is named by its absolute path, however it is typed, with or without `.git` inside."""
    (folder / "library/.git").mkdir(parents=True)
    path = str(folder / "library")

    assert Address("git", path, path, f"file:{path}", local=True) == parse_address(text.format(folder))


def test_a_folder_that_is_written_as_a_path_need_not_exist(folder: Path) -> None:
    """A path says folder by its form, so that the error for a missing one speaks of a folder."""
    assert str(folder / "missing") == parse_address("./missing").url


def test_a_file_url_is_a_folder() -> None:
    """file:// is kept as typed and known to be of this machine."""
    expected = Address("git", "/srv/library.git", "file:///srv/library.git", "file:/srv/library", local=True)

    assert expected == parse_address("file:///srv/library.git")
    assert is_local("file:///srv/library.git")
    assert is_local("/srv/library.git")
    assert not is_local("https://git.example.com/srv/library.git")
    assert not is_local("git.example.com:/srv/library.git")


def test_a_scheme_in_capitals_is_the_same_scheme() -> None:
    """git knows schemes in lower case only: they are written so before it sees them."""
    assert parse_address("HTTPS://github.com/acme/library").url == "https://github.com/acme/library"
    assert is_local(parse_address("FILE:///srv/library").url)


@pytest.mark.parametrize(
    "texts",
    [
        (
            "https://github.com/acme/library",
            "https://github.com/acme/library.git",
            "https://github.com/acme/library/",
            "https://github.com/acme/library.git/",
            "https://GitHub.com/acme/library",
            "HTTPS://GITHUB.COM/acme/library",
            "  https://github.com/acme/library\n",
            "http://github.com/acme/library",
            "ssh://git@github.com/acme/library.git",
            "ssh://git@github.com:22/acme/library.git",
            *("https://github.com:443/acme/library", "http://github.com:80/acme/library"),
            *("git://github.com:9418/acme/library", "https://github.com:/acme/library"),
            "git://github.com/acme/library.git",
            "git@github.com:acme/library.git",
            "git@GitHub.com:acme/library/",
        ),
        ("/srv/library", "/srv/library.git", "/srv/library/", "/srv/library/.git", "file:///srv/library.git"),
    ],
)
def test_one_repository_has_one_key(texts: tuple[str, ...]) -> None:
    """`.git`, a slash at the end, capitals in the host, the user and the protocol make no other repository."""
    assert len({parse_address(text).key for text in texts}) == 1


@pytest.mark.parametrize(
    "texts",
    [
        ("https://git.example.com/a/b", "https://git.example.com/a/B"),
        ("https://git.example.com/a/b", "https://git.example.com/b"),
        ("https://git.example.com/a/b", "https://git.example.org/a/b"),
        ("https://git.example.com/a/b", "https://git.example.com:8443/a/b"),
        ("http://git.example.com:8080/a/b", "http://git.example.com:8081/a/b"),
        ("ssh://git@git.example.com/a/b", "ssh://git@git.example.com:443/a/b"),
        ("/srv/library", "https://srv/library"),
    ],
)
def test_two_repositories_have_two_keys(texts: tuple[str, str]) -> None:
    """Hosts, their ports and paths tell repositories apart, capitals in the path too."""
    assert len({parse_address(text).key for text in texts}) == 2


@pytest.mark.parametrize(
    "text",
    [
        *("https://ada:s3cret@git.example.com/a/b", "https://:s3cret@git.example.com/a/b"),
        *("https://glpat-s3cret5s3cret5s3cret@git.example.com/a/b", "https://ghp_s3cret0123456789@github.com/a/b"),
        "https://git.example.com/a/b?private_token=s3cret",
        *("ssh://ada:s3cret@git.example.com/a/b", "git://ada:s3cret@git.example.com/a/b"),
        *("https://ada:s3cret@git.example.com:99999/a/b", "https://ada:s3cret/@git.example.com/a/b"),
        *("https://ada:s3cret@-git.example.com/a/b", "https://ada:s3cret@/a/b", "https://ada:s3cret@[::1/a/b"),
        *("ftp://ada:s3cret@git.example.com/a/b", "https://ada:s3cret@git.example.com/a\x07b"),
        *("ada:s3cret@git.example.com:a/b", "ada:s3cret@git.example.com/a/b"),
        *("https://ada:s3cret\x1b@git.example.com/a/b", "-https://ada:s3cret@git.example.com/a/b"),
    ],
)
def test_a_password_is_refused_and_not_repeated(text: str) -> None:
    """An address with a password in it is refused, and whatever is wrong with it, the error doesn't show it."""
    assert "s3cret" not in refusal(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://acme@dev.azure.com/acme/web/_git/library", "https://dev.azure.com/acme/web/_git/library"),
        ("https://ada@bitbucket.org/acme/library.git", "https://bitbucket.org/acme/library.git"),
        ("HTTP://ada%40example.com@git.example.com:8080/a/b", "http://git.example.com:8080/a/b"),
        ("https://a-company-of-a-long-name@dev.azure.com/a/_git/b", "https://dev.azure.com/a/_git/b"),
    ],
)
def test_a_user_alone_is_left_out(text: str, url: str) -> None:
    """Hosts show it in the addresses that they give; a login is found by the host."""
    assert parse_address(text) == parse_address(url)
    assert parse_address(text).url == url


@pytest.mark.parametrize(
    ("text", "provider", "url"),
    [
        ("https://github.com/acme/library/tree/main", None, "https://github.com/acme/library"),
        ("https://github.com/acme/library/blob/main/src/a.php", None, "https://github.com/acme/library"),
        ("https://github.com/acme/library/pull/7/", None, "https://github.com/acme/library"),
        ("https://git.example.com/acme/library/tree/main", "github", "https://git.example.com/acme/library"),
        ("https://gitlab.com/acme/team/library/-/tree/main", None, "https://gitlab.com/acme/team/library"),
        (
            "https://git.example.com/gitlab/acme/library/-/issues",
            None,
            "https://git.example.com/gitlab/acme/library",
        ),
        ("https://bitbucket.org/acme/library/src/main/", None, "https://bitbucket.org/acme/library"),
        ("https://codeberg.org/acme/library/src/branch/main", None, "https://codeberg.org/acme/library"),
        # a project of a subgroup, and what may be anything
        ("https://gitlab.com/acme/team/tree", None, "https://gitlab.com/acme/team/tree"),
        ("https://git.example.com/a/b/tree/c.git", None, "https://git.example.com/a/b/tree/c.git"),
        ("https://git.example.com/a/b/src", None, "https://git.example.com/a/b/src"),
        ("https://github.com/acme/tree", None, "https://github.com/acme/tree"),
    ],
)
def test_a_page_of_a_repository_means_it(text: str, provider: str | None, url: str) -> None:
    """As it is copied from a browser; where the host is none that is known, nothing is guessed."""
    assert parse_address(text, provider).url == url


def test_what_looks_like_a_page_is_refused_with_what_to_give() -> None:
    """Of a host of which nobody said what it is."""
    message = refusal("https://git.example.com/acme/library/tree/main")
    assert "looks like a page in a browser" in message
    assert message.endswith("such as https://git.example.com/acme/library.git")


@pytest.mark.parametrize("text", ["git@[1:22]:a/b", "git@[::1]x:a/b", "git@[::1:a/b", "ext::[::1]:a/b", "a@[]:b"])
def test_an_address_in_brackets_is_one(text: str) -> None:
    """In anything else git finds a host and a port, or a program."""
    refusal(text)


def test_a_password_is_refused_with_a_better_place() -> None:
    """The error for a password says why it is bad there and where it belongs."""
    expected = (
        "the address of git.example.com holds a user or password, which lists and logs would show; "
        "give it to `pricore credential add`, or use ssh"
    )

    assert expected == refusal("https://ada:s3cret@git.example.com/a/b")


@pytest.mark.parametrize(
    "text",
    [
        *("-", "--", "-x", "--upload-pack=touch /tmp/x", "-oProxyCommand=x", "-c", "-h:a/b"),
        *("ext::sh -c id", "ext::ssh://git.example.com/a", "fd::17", "https::https://git.example.com/a/b"),
        *("ssh://-oProxyCommand=x/a/b", "https://-x.example.com/a/b", "ssh://git@-x/a/b", "git@-x:a/b"),
        *("ssh://-oProxyCommand=x@git.example.com/a/b", "git://-/a"),
    ],
)
def test_options_and_commands_in_disguise_are_refused(text: str) -> None:
    """Nothing that git or ssh would take for an option or a command to run is an address."""
    refusal(text)
    refusal(text, "github")


@pytest.mark.parametrize(
    "text",
    [
        *("ssh://127.0.0.1%2F@git.example.com/a/b", "git://127.0.0.1%2f@git.example.com/a/b"),
        *("ssh://[::1]@git.example.com/a/b", "git://[::1]@git.example.com/a/b", "ssh://git@[::1]x/a/b"),
        *(
            "https://git.example.com\\@127.0.0.1/a/b",
            "ssh://a@b@git.example.com/a/b",
            "ssh://git%00@host.example/a",
        ),
        *("ssh://git@127.0.0.1%23.example.com/a", "https://[::1%25eth0]/a/b", "https://[v1.x]/a/b"),
    ],
)
def test_git_finds_no_other_host_in_a_url(text: str) -> None:
    """Where git would connect to another host than the one that stands there, it is no address."""
    refusal(text)


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize(
    "text", ["{}/library", "./library", "../library", "~/library", "~root", ".", "file://{}/library", "FILE:///x"]
)
def test_a_folder_is_refused_where_none_may_be_given(text: str, folder: Path, exists: bool) -> None:
    """Without `folders`, a folder is refused in the same words whether there is one or not."""
    if exists:
        (folder / "library").mkdir()
    with pytest.raises(InvalidError, match=r"^only the command line of this server can follow a folder") as caught:
        parse_address(text.format(folder), folders=False)
    assert caught.value.field == "url"


@pytest.mark.parametrize("url", ["git://git.example.com/a/b", "GIT://1.1.1.1:6379/x"])
def test_an_open_protocol_is_the_command_lines(url: str) -> None:
    """What comes over the API is never git://, which anybody on the way can change; the operator may choose it."""
    with pytest.raises(InvalidError, match=r"^git:// is neither .*; give the https or ssh address$") as caught:
        parse_address(url, folders=False)
    assert caught.value.field == "url"
    with pytest.raises(InvalidError, match=r"use one of https, http, ssh$"):
        parse_address("ftp://git.example.com/a/b", folders=False)

    assert parse_address(url).url.startswith("git://")


def test_a_name_is_no_folder_where_none_may_be_given(folder: Path) -> None:
    """A folder that is there is not looked for: its name is no address, or what it means on a provider."""
    (folder / "acme/library").mkdir(parents=True)
    with pytest.raises(InvalidError, match="is no Git address"):
        parse_address("acme", folders=False)
    with pytest.raises(InvalidError, match=r"^acme/library is no URL; .* its provider is github$"):
        parse_address("acme/library", folders=False)

    expected = "https://github.com/acme/library.git"
    assert expected == parse_address("acme/library", "github", folders=False).url


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Git.Example.com:8443/a/b", "git.example.com"),
        ("ssh://git@[2001:DB8::1]:22/a", "2001:db8::1"),
        ("git@Git.example.com:a/b", "git.example.com"),
        ("git@[2001:DB8::1]:a/b", "2001:db8::1"),
        ("/srv/library", ""),
        ("file:///srv/library", ""),
    ],
)
def test_the_host_of_an_address(url: str, host: str) -> None:
    """The host is read off each form of an address; a folder has none."""
    assert host == host_of(parse_address(url).url)


@pytest.mark.parametrize("scheme", ["ftp", "ftps", "rsync", "svn", "data", "ext", "git+ssh", "javascript"])
def test_an_unknown_scheme_is_refused_with_those_there_are(scheme: str) -> None:
    """The error for a protocol that git isn't asked for lists the others."""
    expected = f"git cannot be asked for {scheme}:// here; use one of https, http, ssh, git, file"

    assert expected == refusal(f"{scheme}://git.example.com/a/b")


@pytest.mark.parametrize(
    "text",
    [
        *("https://", "https://git.example.com", "https://git.example.com/", "https://git.example.com//"),
        *(
            "https:///a/b",
            "https://git.example.com/.git",
            "https://git example.com/a/b",
            "https://git.example.com:x/a",
        ),
        *(
            "https://git.example.com:99999/a",
            "https://[::1/a",
            "https://a%2fb/c",
            "ssh://",
            "://a/b",
            "git@host:/",
        ),
    ],
)
def test_a_url_names_a_repository_on_a_host(text: str) -> None:
    """A URL without host, or without anything on it, is refused."""
    refusal(text)


@pytest.mark.parametrize(
    "text", ["https://git.example.com/a\nb", "a\x00b", "/srv/a\x1b[31m", "a\u202eb/c", "a\tb/c"]
)
def test_control_characters_are_refused(text: str) -> None:
    """What would change how a terminal or a log shows it is no address."""
    refusal(text)


def test_an_address_that_is_too_long_is_refused() -> None:
    """However long the text is, it is an error of its own and a short one."""
    assert len(refusal("a" * 300)) < 400
    assert len(refusal("https://[" + "a" * 5000)) < 400


def test_owner_and_name_without_a_provider_get_a_hint() -> None:
    """owner/name alone could be anything: the error says how to mean GitHub."""
    expected = "acme/library is neither a URL nor a folder here; for a repository on GitHub add --provider github"

    assert expected == refusal("acme/library")
    assert expected == refusal("acme/library", "git")


def test_an_unknown_provider_is_refused_with_those_there_are() -> None:
    """The error for an unknown provider lists the known ones, and blames the provider."""
    with pytest.raises(InvalidError) as caught:
        parse_address("acme/library", "sourceforge")

    expected = (
        "there is no provider sourceforge; choose one of github, gitlab, bitbucket, gitea, git, forgejo, gogs"
    )
    assert ("provider", expected) == (caught.value.field, str(caught.value))


@pytest.mark.parametrize("text", ["", " ", "\n", "library", "a b", "@", ":", "a:", "🐘", "acme/../library:x y"])
def test_what_is_no_address_gets_an_example(text: str) -> None:
    """Nothing, and what looks like nothing that git opens, is refused with what an address looks like."""
    assert "https://git.example.com/team/name.git" in refusal(text)


@pytest.mark.parametrize(
    ("provider", "host", "url"),
    [
        ("gitlab", "git.example.com/gitlab", "https://git.example.com/gitlab"),
        ("gitlab", "http://git.example.com:8080/a/b/", "http://git.example.com:8080/a/b"),
        ("forgejo", "https://git.example.com/git", "https://git.example.com/git"),
    ],
)
def test_a_provider_may_be_below_a_path(provider: str, host: str, url: str) -> None:
    """Its API and its repositories are there; a login is for the host."""
    instance = parse_instance(provider, host)
    assert instance.url == url
    assert "/" not in instance.host
    address = address_at(instance, "acme/library")
    assert address.url == f"{url}/acme/library.git"
    assert instance.name_of(address.identifier) == "acme/library"


@pytest.mark.parametrize(
    "host", ["git.example.com/..", "git.example.com/-x", "git.example.com//a", "git.example.com/a?b", "/gitlab"]
)
def test_a_path_of_a_host_is_a_plain_one(host: str) -> None:
    """It becomes a part of URLs, and nothing else of them."""
    with pytest.raises(InvalidError, match="is no host"):
        parse_instance("gitlab", host)
