"""Slugs are made of names as people who speak the language would write them without its letters."""

import pytest

from pricore.errors import InvalidError
from pricore.services.slugs import check_slug, slug_of


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Acme Inc.", "acme-inc"),
        ("Köln", "koeln"),
        ("KO\u0308LN", "koeln"),  # o with a combining mark, as macOS writes file names
        ("Straßen & Brücken", "strassen-bruecken"),
        ("Ærø Øl", "aeroe-oel"),
        ("Åse", "aase"),
        ("Łódź", "lodz"),
        ("Český Krumlov", "cesky-krumlov"),
        ("São Paulo", "sao-paulo"),
        ("Œuvre d'été", "oeuvre-d-ete"),
        ("Đorđe", "dorde"),
        ("İstanbul I\u015f\u0131k", "istanbul-isik"),
        ("Ünïcode № 7", "uenicode-no-7"),
        ("Acme 株式会社", "acme"),
        ("2024", "2024"),
    ],
)
def test_letters_of_other_languages_are_written_in_ascii(name: str, slug: str) -> None:
    """None of them becomes a dash."""
    assert slug_of(name) == slug
    assert check_slug(slug) == slug


@pytest.mark.parametrize("name", ["株式会社", "株式会社 7", "Компания", "!!!", "٣"])
def test_a_name_without_latin_letters_needs_a_slug(name: str) -> None:
    """It is asked for, and not made of what is left."""
    with pytest.raises(InvalidError, match=r"give (a slug|one)") as caught:
        slug_of(name)
    assert caught.value.field == "slug"
