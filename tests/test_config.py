"""Settings come from several places in order, and what cannot be used is refused with where it stands."""

from collections.abc import Mapping
from dataclasses import fields
from ipaddress import ip_network
from pathlib import Path

import pytest

from pricore.config import DEFAULT, Config, find_unknown, load_config, read_settings
from pricore.errors import ConfigError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without settings; nothing that this machine has configured plays a part."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pricore.config.MACHINES_FILE", folder / "etc" / "config.yaml")
    return folder


def write(folder: Path, text: str | bytes) -> Path:
    """A settings file with that text."""
    path = folder / "pricore.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> str:
    """The one line with which settings are refused."""
    with pytest.raises(ConfigError) as caught:
        load_config(file=file, environ=environ or {}, flags=flags)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_nothing_has_to_be_set(home: Path) -> None:
    """Without any setting the registry listens on this machine alone and keeps its data in the user's home."""
    expected = Config(
        data=home / ".local/share/pricore",
        host="127.0.0.1",
        port=8000,
        public_url="",
        inline_limit=512 * 1024,
        git_timeout=1800,
    )

    assert expected == load_config(environ={})


VALUES = {
    "data": ("/srv/packages", Path("/srv/packages")),
    "host": ("0.0.0.0", "0.0.0.0"),
    "port": ("8443", 8443),
    "workers": ("4", 4),
    "public_url": ("https://packages.example.com/registry/", "https://packages.example.com/registry"),
    "inline_limit": ("0", 0),
    "git_timeout": ("60", 60),
    "repository_limit": ("2048", 2048),
    "sync_interval": ("0", 0),
    "sync_workers": ("8", 8),
    "vanished_versions": ("remove", "remove"),
    "upload_limit": ("250", 250),
    "rate_limits": ("off", False),
    "requests_per_minute": ("50", 50),
    "downloads_per_minute": ("0", 0),
    "failures_per_minute": ("5", 5),
    "restricted_sources": ("on", True),
    "trusted_proxies": ("10.0.0.0/8, ::1", (ip_network("10.0.0.0/8"), ip_network("::1"))),
    "internal_hosts": ("Git.Lan,192.168.0.0/16", ("git.lan", ip_network("192.168.0.0/16"))),
    "git_proxy": ("http://proxy.example.com:3128/", "http://proxy.example.com:3128"),
    "key_file": ("/etc/pricore/key", Path("/etc/pricore/key")),
    "ca_file": ("/etc/pricore/ca.pem", Path("/etc/pricore/ca.pem")),
    "log_format": ("json", "json"),
    "log_level": ("debug", "debug"),
    "access_log": ("on", True),
    "stop_timeout": ("0", 0),
    "dist_storage": ("s3://packages/dists/", "s3://packages/dists"),
    "dist_redirect": ("on", True),
    "dist_limit": ("5000", 5000),
    "dist_days": ("90", 90),
    "pin_limit": ("7", 7),
    "s3_endpoint": ("https://s3.example.com/", "https://s3.example.com"),
    "s3_region": ("eu-central-1", "eu-central-1"),
    "s3_access_key": ("AKIDEXAMPLE", "AKIDEXAMPLE"),
    "s3_secret_key": ("wJalrXUtnFEMI/K7MDENG", "wJalrXUtnFEMI/K7MDENG"),
}


def test_the_tests_know_every_setting() -> None:
    """No setting goes untested."""
    assert [field.name for field in fields(Config)] == list(VALUES)


@pytest.mark.parametrize("name", VALUES)
def test_each_setting_can_be_given_in_each_place(name: str, tmp_path: Path) -> None:
    """A setting means the same in the file, in the environment and as a flag."""
    text, expected = VALUES[name]
    file = write(tmp_path, f"{name}: {text}\n")
    places = [
        load_config(file=file, environ={}),
        load_config(environ={f"PRICORE_{name.upper()}": text}),
        load_config(environ={}, flags={name: text}),
    ]

    assert [expected] * 3 == [getattr(config, name) for config in places]


