"""The versions that tags, branches and uploads make, as Composer's `VcsRepository` names them.

Pure functions; what is refused is refused with `ValueError`.
"""

import re
from typing import Final

from pricore.composer.constraints import check_constraint
from pricore.composer.patterns import FLAGS, Pattern, quoted
from pricore.composer.versions import is_dev, normalize, normalize_branch

_DEV_MARK: Final = Pattern(r"^dev-|[.-]?dev$", FLAGS)
_DEV_END: Final = Pattern(r"[.-]?dev$", FLAGS)


def branch_version(branch: str) -> tuple[str, str]:
    """Return the pretty and the normalized version of a branch: "main" is ("dev-main", "dev-main")."""
    normalized = normalize_branch(branch)
    try:
        check_constraint(normalized)  # a version that nobody could require is of no use
    except ValueError:
        raise ValueError(f"invalid branch name {quoted(branch)}") from None
    if normalized.startswith("dev-"):
        # In a constraint, "#" begins a commit.
        return "dev-" + branch.replace("#", "+"), normalized.replace("#", "+")
    prefix = "v" if branch.startswith("v") else ""
    return prefix + re.sub(r"(?:\.9{7})+", ".x", normalized), normalized


def tag_version(tag: str, declared: str | None = None) -> tuple[str, str]:
    """Return the pretty and the normalized version of a tag: "release-v1.2" is ("v1.2", "1.2.0.0").

    `declared` is the `version` in the tag's composer.json: it has to agree, and is the pretty one then.
    """
    tag = tag.replace("release-", "")
    try:
        normalized = normalize(tag)
    except ValueError:
        raise ValueError(f"invalid tag name {quoted(tag)}") from None
    if is_dev(normalized):
        raise ValueError(f"invalid tag name {quoted(tag)}: tags can not use dev prefixes or suffixes")
    if declared is None:
        return _DEV_END.sub("", tag), normalized
    try:
        released = _DEV_MARK.sub("", normalize(declared))
    except ValueError as error:
        raise ValueError(f"composer.json: {error}") from None
    if released != normalized:
        raise ValueError(f"tag {quoted(tag)} does not match version {quoted(declared)} in composer.json")
    return _DEV_END.sub("", declared), normalized


# Versions of uploads

# no segment of a path that a client resolves, and none that is empty
_PLAIN: Final = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z_+-]|\.(?!\.)|/(?=[0-9A-Za-z]))*")


def uploaded_version(given: str | None, declared: str | None) -> tuple[str, str]:
    """Return the pretty and the normalized version of an upload: the one given, else as composer.json declares it.

    As for what git has, a branch's version may be given whatever is declared, and a release has to agree. What is
    no plain text in a URL, or what nobody could require, is refused; one of the two is not None.
    """
    version = (declared or "") if given is None else given
    if not _PLAIN.fullmatch(version):
        raise ValueError(
            f"invalid version string {quoted(version)}: letters, digits and ._+- make one, such as 1.0.0"
        )
    normalized = normalize(version)
    check_constraint(version)
    if normalized.startswith("dev-"):
        return normalized, normalized
    if "/" in version:
        raise ValueError(
            f"invalid version string {quoted(version)}: only a branch such as dev-feature/x has a slash"
        )
    if given is not None and declared is not None and not is_dev(normalized) and normalize(declared) != normalized:
        raise ValueError(f"version {quoted(given)} does not match version {quoted(declared)} in composer.json")
    return version, normalized
