"""Where people find the source and the issues of a version, on the pages of its Git host.

Pure. The addresses are those that Composer's own drivers add. A branch keeps its own name where a tag is at the
same commit, since nobody reads it again when somebody tags it.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from pricore.hosts.addresses import host_of, is_local, path_of

_SOURCE: Mapping[str, tuple[str, str]] = {
    "github": ("/tree/{name}", "/tree/{name}"),
    "gitlab": ("/-/tree/{name}", "/-/tree/{name}"),
    "bitbucket": ("/src/{commit}/?at={name}", "/src/{commit}/?at={name}"),
    "gitea": ("/tag/{name}", "/branch/{name}"),
}
"""What stands behind the repository's page for a tag and for a branch, by provider."""

_ISSUES: Mapping[str, str] = {"github": "/issues", "gitlab": "/-/issues", "gitea": "/issues"}
"""Bitbucket's repositories have no issues, unless somebody switches them on."""


def page_of(provider: str, url: str) -> str | None:
    """The page of a repository, without a slash at its end; None where its host is none that has any."""
    if provider not in _SOURCE or is_local(url):
        return None
    scheme, host = "https", host_of(url)
    host = f"[{host}]" if ":" in host else host
    if url.startswith(("http://", "https://")):
        # the port of a page is known where git is asked over HTTP only
        scheme, host = urlsplit(url).scheme, urlsplit(url).netloc
    return f"{scheme}://{host}/{path_of(url).strip('/').removesuffix('.git').rstrip('/')}"


def support_of(provider: str, page: str, name: str, commit: str, *, tag: bool) -> dict[str, str]:
    """The `source` and `issues` of a version made of a tag or branch."""
    of_tag, of_branch = _SOURCE[provider]
    source = page + (of_tag if tag else of_branch).format(name=name, commit=commit)
    return {"source": source} | ({"issues": page + _ISSUES[provider]} if provider in _ISSUES else {})
