"""What Git hosts send for one push of the tag 1.1.0, as their documentation shows it, in short."""

import json
from collections.abc import Mapping
from typing import Any, Final

OLD: Final = "0000000000000000000000000000000000000000"
NEW: Final = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"


def _dump(document: Mapping[str, Any]) -> bytes:
    """JSON as hosts write it: compact, in the order of their fields, letters as they are."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


GITHUB: Final = _dump(
    {
        "ref": "refs/tags/1.1.0",
        "before": OLD,
        "after": NEW,
        "repository": {
            "id": 186853002,
            "name": "followed",
            "full_name": "acme/followed",
            "private": True,
            "clone_url": "https://github.com/acme/followed.git",
            "default_branch": "main",
        },
        "pusher": {"name": "Ada", "email": "ada@example.com"},
        "created": True,
        "deleted": False,
        "forced": False,
        "base_ref": "refs/heads/main",
        "compare": "https://github.com/acme/followed/compare/1.1.0",
        "commits": [],
        "head_commit": {"id": NEW, "message": "Wörter für alle", "author": {"name": "Ada"}},
    }
)
GITLAB: Final = _dump(
    {
        "object_kind": "tag_push",
        "event_name": "tag_push",
        "before": OLD,
        "after": NEW,
        "ref": "refs/tags/1.1.0",
        "checkout_sha": NEW,
        "user_id": 1,
        "user_name": "Ada Lovelace",
        "project_id": 1,
        "project": {
            "id": 1,
            "name": "Followed",
            "git_http_url": "https://gitlab.example.com/acme/followed.git",
            "path_with_namespace": "acme/followed",
            "default_branch": "main",
        },
        "commits": [],
        "total_commits_count": 0,
    }
)
BITBUCKET_CLOUD: Final = _dump(
    {
        "push": {
            "changes": [
                {
                    "old": None,
                    "new": {"type": "tag", "name": "1.1.0", "target": {"type": "commit", "hash": NEW}},
                    "created": True,
                    "closed": False,
                    "forced": False,
                }
            ]
        },
        "actor": {"type": "user", "display_name": "Ada", "uuid": "{c040300c-ee69-4ad1-8ce8-b864a05a3079}"},
        "repository": {"type": "repository", "name": "followed", "full_name": "acme/followed", "scm": "git"},
    }
)
BITBUCKET_DATA_CENTER: Final = _dump(
    {
        "eventKey": "repo:refs_changed",
        "date": "2026-09-19T09:58:11+1000",
        "actor": {
            "name": "ada",
            "emailAddress": "ada@example.com",
            "id": 1,
            "displayName": "Ada",
            "type": "NORMAL",
        },
        "repository": {"slug": "followed", "id": 84, "scmId": "git", "project": {"key": "ACME", "id": 84}},
        "changes": [
            {
                "ref": {"id": "refs/tags/1.1.0", "displayId": "1.1.0", "type": "TAG"},
                "refId": "refs/tags/1.1.0",
                "fromHash": OLD,
                "toHash": NEW,
                "type": "ADD",
            }
        ],
    }
)
GITEA: Final = (
    json.dumps(
        {
            "ref": "1.1.0",
            "ref_type": "tag",
            "sha": NEW,
            "repository": {
                "id": 140,
                "full_name": "acme/followed",
                "clone_url": "https://codeberg.org/acme/followed.git",
                "default_branch": "main",
            },
            "sender": {"id": 1, "login": "ada", "email": "ada@example.com"},
        },
        indent=2,
    )
).encode()