def test_the_nearer_place_wins(tmp_path: Path) -> None:
    """A flag beats the environment, the environment beats the file, the file beats the default."""
    file = write(tmp_path, "port: 1\nhost: file.example.com\ninline_limit: 1\n")
    environ = {"PRICORE_PORT": "2", "PRICORE_HOST": "environment.example.com"}

    config = load_config(file=file, environ=environ, flags={"port": 3})

    assert (
        config.port,
        config.host,
        config.inline_limit,
        config.git_timeout,
    ) == (3, "environment.example.com", 1, 1800)


def test_a_flag_or_variable_that_is_not_given_leaves_the_setting_alone(tmp_path: Path) -> None:
    """A flag of None and an empty variable count as not given."""
    file = write(tmp_path, "port: 1\n")

    assert load_config(file=file, environ={"PRICORE_PORT": ""}, flags={"port": None}).port == 1


def test_the_file_is_the_first_that_there_is(home: Path, tmp_path: Path) -> None:
    """--config beats PRICORE_CONFIG, that the file in the user's configuration folder, and that the machine's."""
    standard = home / ".config/pricore/config.yaml"
    standard.parent.mkdir(parents=True)
    standard.write_text("port: 1\n")
    named = tmp_path / "named.yaml"
    named.write_text("port: 2\n")
    chosen = tmp_path / "chosen.yaml"
    chosen.write_text("port: 3\n")
    environ = {"PRICORE_CONFIG": str(named)}

    machines = home / "etc" / "config.yaml"
    machines.parent.mkdir()
    machines.write_text("port: 4\n")

    assert load_config(environ={}).port == 1
    assert load_config(environ=environ).port == 2
    assert load_config(file=chosen, environ=environ).port == 3
    standard.unlink()
    assert load_config(environ={}).port == 4
    assert read_settings(environ={}).origins["port"] == str(machines)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n"])
def test_an_empty_file_sets_nothing(text: str, tmp_path: Path) -> None:
    """A settings file may be empty, or hold comments alone."""
    assert load_config(environ={}) == load_config(file=write(tmp_path, text), environ={})


def test_an_unknown_setting_is_refused_with_those_there_are(tmp_path: Path) -> None:
    """A mistyped key in the file is an error that names the file, the key and every known setting."""
    file = write(tmp_path, "prot: 8000\n")
    expected = f"{file}: unknown setting 'prot'; there are {', '.join(sorted(VALUES))}"

    assert expected == refusal(file=file)


def test_a_key_that_is_no_text_is_unknown_too(tmp_path: Path) -> None:
    """A number as the key is refused as any other unknown one."""
    assert "unknown setting 8000" in refusal(file=write(tmp_path, "8000: port\n"))


@pytest.mark.parametrize(
    "text",
    ["port: [", "port: 1\n  host: x\n", "\tport: 1", "? [a]\n: 1", b"host: \xff\n", "data: 2027-02-30\n", "\0"],
)
def test_a_file_that_is_no_yaml_is_refused(text: str | bytes, tmp_path: Path) -> None:
    """Malformed YAML, other encodings and impossible dates are one line that names the file."""
    file = write(tmp_path, text)

    assert refusal(file=file).startswith(f"{file} is not valid YAML: ")


@pytest.mark.parametrize("text", ["- port\n", "port\n", "8000\n"])
def test_a_file_without_names_is_refused(text: str, tmp_path: Path) -> None:
    """YAML that is a list or a lone value holds no settings."""
    file = write(tmp_path, text)

    assert f"{file} must hold settings as `name: value`" == refusal(file=file)


