"""What the single file does before Python runs: it unpacks itself once, somewhere safe, and says what is wrong."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from delivery.binary import pack
from tests.harness import need

ECHO = '#!/bin/sh\nshift 3\necho "$0:$*:$PRICORE_CACHE"\n[ "$1" != wait ] || exec sleep 60\n'
FILLING = 200
"""Files in it, so that unpacking takes a while."""


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes the single file of a version, which says where it is and what it was given."""
    need("gcc")
    if (
        subprocess.run(["gcc", "-print-file-name=libzstd.a"], capture_output=True, check=True).stdout
        == b"libzstd.a\n"
    ):
        pytest.skip("there is no libzstd to link with")

    def of_version(version: str) -> Path:
        folder = tmp_path_factory.mktemp("made")
        program = folder / "tree" / "bin" / "pricore"
        program.parent.mkdir(parents=True)
        program.write_text(ECHO)
        program.chmod(0o755)
        for number in range(FILLING):
            (folder / "tree" / f"{version}-{number}").write_bytes(os.urandom(20_000))
        return pack(folder / "tree", folder, version=version)

    return of_version


@pytest.fixture(scope="module")
def file(make: Callable[[str], Path]) -> Path:
    return make("1.0.0")


def run(file: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([file, *arguments], env=environment, capture_output=True, text=True, check=False)


def refused(file: Path, **environment: str) -> str:
    """The one line of a start that fails."""
    done = run(file, **environment)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def versions(cache: Path) -> list[str]:
    """What is in a cache, the half-made included."""
    return sorted(path.name.rpartition("-")[0] for path in cache.iterdir())


def test_it_unpacks_itself_once_and_passes_on_what_it_was_given(file: Path, tmp_path: Path) -> None:
    cache = tmp_path / "a" / "b"
    for _ in range(2):
        done = run(file, "token", "list", "two words", PRICORE_CACHE=str(cache))
        assert done.stderr == ""
        program, arguments, _ = done.stdout.strip().split(":")
        assert arguments == "token list two words"
        assert Path(program).parents[2] == cache
    assert versions(cache) == ["pricore-1.0.0"]
    (folder,) = cache.iterdir()
    assert {folder.stat().st_mode & 0o777, cache.stat().st_mode & 0o777} == {0o755, 0o700}
    assert len([*folder.glob("1.0.0-*")]) == FILLING


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({"HOME": "home", "PRICORE_CACHE": "chosen", "XDG_CACHE_HOME": "cache"}, "chosen"),
        ({"HOME": "home", "XDG_CACHE_HOME": "cache"}, "cache/pricore"),
        ({"HOME": "home"}, "home/.cache/pricore"),
        ({"PRICORE_DATA": "data"}, "data/program"),
        ({"HOME": "a-file", "PRICORE_DATA": "data"}, "data/program"),
        ({"HOME": "a-file", "XDG_DATA_HOME": "share"}, "share/pricore/program"),
    ],
)
def test_the_place_is_the_cache_or_else_the_data_folder(
    file: Path, tmp_path: Path, environment: Mapping[str, str], place: str
) -> None:
    (tmp_path / "a-file").touch()
    done = run(file, **{name: str(tmp_path / value) for name, value in environment.items()})
    assert done.returncode == 0, done.stderr
    assert versions(tmp_path / place) == ["pricore-1.0.0"]


def test_first_starts_at_once_give_one_folder(file: Path, tmp_path: Path) -> None:
    started = [
        subprocess.Popen(
            [file, str(number)], env={"PRICORE_CACHE": str(tmp_path)}, stdout=subprocess.PIPE, text=True
        )
        for number in range(12)
    ]
    said = [process.communicate()[0].split(":")[1] for process in started]
    assert said == [str(number) for number in range(12)]
    assert versions(tmp_path) == ["pricore-1.0.0"]


