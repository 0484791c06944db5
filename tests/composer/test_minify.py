"""Minified documents hold every version as it was, and repeat nothing."""

import json
import subprocess
from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from pricore.composer import metadata
from pricore.composer.metadata import Published
from tests.composer.harness import publish
from tests.harness import need

# PHP finds composer/metadata-minifier on its include path, where distributions put it. The order of a version's
# own keys isn't kept by the format, that of everything below them is.
EXPAND = """
    require 'Composer/MetadataMinifier/autoload.php';
    use Composer\\MetadataMinifier\\MetadataMinifier;
    $in_order = function (array $version): array {
        ksort($version);
        return $version;
    };
    $question = json_decode(stream_get_contents(STDIN), true, 512, JSON_THROW_ON_ERROR);
    $answers = [];
    foreach ($question as ['whole' => $whole, 'document' => $document]) {
        $document = json_decode($document, true, 512, JSON_THROW_ON_ERROR);
        $whole = json_decode($whole, true, 512, JSON_THROW_ON_ERROR);
        $expanded = MetadataMinifier::expand(reset($document['packages']));
        $answers[] = array_map($in_order, $expanded) === array_map($in_order, $whole);
    }
    echo json_encode($answers);
"""


HISTORIES = {
    "nothing changes": ['{"x": 1}', '{"x": 2}', '{"x": 3}'],
    "keys come and go": [
        '{"description": "a"}',
        '{"keywords": ["x"]}',
        '{"description": "a", "keywords": ["x"], "license": "MIT"}',
        '{"description": "b", "license": ["MIT"]}',
        '{"x": 1}',
        '{"description": "a"}',
    ],
    "the order of links": [
        '{"require": {"php": "*", "acme/a": "1.0", "acme/b": "1.0"}}',
        '{"require": {"acme/b": "1.0", "php": "*", "acme/a": "1.0"}}',
        '{"require": {"acme/b": "1.0", "php": "*", "acme/a": "1.0"}}',
        '{"require": {"acme/b": "1.0", "php": "*"}}',
    ],
    "objects and lists": [
        '{"extra": {"a": {}}, "autoload": {"psr-4": {"A\\\\": "src/"}}}',
        '{"extra": {"a": []}, "autoload": {"psr-4": {"A\\\\": ["src/"]}}}',
        '{"extra": {"a": [{}]}, "autoload": {"psr-4": {"A\\\\": {"0": "src/"}}}}',
        '{"extra": {"a": [[]]}, "autoload": {"classmap": []}}',
        '{"extra": ["a"]}',
        '{"extra": {"a": null, "b": {"": {"": null}}}}',
    ],
    "numbers": [
        '{"extra": {"n": 1}}',
        '{"extra": {"n": 1.0}}',
        '{"extra": {"n": 1e0}}',
        '{"extra": {"n": "1"}}',
        '{"extra": {"n": true}}',
        '{"extra": {"n": -0.0}}',
        '{"extra": {"n": 0.1, "m": 1e22, "o": 1.7976931348623157e308, "p": 5e-324}}',
        '{"extra": {"n": 9223372036854775807}}',
        '{"extra": {"n": 9223372036854775808}}',
        '{"extra": {"n": 18446744073709551616}}',
        '{"extra": {"n": -12345678901234567890123}}',
    ],
    "text": [
        '{"description": "\\u00fc"}',
        '{"description": "ü"}',
        '{"description": "u\\u0308 \\ud83d\\ude00 \\u2028 \\u0000 \\u007f"}',
        '{"description": "<a href=\\"x\\">\\/ & \' \\\\ </a>"}',
        '{"description": "<a href=\\"x\\">/ & \' \\\\ </a>"}',
        '{"homepage": "https:\\/\\/example.com\\/"}',
        '{"homepage": "https://example.com/"}',
    ],
    "the mark for a missing key": [
        '{"description": "a", "homepage": "b"}',
        '{"description": "__unset", "homepage": "b"}',
        '{"description": "__unset", "homepage": "__unset", "extra": {"a": "__unset"}}',
        '{"extra": {"__unset": "__unset"}, "keywords": ["__unset"]}',
        '{"extra": ["__unset"]}',
    ],
    "nested values": [
        '{"extra": {"a": {"b": {"c": [1, {"d": 2}]}}, "x": 1}}',
        '{"extra": {"a": {"b": {"c": [1, {"d": 3}]}}, "x": 1}}',
        '{"extra": {"x": 1, "a": {"b": {"c": [1, {"d": 3}]}}}}',
        '{"authors": [{"name": "A", "email": "a@b"}], "support": {"issues": "x"}}',
        '{"authors": [{"email": "a@b", "name": "A"}], "support": {"issues": "x", "docs": "y"}}',
    ],
}


def whole_entries(published: Sequence[Published]) -> bytes:
    """What a client has to end up with: each version's entry and its dist, nothing left out."""
    entries = []
    for item in published:
        entry = msgspec.json.decode(item.entry, type=dict[str, msgspec.Raw])
        path = metadata.dist_path(item.name, item.version, item.reference, movable=False)
        dist = {"type": "zip", "url": metadata.BASE + path, "reference": item.reference, "shasum": item.shasum}
        entries.append(entry | {"dist": msgspec.Raw(msgspec.json.encode(dist))})
    return msgspec.json.encode(entries)


def test_composer_expands_a_document_to_what_was_put_in() -> None:
    """Composer's own expander gives every version back as it was, to the order of keys and the type of numbers."""
    need("php", "composer")
    question = {}
    for name, texts in HISTORIES.items():
        published = [publish(text, number) for number, text in enumerate(texts)]
        question[name] = {
            "whole": whole_entries(published).decode(),
            "document": b"".join(metadata.build_document("Acme/Library", published)).decode(),
        }
    done = subprocess.run(
        ["php", "-r", EXPAND], input=json.dumps(question), capture_output=True, text=True, timeout=60, check=True
    )
    assert dict.fromkeys(HISTORIES, True) == dict(zip(question, json.loads(done.stdout), strict=True))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


histories = st.lists(
    st.dictionaries(
        st.sampled_from(["name", "require", "extra", "", "ü"]),
        values.filter(lambda value: value is not None and value != "__unset"),
        min_size=1,
    ),
    max_size=6,
)


@settings(deadline=None)
@given(histories)
def test_minifying_loses_nothing_and_repeats_nothing(history: list[dict[str, Any]]) -> None:
    """Whatever versions hold, each one is its predecessor with the changes, and only changes are written."""
    entries = [{key: msgspec.Raw(msgspec.json.encode(value)) for key, value in whole.items()} for whole in history]
    before: dict[str, bytes] = {}
    expanded = []
    for changes in metadata.minify(entries):
        assert all(before.get(key) != bytes(value) for key, value in changes.items())
        after = before | {key: bytes(value) for key, value in changes.items()}
        before = {key: value for key, value in after.items() if value != b'"__unset"'}
        expanded.append(before)
    assert [{key: bytes(value) for key, value in entry.items()} for entry in entries] == expanded
