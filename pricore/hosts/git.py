"""Any other place of Git repositories: a host of which nothing is known, or a folder."""

from typing import Final

from pricore.errors import InvalidError
from pricore.hosts import gitlab
from pricore.hosts.provider import Provider, without_page
from pricore.hosts.webhooks import SecretHeader, Webhook


def repository_path(host: str, path: str) -> str:
    """The path of a repository in that of one of its pages, where they can be GitLab's alone.

    Raises InvalidError for what looks like another host's page.
    """
    if (shorter := gitlab.repository_path(host, path)) != path:
        return shorter
    shorter = without_page(host, path)
    if shorter != path and path.split("/")[3] in ("tree", "blob") and not path.endswith(".git"):
        raise InvalidError(
            f"https://{host}{path[:200]} looks like a page in a browser: give the repository's address, "
            f"such as https://{host}{shorter}.git",
            field="url",
        )
    return path


_STEPS: Final = """\
Any host that can send a POST with a header; each one counts as a push. As a hook (hooks/post-receive):
    curl -f --silent --show-error --max-time 10 -X POST --header 'X-Webhook-Secret: {secret}' {url}
`Authorization: Bearer` with the secret is taken as well."""

GIT: Final = Provider(
    name="git",
    title="Git",
    repository_path=repository_path,
    webhook=Webhook(
        secrets=(SecretHeader(header="Authorization", scheme="bearer"), SecretHeader(header="X-Webhook-Secret")),
        steps=_STEPS,
    ),
)
