"""The verbs of a vehicle parse their arguments with the standard library alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_type_hints

import pytest

from dgss_core.commands.plain_parser import is_plain, parse_plain
from dgss_core.errors import DgssError


def verb(
    source: Path,
    others: list[str],
    *,
    output: Path,
    rate: float = 1.0,
    frames: int | None = None,
    kind: Literal['raw', 'jpeg'] = 'raw',
    label_set: str | None = None,
    data: list[int] | None = None,
    overwrite: bool = False,
    keep: bool = True,
) -> None:
    """Do one thing, 100 % of it.

    And more.

    Args:
        source: what is read
        others: what is read too, in
            two lines
        rate: 50 % is half

    Returns:
        nothing: no parameter
    """


def parse(*arguments: str) -> dict[str, Any]:
    return parse_plain(verb, get_type_hints(verb), 'dgss verb', arguments)


def test_values_have_the_types_of_the_signature() -> None:
    assert parse('a', 'b', 'c', '--output', 'out') == {
        'source': Path('a'),
        'others': ['b', 'c'],
        'output': Path('out'),
        'rate': 1.0,
        'frames': None,
        'kind': 'raw',
        'label_set': None,
        'data': None,
        'overwrite': False,
        'keep': True,
    }
    given = parse('a', 'b', '--output=x=y', '--rate', '-2', '--frames=3', '--kind', 'jpeg')
    assert (given['output'], given['rate'], given['frames']) == (Path('x=y'), -2.0, 3)
    assert given['kind'] == 'jpeg'


def test_lists_switches_and_dashes() -> None:
    given = parse('a', 'b', '--output', 'o', '--data', '1', '2', '--data=3', '--label-set', 'x')
    assert given['data'] == [1, 2, 3]
    assert given['label_set'] == 'x'
    assert parse('a', '--overwrite', 'b', '--output', 'o')['overwrite']
    assert not parse('a', 'b', '--output', 'o', '--keep', 'false')['keep']
    assert not parse('a', 'b', '--output', 'o', '--keep=false')['keep']
    # Text stays text, also where YAML would make something else of it.
    assert parse('null', '1e3', '--output', '[a]', '--label_set', '1')['label_set'] == '1'


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        (['a', 'b'], 'required: --output; see dgss verb --help'),
        (['--output', 'o'], 'required: source, others'),
        (['a', 'b', '--output', 'o', '--frames', '1.5'], "'1.5' is not a whole number"),
        (['a', 'b', '--output', 'o', '--rate', 'fast'], "'fast' is not a number"),
        (['a', 'b', '--output', 'o', '--data', '1', 'x'], "'x' is not a whole number"),
        (['a', 'b', '--output', 'o', '--overwrite=yes'], "'yes' is neither true nor false"),
        (['a', 'b', '--output', 'o', '--kind', 'png'], 'raw'),
        (['a', 'b', '--output', 'o', '--data'], '--data needs a value'),
        (['a', 'b', '--data', '--output', 'o'], '--data needs a value'),
        (['a', 'b', '--outputs', 'o'], 'required: --output'),
        (['a', 'b', '--output', 'o', '--over'], 'unrecognized arguments: --over'),
        (['a', 'b', '--output', 'o', '--x\x1b[31m\n'], 'unrecognized arguments'),
    ],
)
def test_a_mistake_is_one_harmless_sentence(arguments: list[str], reason: str) -> None:
    with pytest.raises(DgssError) as caught:
        parse(*arguments)
    assert reason in str(caught.value)
    assert '\n' not in str(caught.value)
    assert '\x1b' not in str(caught.value)


def test_help_describes_the_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse('--help')
    assert stop.value.code == 0
    printed = ' '.join(capsys.readouterr().out.split())
    for text in ('Do one thing, 100 % of it.', 'what is read too, in two lines', '50 % is half'):
        assert text in printed
    assert '(default: 1.0)' in printed
    assert '(default: false)' in printed
    assert '(default: true)' in printed
    assert '--data DATA [DATA ...]' in printed
    assert 'And more' not in printed
    assert 'no parameter' not in printed


def test_other_types_are_left_to_the_other_parser() -> None:
    assert is_plain(get_type_hints(verb))
    assert not is_plain({'size': tuple[int, int]})
    assert not is_plain({'either': int | str})


HIDDEN = """
import sys
sys.modules.update(dict.fromkeys(('jsonargparse', 'docstring_parser')))
from dgss_core.cli import main
"""
CALL = HIDDEN + 'sys.exit(main(sys.argv[1:]))'
HELP = (
    HIDDEN
    + """
for verb in sys.argv[1:]:
    try:
        code = main([*verb.split(), '--help'])
    except SystemExit as stop:
        code = stop.code
    print('exit code of', verb, code)
"""
)


def without_jsonargparse(*arguments: str, program: str = CALL) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, '-c', program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def test_verbs_of_a_vehicle_work_with_the_dependencies_of_package_xml() -> None:
    done = without_jsonargparse('bundle', 'info')
    assert (done.returncode, done.stderr) == (0, '')
    assert 'street-mobilenetv2' in done.stdout
    verbs = ('segment', 'evaluate', 'compare', 'bag write', 'bag info', 'engine list')
    done = without_jsonargparse(*verbs, program=HELP)
    for verb in verbs:
        assert f'exit code of {verb} 0\n' in done.stdout, done.stderr
        assert f'usage: dgss {verb} ' in done.stdout


def test_a_verb_that_needs_more_says_what() -> None:
    pytest.importorskip('torch', reason='the verb imports it first')
    done = without_jsonargparse('bench', 'train')
    assert done.returncode == 2
    assert 'dgss bench train needs ' in done.stderr
    assert 'run pip install jsonargparse[signatures].' in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_help_shows_options_as_the_documentation_writes_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        parse('--help')
    shown = capsys.readouterr().out
    assert '--label-set LABEL_SET' in shown
    assert '--label_set' not in shown
