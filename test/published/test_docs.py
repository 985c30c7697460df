"""The page of the catalog is current, and the tutorial names what there is."""

from __future__ import annotations

import re
from pathlib import Path

from dgss_core.cli import VERBS
from dgss_core.published.catalog import load_catalog
from dgss_core.published.docs import page
from dgss_core.published.terms import data_terms, licences

DOCS = Path(__file__).parents[2] / 'docs'


def test_the_page_is_current() -> None:
    assert (DOCS / 'published.md').read_text() == page(), (
        'run python -m dgss_core.published.docs > docs/published.md'
    )


def test_the_page_holds_every_entry_and_every_term() -> None:
    text = page()
    for entry in load_catalog():
        assert f'| `{entry.name}` |' in text
        assert entry.address in text
    used = {key for entry in load_catalog() for key in (entry.licence, entry.code)}
    assert set(licences()) == used
    assert set(data_terms()) == {key for entry in load_catalog() for key in entry.trained_on}
    for terms in (*licences().values(), *data_terms().values()):
        assert f'| {terms.title} | {terms.commercial} | {terms.means} |' in text


def test_the_tutorial_names_verbs_and_entries_that_exist() -> None:
    text = (DOCS / 'from-published.md').read_text()
    verbs = {m[1] for m in re.finditer(r'dgss (published \w+|engine build|bundle info)', text)}
    assert verbs <= set(VERBS)
    for name in re.findall(r'dgss published (?:bundle|show) ([\w-]+)', text):
        assert name in load_catalog().entries
