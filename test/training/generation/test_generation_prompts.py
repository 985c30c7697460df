"""Prompts: balance, repetition, resuming, and a real language model with random weights."""

import json
from collections import Counter
from itertools import islice

import pytest

from dgss_core.cli import main
from dgss_core.errors import DgssError
from dgss_core.synthetic import CONDITIONS
from dgss_core.training.generation.journal import Journal, read_entries
from dgss_core.training.generation.prompts import (
    OPENINGS,
    PLACES,
    TIMES,
    TRAFFIC,
    WEATHERS,
    folded,
    scenes,
)


def test_scenes_are_balanced():
    skies = len(WEATHERS) * len(TIMES)
    found = list(islice(scenes(1), 4 * skies))
    assert set(Counter((s.weather, s.time) for s in found).values()) == {4}
    for phrases in (OPENINGS, PLACES, TRAFFIC):
        counts = Counter(p for s in found for p in phrases if p in s.sentence)
        assert len(counts) == len(phrases)
    assert {s.condition for s in found} == set(CONDITIONS)
    assert Counter(s.condition for s in found)['rain'] == 12


def test_scenes_do_not_repeat_and_follow_the_seed():
    many = [s.sentence for s in islice(scenes(1), 5000)]
    assert len({folded(s) for s in many}) == 5000
    assert many[:50] == [s.sentence for s in islice(scenes(1), 50)]
    assert many[:50] != [s.sentence for s in islice(scenes(2), 50)]
    # The text encoder of Stable Diffusion reads 77 tokens; a word has about 1.3 tokens.
    assert max(len(s.split()) for s in many) < 50


def test_the_command_resumes_where_it_was_killed(tmp_path, capsys):
    whole, cut = tmp_path / 'whole.jsonl', tmp_path / 'cut.jsonl'
    assert main(['generate', 'prompts', '--output', str(whole), '--count', '30']) == 0
    assert main(['generate', 'prompts', '--output', str(cut), '--count', '30']) == 0
    content = cut.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    assert main(['generate', 'prompts', '--output', str(cut), '--count', '30']) == 0
    assert cut.read_bytes() == whole.read_bytes()
    line = read_entries(whole)[0]
    assert set(line) == {'prompt', 'condition', 'writer', 'seed'}
    assert capsys.readouterr().out.endswith(f'30 prompts: {cut}\n')
    assert main(['generate', 'prompts', '--output', str(cut), '--count', '10']) == 0
    assert len(read_entries(cut)) == 30


def test_another_seed_is_refused(tmp_path, capsys):
    output = ['--output', str(tmp_path / 'p.jsonl'), '--count', '2']
    assert main(['generate', 'prompts', *output]) == 0
    assert main(['generate', 'prompts', *output, '--seed', '2']) == 2
    assert 'begun with seed 1, not 2' in capsys.readouterr().err


@pytest.mark.parametrize('content', ['no JSON\n', '[1]\n', b'\xff\xfe\n'])
def test_a_file_that_is_not_a_journal_is_refused(tmp_path, content):
    path = tmp_path / 'p.jsonl'
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DgssError, match=r'p\.jsonl'):
        Journal(path, {})
    assert path.stat().st_size == len(content)


def test_a_journal_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(DgssError, match='cannot be written'):
        Journal(tmp_path / 'file' / 'p.jsonl', {}).append({})


@pytest.mark.parametrize('chat', [False, True])
def test_a_language_model_writes_them(tmp_path, chat):
    pytest.importorskip('transformers', reason='needs pip install dgss_ros[generate]')
    from tiny_models import language_model

    model = language_model(tmp_path / 'model', chat)
    whole, again = tmp_path / 'whole.jsonl', tmp_path / 'again.jsonl'
    command = ['generate', 'prompts', '--model', model, '--output']
    assert main([*command, str(whole), '--count', '4']) == 0
    assert main([*command, str(again), '--count', '2']) == 0
    assert main([*command, str(again), '--count', '4']) == 0
    assert whole.read_bytes() == again.read_bytes()
    lines = [json.loads(line) for line in whole.read_text().splitlines()]
    assert [line['scene'] for line in lines] == [s.sentence for s in islice(scenes(1), 4)]
    assert len({folded(line['prompt']) for line in lines}) == 4
    assert all(4 <= len(line['prompt'].split()) <= 50 for line in lines)


def test_a_model_that_only_repeats_itself(tmp_path):
    pytest.importorskip('transformers', reason='needs pip install dgss_ros[generate]')
    from tiny_models import language_model

    from dgss_core.training.generation.language import LanguageModel

    class Everything(set):
        def __contains__(self, item: object) -> bool:
            return True

    model = LanguageModel(language_model(tmp_path / 'model', True))
    with pytest.raises(DgssError, match='no new sentence in 2 attempts'):
        model.describe('A photo.', Everything(), 1, attempts=2)


def test_first_sentences():
    pytest.importorskip('torch')
    from dgss_core.training.generation.language import first_sentence

    wanted = 'A photo of a road in rain.'
    for answer in (wanted, f'\n\n "{wanted}"\nAnother.', f'1. {wanted}', f'- **{wanted}**'):
        assert first_sentence(answer) == wanted
    assert first_sentence('Sure!') == first_sentence('') == first_sentence('a ' * 60) == ''


def test_a_missing_model(tmp_path, capsys):
    pytest.importorskip('transformers', reason='needs pip install dgss_ros[generate]')
    output = ['--output', str(tmp_path / 'p.jsonl'), '--model', str(tmp_path)]
    assert main(['generate', 'prompts', *output]) == 2
    error = capsys.readouterr().err
    assert 'cannot be loaded' in error
    assert 'safetensors' in error


def test_a_file_of_others_is_not_cut_off(tmp_path, capsys):
    """A file without a newline has no complete line, but may have content."""
    for content in ('dear', '{"a": 1}', '[1, 2]'):
        path = tmp_path / 'letter'
        path.write_text(content)
        assert main(['generate', 'prompts', '--output', str(path), '--count', '1']) == 2
        assert path.read_text() == content
    assert capsys.readouterr().err.count('\n') == 3


def test_the_last_prompt_needs_no_newline(tmp_path):
    path = tmp_path / 'p.jsonl'
    line = json.dumps({'prompt': 'A street\u2028', 'condition': 'day'}, ensure_ascii=False)
    path.write_text(f'{line}\n{line}')
    assert len(read_entries(path)) == len(read_entries(path, killed=False)) == 2
    path.write_text(f'{line}\n{line[:-5]}')
    assert len(read_entries(path)) == 1
    with pytest.raises(DgssError, match='line 2, is not JSON'):
        read_entries(path, killed=False)
