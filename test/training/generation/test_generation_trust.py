"""Models and journals from outside: no code of theirs is run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from canary import Canary

from dgss_core.errors import DgssError
from dgss_core.training.generation.images import Drawing, Painter
from dgss_core.training.generation.journal import Journal, read_entries


@pytest.fixture(scope='module')
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip('diffusers', reason='needs pip install dgss_ros[generate]')
    from tiny_models import diffusion_pipeline

    return Path(diffusion_pipeline(tmp_path_factory.mktemp('pipeline')))


def test_a_pipeline_takes_no_part_from_another_library(
    pipeline: Path, tmp_path: Path, canary: Canary
) -> None:
    model = tmp_path / 'model'
    shutil.copytree(pipeline, model)
    content = json.loads((model / 'model_index.json').read_text())
    for part in ('unet', 'scheduler', 'text_encoder', 'more'):
        changed = content | {part: [canary.name, 'Call']}
        (model / 'model_index.json').write_text(json.dumps(changed))
        with pytest.raises(DgssError, match='code of a model is not run'):
            Painter(Drawing(str(model), steps=1))
    code = (canary.mark.parent / f'{canary.name}.py').read_text()
    (model / 'unet' / 'own_unet.py').write_text(code)
    for changes in ({'unet': ['own_unet', 'Call']}, {'_class_name': ['own_unet', 'Call']}):
        (model / 'model_index.json').write_text(json.dumps(content | changes))
        with pytest.raises(DgssError, match='code of a model is not run'):
            Painter(Drawing(str(model), steps=1))
    assert not canary.sang
    assert not (model / 'unet' / 'mark').exists()


def test_a_language_model_with_its_own_code_is_refused(tmp_path: Path, canary: Canary) -> None:
    transformers = pytest.importorskip('transformers', reason='needs dgss_ros[generate]')
    from dgss_core.training.generation.hub import load

    kinds = ('AutoConfig', 'AutoModelForCausalLM', 'AutoTokenizer', 'AutoProcessor')
    own = dict.fromkeys(kinds, 'own.Call')
    (tmp_path / 'own.py').write_text((canary.mark.parent / f'{canary.name}.py').read_text())
    for name in ('config.json', 'tokenizer_config.json', 'preprocessor_config.json'):
        (tmp_path / name).write_text(json.dumps({'model_type': 'own', 'auto_map': own}))
    for kind in kinds[1:]:
        with pytest.raises(DgssError, match='cannot be loaded'):
            load(getattr(transformers, kind), str(tmp_path))
    assert not (tmp_path / 'mark').exists()


@pytest.mark.parametrize(
    'line', ['[' * 100_000, '7', '{"a": NaN}', '{"a": 1, "a": 2}', '9' * 5000], ids=range(5)
)
def test_a_line_that_is_no_bounded_json_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / 'journal.jsonl'
    path.write_text(f'{{"file": "a"}}\n{line}\n')
    with pytest.raises(DgssError, match=r'journal\.jsonl, line 2, is not'):
        read_entries(path)


def test_an_entry_without_its_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / 'journal.jsonl'
    path.write_text('{"file": "a"}\n{"file": 7}\n')
    with pytest.raises(DgssError, match='line 2, has no text for file'):
        Journal(path, {}).texts('file')
