"""Starting from a checkpoint of other classes, going on with another recipe, files of a recipe."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
import yaml
from preloaded import start
from safetensors.torch import load_file
from small_systems import small
from tiny_training import CPU, parse, recipe, write_frames, write_recipe

from dgss_core.cli import main
from dgss_core.errors import DgssError
from dgss_core.labels import Label, LabelSet
from dgss_core.networks.checkpoint import About, load_checkpoint, save_checkpoint
from dgss_core.networks.systems import SegmentationModel
from dgss_core.paths import located
from dgss_core.training.build import build_model, save_model
from dgss_core.training.loop import train
from dgss_core.training.start import class_rows, start_from


def label_set(name: str, *names: str, **merges: dict) -> LabelSet:
    labels = (Label(i, n, (9 * i, 0, 0)) for i, n in enumerate(names))
    return LabelSet(name, tuple(labels), merges)


def print_imported(*names: str) -> None:
    print(*(name for name in names if name in sys.modules))


def test_a_training_imports_no_library_that_only_some_networks_need(tmp_path: Path) -> None:
    slow = ('scipy.optimize', 'timm', 'torchmetrics', 'transformers')
    log = tmp_path / 'log'
    start(print_imported, 'torch', *slow, output=log).join()
    assert log.read_text() == 'torch\n'


BEFORE = label_set('five', 'road', 'path', 'car', 'sky', 'tree')


@pytest.mark.parametrize(
    ('before', 'now', 'rows'),
    [
        (BEFORE, label_set('n', 'car', 'rock', 'road'), [[2], [], [0]]),
        (BEFORE, label_set('n', *reversed(BEFORE.names)), [[4], [3], [2], [1], [0]]),
        (
            label_set('five', *BEFORE.names, n={'road': 'drivable', 'path': 'drivable'}),
            label_set('n', 'sky', 'drivable'),
            [[3], [0, 1]],
        ),
        (
            BEFORE,
            label_set('n', 'tar', 'gravel', 'rock', five={'tar': 'road', 'gravel': 'road'}),
            [[0], [0], []],
        ),
    ],
)
def test_rows_go_by_name_and_by_merge(before: LabelSet, now: LabelSet, rows: list) -> None:
    assert class_rows(before, now) == rows


def test_a_merge_with_an_unknown_class_is_named() -> None:
    with pytest.raises(DgssError, match='one of them is not a label'):
        class_rows(BEFORE, label_set('n', 'rock', five={'rock': 'stone'}))


def write_labels(path: Path, labels: LabelSet) -> str:
    path.write_text(yaml.safe_dump(labels.to_dict()))
    return str(path)


def begun(root: Path, name: str) -> tuple[SegmentationModel, dict]:
    """A checkpoint of 19 classes of the recipe `name`, and the recipe that starts from it."""
    values = recipe(root, name)
    config = parse(values)
    torch.manual_seed(1)
    model = build_model(config)
    save_model(config, model, [root / 'start.safetensors'])
    return model, {**values, 'start': str(root / 'start.safetensors')}


@pytest.mark.parametrize(
    ('name', 'layer'), [('dgss', 'classify.1'), ('rein', 'decoder.classifier.linear')]
)
def test_from_19_classes_to_3(name: str, layer: str, tmp_path: Path) -> None:
    known, values = begun(tmp_path, name)
    own = label_set(
        'own', 'car', 'rock', 'ground', cityscapes19={'car': 'car', 'ground': 'terrain'}
    )
    values['label_set'] = write_labels(tmp_path / 'own.yaml', own)
    lines: list[str] = []
    model = build_model(parse(values), say=lines.append)
    assert len(lines) == 1
    for part in ('of 19 classes to 3', 'keeps the weights of car', 'terrain for ground'):
        assert part in lines[0]
    assert 'draws anew rock' in lines[0]
    before, now = known.state_dict(), model.state_dict()
    rows = f'head.{layer}.weight'
    names = known.label_set.names
    assert torch.equal(now[rows][0], before[rows][names.index('car')])
    assert torch.equal(now[rows][2], before[rows][names.index('terrain')])
    if len(now[rows]) == 4:  # "no object"
        assert torch.equal(now[rows][3], before[rows][19])
    others = [key for key in now if layer not in key]
    assert all(torch.equal(now[key], before[key]) for key in others)


@pytest.mark.parametrize(
    ('name', 'layers'),
    [
        ('pidnet-s', ['classify', 'side.1']),
        ('ddrnet-23-slim', ['classify', 'side.1']),
        ('bisenetv2', ['classify', *(f'boosters.{i}.3' for i in range(4))]),
    ],
)
@pytest.mark.parametrize('others', [[], [f'class {i}' for i in range(17)]], ids=['fewer', 'same'])
def test_auxiliary_heads_start_from_other_classes(
    name: str, layers: list[str], others: list[str]
) -> None:
    known = small(name, auxiliary=True)
    own = label_set('own', 'car', *others, 'road')
    model = small(name, auxiliary=True, label_set=own)
    assert 'keeps the weights of car, road' in start_from(known, model, 'FILE')
    before, now = known.state_dict(), model.state_dict()
    names = known.label_set.names
    for layer in layers:
        for part in ('weight', 'bias'):
            rows = now[f'head.{layer}.{part}'][[0, -1]]
            wanted = before[f'head.{layer}.{part}'][[names.index('car'), names.index('road')]]
            assert torch.equal(rows, wanted)


def test_classes_in_another_order_keep_their_scores(tmp_path: Path) -> None:
    known, values = begun(tmp_path, 'dgss')
    names = known.label_set.names[::-1]
    values['label_set'] = write_labels(tmp_path / 'own.yaml', label_set('own', *names))
    model = build_model(parse(values)).eval()
    images = torch.rand(1, 3, 64, 64) * 255
    with torch.no_grad():
        torch.testing.assert_close(model(images), known.eval()(images).flip(1))


def test_a_checkpoint_of_other_sizes_is_refused(tmp_path: Path) -> None:
    _, values = begun(tmp_path, 'dgss')
    values['options'] |= {'width': 64}
    values['label_set'] = write_labels(tmp_path / 'own.yaml', label_set('own', 'car', 'rock'))
    with pytest.raises(DgssError, match='of another shape'):
        build_model(parse(values))


def test_more_steps_on_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_frames(tmp_path)
    run, values = tmp_path / 'run', recipe(tmp_path, steps=2)
    train(parse(values), tmp_path, run, CPU)
    frames = values['evaluation']['splits']
    values |= {'steps': 4, 'save_every': 3}
    values['evaluation'] |= {'every': 4, 'splits': [*frames, {**frames[0], 'split': 'none'}]}
    with pytest.raises(DgssError, match="no split 'none'"):
        train(parse(values), tmp_path, run, CPU, resume=True)
    (tmp_path / 'more.yaml').write_text((tmp_path / 'frames.yaml').read_text())
    more = {'dataset': str(tmp_path / 'more.yaml'), 'folder': 'frames'}
    values['evaluation'] |= {'splits': [more, *frames]}
    train(parse(values), tmp_path, run, CPU, resume=True)
    said = capsys.readouterr().out
    for part in ('a change of evaluation.every, evaluation.splits, save_every', 'stretched'):
        assert part in said
    scores = [json.loads(line) for line in (run / 'scores.jsonl').open()]
    assert [(score['step'], score['on'].split()[0]) for score in scores] == [
        (2, 'frames'),
        (4, 'more'),
        (4, 'frames'),
    ]
    assert yaml.safe_load((run / 'config.yaml').read_text())['steps'] == 4
    with pytest.raises(DgssError, match='has 4 steps already'):
        train(parse({**values, 'steps': 3}), tmp_path, run, CPU, resume=True)
    assert yaml.safe_load((run / 'config.yaml').read_text())['steps'] == 4


def test_a_resumed_training_is_scored_on_a_split_that_replaces_another(tmp_path: Path) -> None:
    write_frames(tmp_path)
    write_frames(tmp_path / 'other')
    run, values = tmp_path / 'run', recipe(tmp_path, steps=2)
    train(parse(values), tmp_path, run, CPU)
    other = {**values['evaluation']['splits'][0], 'folder': 'other/frames'}
    values['evaluation'] |= {'splits': [other]}
    for _ in range(2):
        train(parse(values), tmp_path, run, CPU, resume=True)
        scores = [json.loads(line) for line in (run / 'scores.jsonl').open()]
        assert [(score['step'], score['on'].partition(', prot')[0]) for score in scores] == [
            (2, 'frames all, 8 frames'),
            (2, 'frames all, 8 frames, folder other/frames'),
        ]


def test_a_state_with_a_damaged_description_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    write_frames(tmp_path)
    values = recipe(tmp_path, steps=1, evaluation={})
    train(parse(values), tmp_path, tmp_path / 'run', CPU)
    state = tmp_path / 'run' / 'state.safetensors'
    for classes in ('[', '[]', '{"classes": 3, "datasets": [1]}'):
        metadata = {'schema': 'dgss-training/1', 'step': '1', 'classes': classes}
        save_file(load_file(state), state, metadata)
        with pytest.raises(DgssError, match=r'JSON|damaged state|other labels'):
            train(parse(values), tmp_path, tmp_path / 'run', CPU, resume=True)


def command(root: Path, config: Path, *more: str) -> int:
    options = {'config': config, 'data': root, 'output': root / 'run'}
    options |= {'hardware.accelerator': 'cpu', 'hardware.precision': '32-true'}
    options |= {'hardware.workers': 0}
    return main(['train', *(f'--{key}={value}' for key, value in options.items()), *more])


def test_files_of_a_recipe_lie_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_frames(tmp_path)
    own = label_set('own', *LabelSet.load('cityscapes19').names)
    write_labels(tmp_path / 'own.yaml', own)
    begun(tmp_path, 'dgss')
    values = recipe(tmp_path, steps=1, label_set='own.yaml', start='start.safetensors')
    values['sources'] = [{'dataset': 'frames.yaml'}]
    values['evaluation'] |= {'splits': [{'dataset': './frames.yaml'}]}
    config = write_recipe(tmp_path / 'r.yaml', values)
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert command(tmp_path, config) == 0, capsys.readouterr().err
    kept = yaml.safe_load((tmp_path / 'run' / 'config.yaml').read_text())
    assert kept['label_set'] == str(tmp_path / 'own.yaml')
    assert LabelSet.load(tmp_path / 'run' / 'labels.yaml').names == own.names
    monkeypatch.chdir('/')
    assert command(tmp_path, tmp_path / 'run' / 'config.yaml', '--resume') == 0
    (tmp_path / 'own.yaml').rename(tmp_path / 'theirs.yaml')
    assert command(tmp_path, config, '--resume') == 2
    assert f"no label set file '{tmp_path / 'own.yaml'}'" in capsys.readouterr().err


def test_a_folder_of_a_recipe_lies_beside_it_and_a_name_on_the_hub_stays(tmp_path: Path) -> None:
    (tmp_path / 'models' / 'sam').mkdir(parents=True)
    names = ('models/sam', 'facebook/sam-vit-base')
    found = [
        located({'self_training': {'refinement': {'sam': name}}}, tmp_path, Path('/'))
        for name in names
    ]
    assert [entry['self_training']['refinement']['sam'] for entry in found] == [
        str(tmp_path / 'models' / 'sam'),
        'facebook/sam-vit-base',
    ]


def test_options_of_the_command_line_are_relative_to_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_frames(tmp_path)
    (tmp_path / 'recipes').mkdir()
    values = recipe(tmp_path, steps=1, evaluation={})
    config = write_recipe(tmp_path / 'recipes' / 'r.yaml', values)
    write_labels(tmp_path / 'own.yaml', label_set('own', *LabelSet.load('cityscapes19').names))
    monkeypatch.chdir(tmp_path)
    assert command(tmp_path, config, '--config.label_set', 'own.yaml') == 0
    kept = yaml.safe_load((tmp_path / 'run' / 'config.yaml').read_text())
    assert kept['label_set'] == str(tmp_path / 'own.yaml')
    assert load_checkpoint(tmp_path / 'run' / 'model.safetensors').label_set.name == 'own'


def test_a_form_of_the_encoder_survives_resume(tmp_path: Path) -> None:
    import timm

    write_frames(tmp_path)
    model = timm.create_model('mobilenetv2_100')
    torch.save(model.state_dict(), tmp_path / 'w.pth')
    values = recipe(tmp_path, steps=1, weights=str(tmp_path / 'w.pth'), evaluation={})
    values |= {'system': 'dgss-mobilenetv2', 'encoder_options': {}, 'options': {'width': 8}}
    values.pop('mixing')
    train(parse(values), tmp_path, tmp_path / 'run', CPU)
    (tmp_path / 'w.pth').unlink()
    train(parse(values | {'steps': 2}), tmp_path, tmp_path / 'run', CPU, resume=True)
    saved = load_checkpoint(tmp_path / 'run' / 'model.safetensors')
    assert len(saved.encoder.blocks[0].layers) == 5
    save_checkpoint(saved, tmp_path / 'start.safetensors', About('dgss-mobilenetv2', {
        'encoder_options': dict(saved.encoder.form), 'width': 8,
    }))  # fmt: skip
    begins = {**values, 'start': str(tmp_path / 'start.safetensors')}
    assert len(build_model(parse(begins)).encoder.blocks[0].layers) == 5