def test_a_file_that_was_named_has_to_be_there(tmp_path: Path) -> None:
    """A missing file is an error, and so is a folder in its place."""
    missing = tmp_path / "missing.yaml"

    assert f"cannot read the configuration {missing}: No such file or directory" == refusal(file=missing)
    assert f"cannot read the configuration {missing}: No such file or directory" == refusal(
        environ={"PRICORE_CONFIG": str(missing)}
    )
    assert f"cannot read the configuration {tmp_path}: Is a directory" == refusal(file=tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        *("data: 5", "data: ''", "data: null", "data: [a]", "data: true"),
        *("host: 5", "host: ''", "host: null", "host: a b", "host: http://a", "host: user@a", "host: [a]"),
        *("port: eighty", "port: 80.5", "port: -1", "port: 65536", "port: true", "port: null", "port: [80]"),
        *("port: '8 0'", "port: '٣'", "port: ''", "port: 99999999999999999999"),
        *("public_url: 5", "public_url: packages.example.com", "public_url: [a]"),
        *("inline_limit: -1", "inline_limit: 64k", "inline_limit: 4294967296", "inline_limit: 1e3"),
        *(
            "sync_interval: 5m",
            "sync_interval: -1",
            "sync_workers: 0",
            "sync_workers: 65",
            "vanished_versions: drop",
        ),
        *("rate_limits: sometimes", "rate_limits: null", "rate_limits: 5", "requests_per_minute: -1"),
        *("downloads_per_minute: many", "failures_per_minute: 1.5", "trusted_proxies: 5", "trusted_proxies: [5]"),
        *("internal_hosts: {a: b}", "internal_hosts: null", "key_file: ''", "key_file: [a]"),
        *("git_proxy: proxy.example.com", "git_proxy: http://ada:secret@proxy.example.com", "git_proxy: [a]"),
        *("log_format: xml", "log_level: 10", "log_level: [debug]", "access_log: some", "stop_timeout: 3601"),
        *("git_timeout: 0", "git_timeout: 86401", "git_timeout: 30m", "git_timeout: false"),
    ],
)
def test_a_value_of_the_wrong_form_is_refused_where_it_stands(line: str, tmp_path: Path) -> None:
    """A value in the file that cannot be used is an error that names the file and the setting."""
    file = write(tmp_path, f"{line}\n")
    name = line.partition(":")[0]

    assert refusal(file=file).startswith(f"{file}: {name} must be ")


@pytest.mark.parametrize("text", ["on", "ON", "true", "yes", "1", "off", "False", "no", "0"])
def test_a_switch_is_written_as_people_do(text: str, tmp_path: Path) -> None:
    """on and off, true and false, yes and no, 1 and 0: in the file, which YAML reads in its own way, too."""
    expected = text.lower() in ("on", "true", "yes", "1")

    assert load_config(environ={"PRICORE_RATE_LIMITS": text}).rate_limits is expected
    assert load_config(file=write(tmp_path, f"rate_limits: {text}\n"), environ={}).rate_limits is expected


@pytest.mark.parametrize("name", ["trusted_proxies", "internal_hosts"])
def test_a_list_is_one_of_yaml_or_has_commas(name: str, tmp_path: Path) -> None:
    """A list may be written in either way, with blanks and nothing in it."""
    expected = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    for text in ("10.0.0.0/8,fd00::/8", " 10.0.0.0/8 , fd00::/8, ", "['10.0.0.0/8', 'fd00::/8']"):
        assert getattr(load_config(file=write(tmp_path, f"{name}: {text}\n"), environ={}), name) == expected
    assert getattr(load_config(environ={f"PRICORE_{name.upper()}": " , "}), name) == ()


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "10.0.0", "::1::", "10.0.0.0/8;::1", "-"])
def test_what_is_no_network_is_named(text: str) -> None:
    """A mistyped network is an error that repeats it; bits behind the mask are a mistake too."""
    for name in ("trusted_proxies", "internal_hosts"):
        message = refusal(environ={f"PRICORE_{name.upper()}": f"192.0.2.1,{text}"})
        assert message == f"PRICORE_{name.upper()}: {text!r} is no address or network, such as 10.0.0.0/8"


