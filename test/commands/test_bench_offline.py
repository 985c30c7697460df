"""The benchmark runs the real verbs; the speed itself is not tested."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_networks import write_classifier

from dgss_core.cli import main


def bench(bundle: Path, *options: str) -> int:
    return main(['bench', 'offline', '--bundle', str(bundle), '--threads', '1', *options])


def test_the_verbs_are_measured_against_the_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_classifier(tmp_path / 'classifier').folder
    options = ('--sizes', '96x64,128x64', '--rounds', '1', '--frames')
    assert bench(bundle, *options, '3', '--json') == 0
    rows = json.loads(capsys.readouterr().out)['sizes']
    assert [row['size'] for row in rows] == ['96x64', '128x64']
    for row in rows:
        rates = row['frames_per_s']
        assert [*rates] == ['network', 'segment', 'predictions', 'scores', 'evaluate']
        whole = 1 / rates['predictions'] + 1 / rates['scores']
        assert rates['evaluate'] == pytest.approx(1 / whole)
        share = row['share_of_network']
        assert share['segment'] == pytest.approx(rates['segment'] / rates['network'])
    assert bench(bundle, *options, '1') == 0
    assert 'calls at once' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (('--sizes', '1280'), '1280 is no size; write WIDTHxHEIGHT'),
        (('--sizes', '8x8'), '8x8 is no size'),
        (('--frames', '0'), '--frames is 0; give at least 1'),
    ],
)
def test_a_mistake_is_one_sentence(
    options: tuple[str, ...],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle = write_classifier(tmp_path / 'classifier').folder
    assert bench(bundle, *options) != 0
    assert message in capsys.readouterr().err
