"""Tables on the console: facts show whole, prose folds."""

import re

import pytest
from rich.table import Table

from dgss_core.cli import main
from dgss_core.commands.tables import PROSE, print_table
from dgss_core.runtime.bundle import open_bundle

SHA = 'f' * 100
TEXT = ' '.join(['pedestrian crossing'] * 20)


def printed(capsys, monkeypatch, columns, **options):
    monkeypatch.setenv('COLUMNS', str(columns))
    table = Table(title='the [title]', caption='a caption', **options)
    table.add_column('fact', no_wrap=True)
    table.add_column('prose')
    table.add_row(SHA, TEXT)
    table.add_row('[bold]', SHA)
    print_table(table)
    return capsys.readouterr().out


@pytest.mark.parametrize('columns', [40, 80, 230, 1000])
def test_a_table_shows_facts_and_long_words_whole(capsys, monkeypatch, columns):
    out = printed(capsys, monkeypatch, columns, box=None)
    assert out.startswith('the [title]\n')
    assert out.endswith('a caption\n')
    assert out.count(SHA) == 2
    assert '[bold]' in out
    assert ' '.join(re.findall(r'pedestrian|crossing', out)) == TEXT


def test_prose_takes_the_room_that_there_is(capsys, monkeypatch):
    rows = printed(capsys, monkeypatch, 1000).splitlines()
    assert any(TEXT in row for row in rows)
    assert len(TEXT) > PROSE


def test_bundle_info_shows_the_fingerprint_in_a_narrow_pipe(capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '60')
    assert main(['bundle', 'info']) == 0
    out = capsys.readouterr().out
    opened = open_bundle()
    assert opened.manifest.sha256 in out
    assert str(opened.folder) in out