@pytest.mark.parametrize("port", ["eighty", "-1", "65536", "8000 ", "0x50", "1.0", "+80", "1e3"])
def test_a_port_is_a_number_that_exists(port: str) -> None:
    """The error for a bad port says where it was given and what it may be."""
    expected = "must be a whole number from 0 to 65535"

    assert f"PRICORE_PORT {expected}" == refusal(environ={"PRICORE_PORT": port})
    assert f"--port {expected}" == refusal(flags={"port": port})


@pytest.mark.parametrize(
    "url",
    [
        *("packages.example.com", "//packages.example.com", "ftp://packages.example.com", "https://"),
        *("https:///packages", "https://:8000", "https://packages.example.com:99999", "https://a:b:c"),
        *("https://packages.example.com:0", "http://[::1", "http://::1]", "https://user@packages.example.com"),
        *("https://token:secret@packages.example.com", "https://packages.example.com/?a=b"),
        *("https://packages.example.com/#a", 'https://packages.example.com/"', "https://packages.example.com/%7e"),
        *("https://packages.example.com/a b", "https://packages.example.com\n", "javascript:alert(1)"),
    ],
)
def test_a_public_url_is_one_that_clients_can_use(url: str) -> None:
    """What is no http URL of a host, or holds what has no place in a base URL, is refused and not repeated."""
    expected = "must be a URL such as https://packages.example.com"

    assert f"PRICORE_PUBLIC_URL {expected}" == refusal(environ={"PRICORE_PUBLIC_URL": url})
    assert f"--public-url {expected}" == refusal(flags={"public_url": url})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://packages.example.com", "https://packages.example.com"),
        ("https://packages.example.com/", "https://packages.example.com"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://[::1]:8000/a/b//", "http://[::1]:8000/a/b"),
    ],
)
def test_a_public_url_ends_without_a_slash(url: str, expected: str) -> None:
    """However the public URL is written, paths can be put behind it."""
    assert expected == load_config(environ={"PRICORE_PUBLIC_URL": url}).public_url


def test_no_public_url_can_be_said_in_the_file(tmp_path: Path) -> None:
    """An empty public URL in the file means none."""
    for text in ("public_url:\n", "public_url: ''\n"):
        assert load_config(file=write(tmp_path, text), environ={}).public_url == ""


def test_the_data_folder_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative data folder is one below the folder where the program was started, whatever happens later."""
    monkeypatch.chdir(tmp_path)

    config = load_config(environ={"PRICORE_DATA": "data"})

    assert tmp_path / "data" == config.data
    assert tmp_path / "data/pricore.sqlite3" == config.database
    assert tmp_path / "data/repositories" == config.repositories
    assert tmp_path / "data/dists" == config.dists


def test_a_tilde_is_the_home_folder(home: Path, tmp_path: Path) -> None:
    """`~` works where no shell replaces it: in the file and in the environment."""
    assert home / "packages" == load_config(file=write(tmp_path, "data: ~/packages\n"), environ={}).data
    assert home / "packages" == load_config(environ={"PRICORE_DATA": "~/packages"}).data
    assert home == load_config(environ={"PRICORE_DATA": "~"}).data


def test_the_home_of_a_user_that_there_is_not_is_refused() -> None:
    """`~name` of an unknown user is an error, not a folder of that name."""
    expected = "the data folder ~no-such-user/data is in the home of a user who does not exist"

    assert expected == refusal(environ={"PRICORE_DATA": "~no-such-user/data"})


def test_it_is_known_where_each_setting_comes_from(tmp_path: Path) -> None:
    """The nearest place that gave a setting is named: the flag, the variable or the file."""
    file = write(tmp_path, "port: 1\nhost: localhost\nsync_workers: 3\n")

    found = read_settings(
        file=file, environ={"PRICORE_PORT": "2", "PRICORE_HOST": "::1"}, flags={"port": 3, "data": None}
    )

    assert found.mistakes == ()
    named = {name: found.origins[name] for name in ("port", "host", "sync_workers", "data", "git_timeout")}
    assert named == {
        "port": "--port",
        "host": "PRICORE_HOST",
        "sync_workers": str(file),
        "data": DEFAULT,
        "git_timeout": DEFAULT,
    }
    assert [field.name for field in fields(Config)] == list(found.origins)


def test_every_mistake_is_told(tmp_path: Path) -> None:
    """One line for each, of all places, in the order of the places; then there are no settings."""
    file = write(tmp_path, "port: x\nprot: 1\nsync_workers: 0\n")

    found = read_settings(file=file, environ={"PRICORE_PUBLIC_URL": "ftp://a"}, flags={"host": "a b"})

    assert found.config is None
    assert [mistake.split(" must ")[0].split("; ")[0] for mistake in found.mistakes] == [
        f"{file}: port",
        f"{file}: unknown setting 'prot'",
        f"{file}: sync_workers",
        "PRICORE_PUBLIC_URL",
        "--host",
    ]
    missing = tmp_path / "missing.yaml"
    assert read_settings(file=missing, environ={"PRICORE_PORT": "x"}).mistakes == (
        f"cannot read the configuration {missing}: No such file or directory",
        "PRICORE_PORT must be a whole number from 0 to 65535",
    )


def test_a_variable_that_sets_nothing_is_found() -> None:
    """What begins like a setting's variable and is none is mostly a slip of the pen."""
    environ = {
        "PRICORE_PROT": "1",
        "PRICORE_PORT": "1",
        "PRICORE_CONFIG": "a",
        "PRICORE_DEBUG": "1",
        "PATH": "/bin",
    }
    assert find_unknown(environ) == ["PRICORE_PROT is no setting; docs/settings.md lists those there are"]


