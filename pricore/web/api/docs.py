"""The OpenAPI document as a page for people, with everything that it needs in itself."""

import json
import re
from collections.abc import Iterable
from html import escape
from typing import Any, Final

from pricore.web.api.openapi import Document

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""The Content-Security-Policy of the page: nothing but its own style."""

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --good: #0a7d33; --bad: #b3261e; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 3rem; }
code, pre { font: 14px/1.45 ui-monospace, monospace; }
pre { background: var(--soft); overflow-x: auto; padding: .75rem; }
nav ul { columns: 20rem; list-style: none; padding: 0; } nav li { break-inside: avoid; padding: .1rem 0; }
nav li, p, td { overflow-wrap: anywhere; } td:first-child { min-width: 8rem; }
article { border-top: 1px solid var(--line); margin-top: 2rem; padding-top: 1rem; }
article h3 { overflow-wrap: anywhere; } b.method { display: inline-block; min-width: 4.5rem; }
table { border-collapse: collapse; width: 100%; } .wide { overflow-x: auto; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .75rem .3rem 0; }
th, td { text-align: left; vertical-align: top; }
.good { color: var(--good); } .bad { color: var(--bad); }
@media (prefers-color-scheme: dark) { :root { --good: #6ddc8b; --bad: #ff8a80; } }
"""


def build_page(document: Document) -> str:
    """The page of a document."""
    info, schemas = document["info"], document["components"]["schemas"]
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    contents, sections = [], []
    for tag in document["tags"]:
        own = [item for item in operations if item[2]["tags"] == [tag["name"]]]
        links = "".join(
            f'<li><a href="#{item["operationId"]}"><code>{method.upper()} {escape(path)}</code></a></li>'
            for path, method, item in own
        )
        contents.append(f"<h3>{escape(tag['name'])}</h3><ul>{links}</ul>")
        articles = "".join(_operation(path, method, item) for path, method, item in own)
        sections.append(f"<h2>{escape(tag['name'])}</h2><p>{_text(tag['description'])}</p>{articles}")
    records = "".join(_record(name, schema) for name, schema in schemas.items())
    statuses = _table(
        ("status", ""),
        (
            (f'<b class="bad" id="status-{status}">{status}</b>', _text(response["description"]))
            for status, response in document["components"]["responses"].items()
        ),
    )
    introduction = "".join(f"<p>{_text(part)}</p>" for part in info["description"].split("\n\n"))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])} API</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>'
        f"<h1>{escape(info['title'])} API</h1>{introduction}"
        '<p>The same for programs: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1).</p>'
        f"<nav>{''.join(contents)}</nav><main>{''.join(sections)}<h2>Errors</h2>{statuses}<h2>Records</h2>{records}</main></body></html>"
    )


def _operation(path: str, method: str, operation: Document) -> str:
    parts = [
        f'<article id="{operation["operationId"]}"><h3><b class="method">{method.upper()}</b> ',
        f"<code>{escape(path)}</code></h3><p>{_text(operation['summary'])}.",
        f" {_text(operation.get('description', ''))}",
        " Needs no access token.</p>" if operation.get("security") == [] else "</p>",
    ]
    if parameters := operation.get("parameters"):
        rows = (
            (
                f"<code>{escape(item['name'])}</code>",
                _type(item["schema"]),
                _text(item.get("description", "In the query.")) + _default(item["schema"]),
            )
            for item in parameters
        )
        parts.append(_table(("parameter", "type", ""), rows))
    if body := operation.get("requestBody"):
        ((kind, content),) = body["content"].items()
        shown = _type(content["schema"]) if kind == "application/json" else f"<code>{kind}</code>"
        parts.append(f"<p>Body: {shown}</p>")
    parts.append(f"<pre>{escape(_example(path, method, operation))}</pre>")
    errors = []
    for status, response in operation["responses"].items():
        if "content" in response:
            ((kind, content),) = response["content"].items()
            of = "" if kind == "application/json" else f" in <code>{kind}</code>"
            parts.append(f'<p><b class="good">{status}</b> {_type(content["schema"])}{of}</p>')
        else:
            errors.append(f'<a class="bad" href="#status-{status}">{status}</a>')
    return "".join(parts) + f"<p>Errors: {', '.join(errors)}</p></article>"


def _example(path: str, method: str, operation: Document) -> str:
    """A call of the operation with curl."""
    lines = ["curl" if method == "get" else f"curl --request {method.upper()}"]
    if "text/event-stream" in operation["responses"].get("200", {}).get("content", ()):
        lines.append("--no-buffer")
    if operation.get("security") != []:
        lines.append('--header "Authorization: Bearer $TOKEN"')
    if "requestBody" in operation:
        (kind,) = operation["requestBody"]["content"]
        lines.append("--json @body.json" if kind == "application/json" else "--data-binary @package.zip")
    return " ".join([*lines, f"https://packages.example.com{path}"])


def _record(name: str, schema: Document) -> str:
    required = schema.get("required", [])
    rows = (
        (
            f"<code>{escape(field)}</code>",
            _type(item),
            "" if field in required else f"may be missing.{_default(item)}",
        )
        for field, item in schema.get("properties", {}).items()
    )
    table = _table(("field", "type", ""), rows)
    return f'<article id="{name}"><h3>{name}</h3><p>{_text(schema.get("description", ""))}</p>{table}</article>'


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{title}</th>" for title in titles)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _type(schema: Document) -> str:
    """A type in a few words, with links to records."""
    if reference := schema.get("$ref"):
        name = escape(reference.rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if choices := schema.get("anyOf"):
        return " or ".join(map(_type, choices))
    if values := schema.get("enum"):
        return " | ".join(f"<code>{escape(str(value))}</code>" for value in values)
    if inner := schema.get("contentSchema"):
        return f"JSON of {_type(inner)}"
    match schema.get("type"):
        case "array":
            return f"list of {_type(schema['items'])}"
        case "object" if "properties" in schema:
            inner = ", ".join(
                f"<code>{escape(name)}</code>: {_type(item)}" for name, item in schema["properties"].items()
            )
            return f"{{ {inner} }}"
        case "object":
            return f"object of {_type(schema.get('additionalProperties', {}))}"
        case kind:
            return escape(" ".join([str(schema.get("format") or kind), *_limits(schema)]))


def _limits(schema: Document) -> list[str]:
    words = {
        "minimum": "from {}",
        "maximum": "to {}",
        "minLength": "of at least {} characters",
        "maxLength": "of at most {} characters",
    }
    return [text.format(schema[name]) for name, text in words.items() if name in schema]


def _default(schema: Document) -> str:
    if "default" not in schema:
        return ""
    return f" Default: <code>{escape(json.dumps(schema['default']))}</code>"


def _text(text: Any) -> str:
    """Text with its code marked."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(str(text), quote=False))