def test_a_version_goes_when_a_newer_one_is_there_and_nobody_runs_it(
    file: Path, make: Callable[[str], Path], tmp_path: Path
) -> None:
    newer, newest = make("1.1.0"), make("1.2.0")
    (tmp_path / "others").touch()
    cache = {"PRICORE_CACHE": str(tmp_path)}
    with subprocess.Popen([file, "wait"], env=cache, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        running.stdout.readline()
        for program in (newer, newest, newer):
            assert run(program, **cache).returncode == 0
        # the one in use is there, whole; the other is made anew by who starts it again
        assert versions(tmp_path) == ["", "pricore-1.0.0", "pricore-1.1.0"]
        (used,) = tmp_path.glob("pricore-1.0.0-*")
        assert len([*used.glob("1.0.0-*")]) == FILLING
        running.kill()
    assert run(newest, **cache).returncode == 0
    assert versions(tmp_path) == ["", "pricore-1.2.0"]


def test_versions_that_start_beside_each_other_all_run(
    file: Path, make: Callable[[str], Path], tmp_path: Path
) -> None:
    """Each removes the others, and none loses what it is about to run."""
    files = [file, make("1.1.0")]
    for _ in range(5):
        started = [
            subprocess.Popen([files[number % 2]], env={"PRICORE_CACHE": str(tmp_path)}, stdout=subprocess.DEVNULL)
            for number in range(8)
        ]
        assert [process.wait() for process in started] == [0] * 8


def test_what_was_cut_off_is_made_again(file: Path, tmp_path: Path) -> None:
    cache = {"PRICORE_CACHE": str(tmp_path)}
    for _ in range(20):
        with subprocess.Popen([file], env=cache, stdout=subprocess.DEVNULL) as process:
            while not any(tmp_path.iterdir()):  # without a pause: it takes milliseconds
                assert process.poll() is None
            process.kill()
        if not [*tmp_path.glob("pricore-*")]:
            break
        shutil.rmtree(next(tmp_path.glob("pricore-*")))
    assert [path.name.startswith(".pricore-") for path in tmp_path.iterdir()] == [True]
    assert run(file, **cache).returncode == 0
    assert versions(tmp_path) == ["pricore-1.0.0"]


def test_a_folder_that_is_not_whole_is_made_anew(file: Path, tmp_path: Path) -> None:
    """One whose marker is gone is being removed, or was."""
    cache = {"PRICORE_CACHE": str(tmp_path)}
    run(file, **cache)
    (folder,) = tmp_path.iterdir()
    (folder / ".complete").unlink()
    (folder / "bin" / "pricore").unlink()
    assert run(file, **cache).returncode == 0
    assert len([*folder.glob("1.0.0-*")]) == FILLING


@pytest.mark.parametrize("kept", [0.5, 0.999])
def test_a_file_that_was_cut_says_so(file: Path, tmp_path: Path, kept: float) -> None:
    content = file.read_bytes()
    check_damaged(content[: int(len(content) * kept)], tmp_path)


@pytest.mark.parametrize("place", [0.3, 0.5, 0.7, 0.9, 0.99, 0.999999, 1])
def test_a_file_that_was_changed_says_so(file: Path, tmp_path: Path, place: float) -> None:
    """One bit anywhere behind the launcher, up to the checksum at the end."""
    content = bytearray(file.read_bytes())
    content[int((len(content) - 1) * place)] ^= 1
    check_damaged(bytes(content), tmp_path)


def check_damaged(content: bytes, folder: Path) -> None:
    """It is told, and nothing of it is left that could be run."""
    path, cache = folder / "damaged", folder / "cache"
    path.write_bytes(content)
    path.chmod(0o755)
    line = refused(path, PRICORE_CACHE=str(cache))
    assert "this file is damaged: download it again, and compare its checksum" in line
    assert list(cache.iterdir()) == []


def test_without_a_home_it_asks_for_a_place(file: Path) -> None:
    line = refused(file)
    assert line == (
        "error: there is no place to unpack the program to: HOME is not set; set PRICORE_CACHE to a folder "
        "of yours in which programs may run"
    )


def test_a_folder_that_others_can_change_is_not_used(file: Path, tmp_path: Path) -> None:
    """What another user could have put there would run as this one; in a sticky one such as /tmp nobody can."""
    tmp_path.chmod(0o777)
    assert f"{tmp_path} is a folder that others can change" in refused(file, PRICORE_CACHE=str(tmp_path))
    tmp_path.chmod(0o1777)
    assert run(file, PRICORE_CACHE=str(tmp_path)).returncode == 0
    (folder,) = tmp_path.iterdir()
    folder.chmod(0o777)
    assert "that others can change" in refused(file, PRICORE_CACHE=str(tmp_path))
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert "that others can change" in refused(file, PRICORE_CACHE=str(tmp_path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to somebody else")
def test_a_folder_of_somebody_else_is_not_used(file: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    run(file, PRICORE_CACHE=str(tmp_path))
    (folder,) = tmp_path.iterdir()
    os.chown(folder, 1234, 1234)
    assert "that others can change" in refused(file, PRICORE_CACHE=str(tmp_path))
    os.chown(tmp_path, 1234, 1234)
    assert "is a folder that others can change" in refused(file, PRICORE_CACHE=str(tmp_path))


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a file system with some options."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts file systems")
    mounted: list[Path] = []

    def with_options(options: str) -> Path:
        place = tmp_path / options
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield with_options
    for place in mounted:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("noexec,mode=700", "is mounted noexec"),
        ("ro,mode=700", "is mounted read-only"),
        ("size=1m,mode=700", "has no room: 5 MB are needed"),
    ],
)
def test_a_place_that_does_not_do_is_told(
    file: Path, mount: Callable[[str], Path], options: str, why: str
) -> None:
    place = mount(options)
    assert f"{place} {why}" in refused(file, PRICORE_CACHE=str(place))
    assert [*place.iterdir()] == []


def test_the_lock_ends_with_the_program(file: Path, make: Callable[[str], Path], tmp_path: Path) -> None:
    """However it ends; what it has started meanwhile does not hold it for ever."""
    cache = {"PRICORE_CACHE": str(tmp_path)}
    with subprocess.Popen([file, "wait"], env=cache, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()
        running.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert run(make("2.0.0"), **cache).returncode == 0
    assert time.monotonic() - began < 60
    assert versions(tmp_path) == ["pricore-2.0.0"]
