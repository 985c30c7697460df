"""Folders of bags: none is left out, and none is read twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from streets import film

from dgss_core.bags import write_bag
from dgss_core.bags.below import bags_at
from dgss_core.errors import DgssError


@pytest.fixture
def drives(tmp_path: Path) -> Path:
    for name in ('10', '9', 'more/deep'):
        write_bag(tmp_path / 'drives' / name, film(1))
    return tmp_path / 'drives'


def test_all_bags_below_a_folder_are_found_in_natural_order(drives: Path) -> None:
    assert bags_at(drives) == [drives / name for name in ('more/deep', '9', '10')]
    assert bags_at(drives / '9') == [drives / '9']
    recording = next((drives / '9').glob('*.mcap'))
    assert bags_at(recording) == [recording]
    (drives / 'again').symlink_to(drives)
    (drives / 'best').symlink_to(drives / '9')
    assert bags_at(drives) == [drives / name for name in ('best', 'more/deep', '9', '10')]


def test_a_loose_recording_does_not_hide_the_bags_beside_it(drives: Path) -> None:
    shutil.copy(next((drives / '9').glob('*.mcap')), drives / 'extra.mcap')
    with pytest.raises(DgssError, match='holds recordings, and bags in folders below'):
        bags_at(drives)
    shutil.copy(drives / 'extra.mcap', drives / 'more' / 'extra.mcap')
    (drives / 'extra.mcap').unlink()
    with pytest.raises(DgssError, match='more holds recordings'):
        bags_at(drives)
