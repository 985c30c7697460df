from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dgss_core import __version__
from dgss_core.cli import VERBS, main, run_verb
from dgss_core.errors import DgssError


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, '-m', 'dgss_core', *arguments], capture_output=True, text=True
    )


def test_the_overview_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert all(f'dgss {verb}' in printed for verb in VERBS)
    assert main(['--version']) == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize('word', ['-h', '--help', 'help'])
def test_help_of_the_first_word_lists_its_verbs(
    capsys: pytest.CaptureFixture[str], word: str
) -> None:
    assert main(['bag', word]) == 0
    shown = capsys.readouterr().out
    for verb in VERBS:
        assert (f'dgss {verb} ' in shown) == verb.startswith('bag ')


@pytest.mark.parametrize('verb', VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    if verb.split()[-1] in ('play', 'node', 'demo'):
        pytest.importorskip('rclpy', reason='this verb talks to ROS')
    with pytest.raises(SystemExit) as stop:
        run_verb(verb, ['--help'])
    assert stop.value.code == 0
    assert f'dgss {verb}' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        (['segmnt'], 'use one of: segment'),
        (['bag'], 'bag write, bag play, bag replay, bag info'),
        (['bag', 'pley'], 'bag play'),
        (['bundle', 'info', '--bundel', 'x'], '--bundel'),
        (['bundle', 'info', '--bundle', '/nowhere'], 'There is no bundle at /nowhere'),
        (['segment'], 'source'),
        (['segment', '/nowhere', '--output', 'out'], '/nowhere'),
        (['bag', 'info', '/nowhere'], '/nowhere'),
    ],
)
def test_mistakes_end_in_one_sentence(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith('dgss: error: ')
    assert says in error
    assert '\n' not in error
    assert list(tmp_path.iterdir()) == []


def test_a_working_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    script = (
        'import os, shutil, sys\n'
        f'os.chdir({str(tmp_path)!r}); shutil.rmtree({str(tmp_path)!r})\n'
        'from dgss_core.cli import main\n'
        "sys.exit(main(['bundle', 'info']))"
    )
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.returncode == 2
    assert (
        done.stderr
        == 'dgss: error: The working folder is gone; change to another one, as by cd ~.\n'
    )


def test_the_module_is_the_command() -> None:
    result = run('bundle', 'info')
    assert (result.returncode, result.stderr) == (0, '')
    assert 'street-mobilenetv2' in result.stdout
    wrong = run('bundel')
    assert wrong.returncode == 2
    assert 'Traceback' not in wrong.stderr


def test_a_missing_module_of_ours_is_a_bug_and_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(VERBS, 'bag info', ('dgss_core.commands.bgg', 'info', ''))
    with pytest.raises(ModuleNotFoundError, match='bgg'):
        run_verb('bag info', [])


def test_a_value_error_keeps_its_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError('a bug') from KeyError('its cause')

    monkeypatch.setattr('dgss_core.commands.parser.Parser.instantiate', broken, raising=False)
    pytest.importorskip('torch', reason='a verb with more than plain values needs it')
    with pytest.raises(ValueError, match='a bug') as caught:
        run_verb('bench train', ['--config.system', 'x', '--config.sources', '[{dataset: y}]'])
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_missing_library_is_reported_with_its_installation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(VERBS, 'bag play', ('rclpy_is_not_here', 'play', ''))
    with pytest.raises(DgssError, match='needs rclpy_is_not_here'):
        run_verb('bag play', [])


def test_a_library_that_a_verb_imports_late_is_reported_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'late_verb.py').write_text('def play() -> None:\n    import timm_is_not_here\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(VERBS, 'bag play', ('late_verb', 'play', ''))
    with pytest.raises(DgssError, match='needs timm_is_not_here; run pip install'):
        run_verb('bag play', [])


def piped(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ['bash', '-c', command],
        env={**os.environ, 'DGSS': f'{sys.executable} -m dgss_core', **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize('verb', ['--help', 'bundle info'])
def test_a_closed_pipe_ends_a_verb_without_a_word(verb: str) -> None:
    done = piped(f'set -o pipefail; $DGSS {verb} | (exec <&-)')
    assert done.returncode == 1
    assert done.stderr == ''


def test_a_terminal_without_utf_8_and_names_with_control_characters(tmp_path: Path) -> None:
    ascii_only = {'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0'}
    done = piped('$DGSS bundle info', **ascii_only, PYTHONIOENCODING='ascii')
    assert done.returncode == 0, done.stderr
    pytest.importorskip('torch', reason='needs torch: converts a checkpoint')
    name = tmp_path / 'we\x1b[31mird\n.pth'
    name.write_bytes(b'x')
    output = tmp_path / 'out.safetensors'
    done = piped('$DGSS convert "$NAME" --system famix-rn50 --output "$OUTPUT"',
                 NAME=str(name), OUTPUT=str(output))  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count('\n') == 1
    assert '\x1b' not in done.stderr
    assert 'we\\x1b[31mird' in done.stderr
