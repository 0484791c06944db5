"""Where people find the source and the issues of a version, on the pages of its Git host.

Pure. The addresses are those that Composer's own drivers add. A branch keeps its own name where a tag is at the
same commit, since nobody reads it again when somebody tags it.
"""

from urllib.parse import urlsplit

from pricore.hosts.addresses import host_of, is_local, path_of
from pricore.hosts.table import PROVIDERS


def support_of(provider: str, url: str, name: str, commit: str, *, tag: bool) -> dict[str, str] | None:
    """The `source` and `issues` of a version made of a tag or branch; None where its host has no pages."""
    pages = PROVIDERS[provider].pages
    if pages is None or is_local(url):
        return None
    page = _page_of(url)
    source = page + (pages.tag if tag else pages.branch).format(name=name, commit=commit)
    return {"source": source} | ({} if pages.issues is None else {"issues": page + pages.issues})


def _page_of(url: str) -> str:
    """The page of a repository, without a slash at its end."""
    scheme, host = "https", host_of(url)
    host = f"[{host}]" if ":" in host else host
    if url.startswith(("http://", "https://")):
        # the port of a page is known where git is asked over HTTP only
        scheme, host = urlsplit(url).scheme, urlsplit(url).netloc
    return f"{scheme}://{host}/{path_of(url).strip('/').removesuffix('.git').rstrip('/')}"
