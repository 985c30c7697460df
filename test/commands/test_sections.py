"""What a config holds in the place of its sections and keys, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from refused import RECIPE, TRAIN, TRAINS, refused


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes `RECIPE` with other keys as `recipe.yaml` into the working folder."""
    monkeypatch.chdir(tmp_path)
    return lambda **keys: Path('recipe.yaml').write_text(yaml.safe_dump(RECIPE | keys))


@pytest.mark.parametrize(
    ('part', 'sentence'),
    [
        (
            {'rare': {'temperature': 0.1}},
            'recipe.yaml: there is no key rare; rare belongs to each entry of sources',
        ),
        ({'rate': 0.1}, 'recipe.yaml: there is no key rate; rate belongs to optimiser'),
        (
            {'optimiser': {'shape': 'poly'}},
            'recipe.yaml: there is no key optimiser.shape; shape belongs to schedule of optimiser',
        ),
        ({'foo': 1}, 'recipe.yaml: there is no key foo'),
        (
            {'sources': [{'dataset': 'synthetic', 'rares': {'temperature': 1}}]},
            'recipe.yaml: there is no key rares',
        ),
    ],
    ids=str,
)
@TRAINS
def test_an_unknown_key_is_named_with_its_file_and_its_place(
    part: dict[str, Any], sentence: str, write: Callable[..., None], capsys: pytest.CaptureFixture
) -> None:
    write(**part)
    assert refused(TRAIN, capsys) == f'dgss: error: {sentence}; see dgss train --help.'


@pytest.mark.parametrize(
    ('part', 'sentence'),
    [
        (
            {'sources': ['tiny']},
            "sources: entry 1 is 'tiny'; write its keys as a mapping, such as",
        ),
        ({'sources': 'tiny'}, "sources is 'tiny'; write a list"),
        ({'sources': {'dataset': 'tiny'}}, "sources is {'dataset': 'tiny'}; write a list"),
        (
            {'sources': [{'dataset': [1]}]},
            'dataset: Expected a str. Got value: [1]; see dgss train',
        ),
        ({'optimiser': 'adamw'}, "optimiser: 'adamw' is neither a section nor the path"),
        ({'optimiser': './none.yaml'}, 'optimiser: There is no file none.yaml; correct the path'),
        ({'optimiser': [1]}, 'optimiser is [1]; write its keys as a mapping'),
        ({'optimiser': {'schedule': 3}}, 'optimiser: schedule is 3; write its keys'),
        ({'augmentation': 3}, 'augmentation is 3; write its keys as a mapping'),
        ({'augmentation': None}, 'augmentation is None; write its keys as a mapping'),
        ({'steps': 'many'}, 'steps: Expected an int. Got value: many'),
    ],
)
@TRAINS
def test_a_value_that_is_no_section_is_refused_with_its_place(
    part: dict[str, Any], sentence: str, write: Callable[..., None], capsys: pytest.CaptureFixture
) -> None:
    write(**part)
    assert f'recipe.yaml: {sentence}' in refused(TRAIN, capsys)


@TRAINS
def test_an_option_that_is_no_section_is_refused(
    write: Callable[..., None], capsys: pytest.CaptureFixture
) -> None:
    write()
    said = "--config.sources: entry 1 is 'tiny'; write its keys as a mapping"
    assert said in refused([*TRAIN, '--config.sources', '[tiny]'], capsys)
    assert '--config.optimiser is [1]; ' in refused([*TRAIN, '--config.optimiser=[1]'], capsys)
    ends_alike = ['--output', 'myconfig', '--config', 'recipe.yaml', '--config.seed', '-7']
    assert 'seed at least 0, not' in refused(['train', *ends_alike], capsys)


@TRAINS
@pytest.mark.parametrize(
    ('given', 'said'),
    [
        ([], 'Give --config FILE, --output; see dgss train --help.'),
        (['--config.system', 'tiny'], 'Give --config.sources, --output; see'),
        (['--config', 'recipe.yaml'], 'Give --output; see'),
    ],
)
def test_missing_options_are_named_as_they_are_given(
    given: list[str],
    said: str,
    write: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    write()
    assert said in refused(['train', *given], capsys)
