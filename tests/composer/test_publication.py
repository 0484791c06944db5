"""What was deleted stays out until its ref moves, and whatever means the same stays out with it."""

from pricore.composer.discovery import NO_ROOM
from pricore.composer.publication import Publication, delete_refs, find_late, leave_out
from pricore.models import Ref
from tests.store.harness import COMMIT, OTHER_COMMIT, released

NAME = "acme/library"
TAG, SAME, BRANCH = "refs/tags/1.0.0", "refs/tags/v1.0.0", "refs/heads/main"


def test_a_deleted_version_marks_its_ref() -> None:
    """With the version that it made; the refs of other packages stay as they are."""
    refs = [
        (TAG, COMMIT, NAME, None),
        (BRANCH, COMMIT, NAME, None),
        ("refs/tags/2.0.0", COMMIT, "acme/other", None),
    ]
    found = delete_refs(NAME, refs, [(TAG, "1.0.0", COMMIT)])

    assert (found.marks, found.nowhere, found.read_anew) == ({TAG: (NAME, "1.0.0", COMMIT)}, set(), False)


def test_what_means_the_same_is_marked_too() -> None:
    """Else it would come in the place of what was deleted."""
    refs = [(TAG, COMMIT, NAME, None), (SAME, COMMIT, None, "it means 1.0.0")]
    found = delete_refs(NAME, refs, [(TAG, "1.0.0", COMMIT)])

    assert found.marks == {TAG: (NAME, "1.0.0", COMMIT), SAME: (None, None, COMMIT)}
    assert not found.read_anew


def test_what_a_version_has_become_is_let_in() -> None:
    """Where its own tag is gone, another one at another commit is not what was deleted."""
    found = delete_refs(NAME, [(SAME, OTHER_COMMIT, None, "it means 1.0.0")], [(TAG, "1.0.0", COMMIT)])

    assert (found.marks, found.nowhere, found.read_anew) == ({TAG: (NAME, "1.0.0", COMMIT)}, {TAG}, True)


def test_a_tag_that_moved_is_let_in() -> None:
    """The mark is at the commit of the version: where the tag is now, it makes another one."""
    found = delete_refs(NAME, [(TAG, OTHER_COMMIT, NAME, "it moved")], [(TAG, "1.0.0", COMMIT)])

    assert (found.marks, found.read_anew) == ({TAG: (NAME, "1.0.0", COMMIT)}, True)


def test_what_had_no_room_is_read_again() -> None:
    """A deletion makes room."""
    refs = [(TAG, COMMIT, NAME, None), ("refs/tags/2.0.0", COMMIT, None, f"{NO_ROOM[0]}24 MB")]
    assert delete_refs(NAME, refs, [(TAG, "1.0.0", COMMIT)]).read_anew


def test_what_was_deleted_during_a_sync_is_left_out() -> None:
    """Its ref makes nothing, and the next sync looks at everything."""
    change = Publication(
        versions=[released("1.0.0"), released("2.0.0")],
        refs=[Ref(TAG, COMMIT, NAME, "1.0.0", None), Ref(SAME, COMMIT, None, None, "it means 1.0.0")],
        there=frozenset([NAME]),
        digest="seen",
    )
    assert find_late(change, deleted={TAG: COMMIT}, left={NAME}) == {SAME: (None, None, COMMIT)}
    left = leave_out(change, {TAG: COMMIT})

    assert [item.version for item in left.versions] == ["2.0.0"]
    assert [ref.name for ref in left.refs] == [SAME]
    assert left.digest == ""


def test_what_the_sync_knew_of_costs_no_other_one() -> None:
    """It decided with that."""
    change = Publication(deleted=frozenset([TAG]), digest="seen")
    assert leave_out(change, {TAG: COMMIT}).digest == "seen"


def test_of_a_package_that_was_deleted_meanwhile_no_ref_makes_anything() -> None:
    """Deleted between two batches of a sync, it must not come back with the second."""
    change = Publication(versions=[released("1.0.0")], there=frozenset([NAME]))
    assert find_late(change, deleted={}, left=set()) == {TAG: (NAME, "1.0.0", COMMIT)}
