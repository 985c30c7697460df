"""Files of bags that are links without a target: the rest is read, and they are named."""

from __future__ import annotations

from pathlib import Path

import pytest
from foreign_bags import mcap, metadata

from dgss_core.bags import bag_info
from dgss_core.bags.below import bags_at
from dgss_core.cli import main
from dgss_core.errors import DgssError, IncompleteError
from dgss_core.inputs import read_frames


def linked(folder: Path, whole: str, dead: str) -> Path:
    """A bag folder with a whole file and a link."""
    folder.mkdir()
    mcap(folder / whole)
    (folder / dead).symlink_to(f'/gone/{dead}')
    return folder


def sentence(folder: Path, dead: str) -> str:
    return f"{folder / dead} is a link to '/gone/{dead}', which does not exist"


@pytest.mark.parametrize(('whole', 'dead'), [('a_0.mcap', 'a_1.mcap'), ('a.mcap', 'b.mcap')])
def test_a_part_behind_a_link_is_named(
    whole: str, dead: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = linked(tmp_path / 'bag', whole, dead)
    told: list[DgssError] = []
    assert len(list(read_frames(folder, on_error=lambda _, error: told.append(error)))) == 6
    assert [type(error) for error in told] == [IncompleteError]
    assert sentence(folder, dead) in str(told[0])
    assert main(['bag', 'info', str(folder)]) == 1
    assert sentence(folder, dead) in capsys.readouterr().err


def test_a_part_of_the_metadata_behind_a_link_is_not_missing(tmp_path: Path) -> None:
    folder = linked(tmp_path / 'bag', 'a_0.mcap', 'a_1.mcap')
    metadata(folder, ['a_0.mcap', 'a_1.mcap'], 12)
    faults = bag_info(folder).faults
    assert any(sentence(folder, 'a_1.mcap') in fault for fault in faults)
    assert not any('is missing' in fault for fault in faults)


def test_metadata_behind_a_link_is_named(tmp_path: Path) -> None:
    folder = linked(tmp_path / 'bag', 'a.mcap', 'metadata.yaml')
    assert sentence(folder, 'metadata.yaml') in bag_info(folder).faults[0]


def test_a_bag_behind_a_link_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / 'bag'
    folder.mkdir()
    (folder / 'a.mcap').symlink_to('/gone/a.mcap')
    for path in (folder, folder / 'a.mcap'):
        assert main(['bag', 'info', str(path)]) == 2
        assert sentence(folder, 'a.mcap') in capsys.readouterr().err
    drives = tmp_path / 'drives'
    drives.mkdir()
    linked(drives / 'one', 'a.mcap', 'b.mcap')
    (drives / 'two').symlink_to('/gone/two')
    with pytest.raises(DgssError, match="two is a link to '/gone/two'"):
        bags_at(drives)
