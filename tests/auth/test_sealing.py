"""A sealed secret opens with its key and for its purpose, and with nothing else."""

import base64
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pricore.auth.sealing import Sealer
from pricore.errors import SealError

SECRET = "whsec_an example, with ünïcode"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data/key"


@pytest.fixture
def sealer(path: Path) -> Sealer:
    return Sealer(path)


def refusal(sealer: Sealer, sealed: bytes, *, purpose: str = "webhook:1") -> str:
    """The one line with which a secret isn't opened."""
    with pytest.raises(SealError) as caught:
        sealer.open(sealed, purpose=purpose)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_what_was_sealed_opens_again(path: Path, sealer: Sealer) -> None:
    """Another process with the same key file opens it."""
    sealed = sealer.seal(SECRET, purpose="webhook:1")

    assert Sealer(path).open(sealed, purpose="webhook:1") == SECRET


def test_nothing_of_the_secret_shows(sealer: Sealer) -> None:
    """What is sealed has nothing of the text in it, and is another one each time."""
    first, second = (sealer.seal(SECRET, purpose="webhook:1") for _ in range(2))

    assert SECRET.encode()[:8] not in first
    assert first != second


def test_the_key_is_for_this_user_alone_whatever_the_umask(path: Path, sealer: Sealer) -> None:
    """The key file, and the folder where it had to be made, are closed to others; no other file stays behind."""
    before = os.umask(0)
    try:
        sealer.seal(SECRET, purpose="webhook:1")
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [path] == list(path.parent.iterdir())
    assert len(base64.b64decode(path.read_text().removesuffix("\n"), validate=True)) == 32


def test_a_key_that_is_there_is_used(path: Path, sealer: Sealer) -> None:
    """Who makes the key with another tool (`openssl rand -base64 32`) has that one used, and left alone."""
    path.parent.mkdir()
    path.write_bytes(base64.b64encode(bytes(range(32))))
    before = path.read_bytes()
    sealed = sealer.seal(SECRET, purpose="webhook:1")

    assert sealer.open(sealed, purpose="webhook:1") == SECRET
    assert path.read_bytes() == before


def test_processes_that_begin_at_once_have_one_key(path: Path, sealer: Sealer) -> None:
    """Of many that make the key at the same time, one wins, and what the others sealed opens too."""
    with ThreadPoolExecutor(16) as threads:
        sealed = list(threads.map(lambda _: Sealer(path).seal(SECRET, purpose="webhook:1"), range(64)))

    assert {SECRET} == {sealer.open(item, purpose="webhook:1") for item in sealed}
    assert [path] == list(path.parent.iterdir())


def test_it_opens_for_its_purpose_alone(sealer: Sealer) -> None:
    """A sealed secret that was moved to another row means nothing there."""
    sealed = sealer.seal(SECRET, purpose="webhook:1")

    assert "is not the one that sealed" in refusal(sealer, sealed, purpose="webhook:2")


@pytest.mark.parametrize("place", [1, 13, -1], ids=["nonce", "text", "tag"])
def test_a_changed_byte_is_seen(sealer: Sealer, place: int) -> None:
    """What was altered or cut off in the database does not open as something else."""
    sealed = bytearray(sealer.seal(SECRET, purpose="webhook:1"))
    sealed[place] ^= 1

    assert "is not the one that sealed" in refusal(sealer, bytes(sealed))
    assert "is not the one that sealed" in refusal(sealer, bytes(sealed[:5]))


def test_a_newer_form_is_told_apart(sealer: Sealer) -> None:
    """After a downgrade the error says that the program is too old, not that the key is wrong."""
    sealed = sealer.seal(SECRET, purpose="webhook:1")

    assert "newer Pricore" in refusal(sealer, b"\x02" + sealed[1:])


def test_opening_never_makes_a_key(path: Path, sealer: Sealer) -> None:
    """A key that got lost is reported with its path, and no new one takes its place."""
    sealed = sealer.seal(SECRET, purpose="webhook:1")
    path.unlink()

    assert f"put {path} back" in refusal(sealer, sealed)
    assert not path.exists()


def test_a_key_that_was_put_back_counts_at_once(path: Path, sealer: Sealer) -> None:
    """A server that could not open a secret can as soon as the right key is there again."""
    sealed = sealer.seal(SECRET, purpose="webhook:1")
    right = path.read_bytes()
    path.write_bytes(base64.b64encode(bytes(32)))
    assert "is not the one that sealed" in refusal(sealer, sealed)
    path.write_bytes(right)

    assert sealer.open(sealed, purpose="webhook:1") == SECRET


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"not base64 at all", base64.b64encode(bytes(31)), bytes(32), b"\xff\xfe"]
)
def test_what_is_no_key_is_refused(path: Path, sealer: Sealer, content: bytes) -> None:
    """A key file that is empty, cut or of another kind neither seals nor opens, and stays as it is."""
    sealed = sealer.seal(SECRET, purpose="webhook:1")
    path.write_bytes(content)

    assert "holds no key" in refusal(sealer, sealed)
    with pytest.raises(SealError, match="holds no key"):
        sealer.seal(SECRET, purpose="webhook:1")
    assert path.read_bytes() == content


def test_a_key_that_cannot_be_read_is_reported(path: Path, sealer: Sealer) -> None:
    """Where the key's path is a folder, the error says so in one line."""
    sealed = sealer.seal(SECRET, purpose="webhook:1")
    path.unlink()
    path.mkdir()

    assert "Is a directory" in refusal(sealer, sealed)


def test_a_key_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    """Where the folder leads nowhere, the error names the file and the setting."""
    (tmp_path / "folder").symlink_to(tmp_path / "nowhere")

    with pytest.raises(SealError, match=r"cannot make the key .*key_file"):
        Sealer(tmp_path / "folder/key").seal(SECRET, purpose="webhook:1")