def test_a_secret_can_be_in_a_file_of_its_own(tmp_path: Path) -> None:
    """`PRICORE_X_FILE` names the file of a secret, such as those that containers get; of nothing else."""
    file = tmp_path / "secret"
    file.write_text("s3cret\n")
    for environ in ({"PRICORE_S3_SECRET_KEY": "s3cret"}, {"PRICORE_S3_SECRET_KEY_FILE": str(file)}):
        config = load_config(environ=environ)
        assert config.s3_secret_key == "s3cret"
        assert "s3cret" not in repr(config)
        assert find_unknown(environ) == []
    assert load_config(environ={"PRICORE_HOST_FILE": str(file)}).host == "127.0.0.1"
    assert find_unknown({"PRICORE_HOST_FILE": ""}) != []


def test_a_secret_that_cannot_be_had_is_refused_and_not_repeated(tmp_path: Path) -> None:
    """The error names the variable and the file, and never what is in them."""
    missing, empty, long = tmp_path / "missing", tmp_path / "empty", tmp_path / "long"
    empty.write_text("\n")
    long.write_bytes(b"one\ntwo\n")
    expected = f"PRICORE_S3_SECRET_KEY_FILE: cannot read {missing}: No such file or directory"

    assert expected == refusal(environ={"PRICORE_S3_SECRET_KEY_FILE": str(missing)})
    for environ in (
        {"PRICORE_S3_SECRET_KEY_FILE": str(empty)},
        {"PRICORE_S3_SECRET_KEY_FILE": str(long)},
        {"PRICORE_S3_SECRET_KEY": "one\ntwo"},
    ):
        assert refusal(environ=environ) == f"{next(iter(environ))} must be a line of text"
    assert "must be a line of text" in refusal(file=write(tmp_path, "s3_secret_key: [a]\n"))


@pytest.mark.parametrize(
    "value", ["bucket", "s3://", "s3:///prefix", "s3://bucket/../other", "s3://user:password@host/x", "s3://b/a b"]
)
def test_what_is_no_bucket_is_refused(value: str) -> None:
    """An address of another kind is not taken for a folder."""
    assert refusal(environ={"PRICORE_DIST_STORAGE": value}).startswith("PRICORE_DIST_STORAGE must be a bucket")
