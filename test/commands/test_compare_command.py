"""`dgss compare`: its table, its files, and what it refuses."""

import json
import shutil
from pathlib import Path

import pytest
from evaluations import Drives
from report_page import Page

from dgss_core.cli import main
from dgss_core.evaluation.folder import EvaluationFolder


def write(path, errors, seed=0):
    drives = Drives(each=3, errors=errors, seed=seed)
    folder = EvaluationFolder(path, overwrite=False, inputs=())
    folder.write(drives.results(), drives.counts().items())
    return str(path)


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp('runs')
    return [
        write(root / 'plain', {'day': 0.1, 'night': 0.6}),
        write(root / 'ours', {'day': 0.1, 'night': 0.2}, seed=1),
    ]


def test_a_table_and_the_files(runs, tmp_path, capsys):
    out = tmp_path / 'new' / 'out'
    assert main(['compare', *runs, '--output', str(out), '--resamples', '50']) == 0
    printed = capsys.readouterr().out
    found = json.loads((out / 'comparison.json').read_text())
    groups = found['pairs'][0]['conditions']
    for name, group in groups.items():
        row = next(line for line in printed.splitlines() if line.split()[:1] == [name])
        assert row.split()[1] == str(group['frames'])
        assert f'{100 * group["differences"]["miou"]["difference"]:+.1f}' in row
    night = groups['night']['differences']['miou']
    assert night['interval'][0] > 0
    assert f'{100 * night["difference"]:+.1f}*' in printed
    assert found['pairs'][0]['changed'][0]['name'] in printed
    page = Page((out / 'comparison.html').read_text())
    assert found['command'] in page.sections['made']
    assert page.rows('Settings')['resamples'] == ['50']


def test_several_runs_and_the_paths_of_their_results(runs, capsys):
    paths = [runs[0], f'{runs[1]}/results.json', runs[1]]
    assert main(['compare', *paths, '--resamples', '20']) == 0
    assert capsys.readouterr().out.count(f'minus street@12345678 ({runs[0]})') == 2


def test_the_exit_code_says_that_frames_were_left_out(runs, tmp_path, capsys):
    more = write(tmp_path / 'more', {'day': 0.1, 'night': 0.3, 'fog': 0.2})
    assert main(['compare', runs[0], more, '--resamples', '20']) == 1
    assert '3 x A labelled frame of' in capsys.readouterr().err


def test_an_earlier_comparison_is_replaced_only_if_asked(runs, tmp_path, capsys):
    command = ['compare', *runs, '--resamples', '20', '--output', str(tmp_path / 'out')]
    assert main(command) == 0
    assert main(command) == 2
    assert '--overwrite' in capsys.readouterr().err
    assert main([*command, '--overwrite']) == 0
    (tmp_path / 'out' / 'notes.txt').write_text('mine')
    assert main([*command, '--overwrite']) == 2
    assert 'notes.txt' in capsys.readouterr().err
    assert (tmp_path / 'out' / 'notes.txt').read_text() == 'mine'


def test_names_do_nothing_to_a_terminal(runs, tmp_path, capsys):
    paths = []
    for run in runs:
        paths.append(tmp_path / Path(run).name)
        shutil.copytree(run, paths[-1])
        file = paths[-1] / 'results.json'
        file.write_text(file.read_text().replace('night', '\\u001b[2J\\nnight[bold]'))
    assert main(['compare', *map(str, paths), '--resamples', '20']) == 0
    printed = capsys.readouterr().out
    assert '\x1b' not in printed
    assert '\\x1b[2J night[bold]-00' in printed


@pytest.mark.parametrize(
    ('arguments', 'told'),
    [
        (['{0}'], 'two or more'),
        (['{0}', '/nowhere'], 'There is no /nowhere'),
        (['{0}', '{1}', '--resamples', '1'], 'at least 2'),
        (['{0}', '{1}', '--output', '{0}'], '{0}'),
        ([], 'runs'),
    ],
)
def test_a_mistake_is_one_sentence(runs, capsys, arguments, told):
    assert main(['compare', *(text.format(*runs) for text in arguments)]) == 2
    error = capsys.readouterr().err
    assert told.format(*runs) in error
    assert error.startswith('dgss: error: ')
    assert len(error.splitlines()) == 1


def test_help_names_the_runs(capsys):
    with pytest.raises(SystemExit):
        main(['compare', '--help'])
    assert 'outputs of dgss evaluate' in ' '.join(capsys.readouterr().out.split())
