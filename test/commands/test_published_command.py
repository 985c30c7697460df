"""`dgss published` from the command line: what it prints, asks for and refuses."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from hosting import Host, hosting, without_proxy

torch = pytest.importorskip('torch', reason='examines weight files')

from dgss_core.cli import main  # noqa: E402
from dgss_core.published import download  # noqa: E402

WHOLE = io.BytesIO()
torch.save({'state_dict': {'a': torch.ones(100)}}, WHOLE)
WEIGHTS = WHOLE.getvalue()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch):
    without_proxy(monkeypatch)
    monkeypatch.setattr(download, 'PAUSE_S', 0.0)
    with hosting() as running:
        yield running


@pytest.fixture
def own(host: Host, tmp_path: Path) -> list[str]:
    """Options that add a checkpoint with its encoder, one by hand and one that is gone."""
    base = host.serve('/encoder.pth', WEIGHTS)
    address = host.serve('/GTAV%2BX/w.pth?download=1', WEIGHTS)
    path = tmp_path / 'own.yaml'
    path.write_text(f"""\
title: ours
checkpoints:
  our-encoder: {{address: '{base}', encoder: true, labels: null, licence: mit, code: mit}}
  our-rein:
    address: {address}
    system: rein-dinov2-l
    base: our-encoder
    image_size: 1024
    trained_on: [synthia]
    figures: [{{data: acdc test, miou: 77.5, protocol: windows}}]
    notes: [a note]
  by-hand:
    address: {host.address}/page
    fetch: manual
    file: w.pth
    by_hand: Take the first file.
    system: famix-rn50
    trained_on: [gta5]
    figures: [{{data: acdc val, miou: 60}}]
  gone: {{address: '{host.address}/gone.pth', size: 7, system: famix-rn50, trained_on: [gta5]}}
""")
    return ['--own', str(path), '--folder', str(tmp_path / 'store')]


def run(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    assert main(['published', *map(str, arguments)]) == code
    printed = capsys.readouterr()
    return printed.out + printed.err


def test_list_and_show_need_no_network(own: list[str], host: Host, capsys) -> None:
    rows = {line.split()[0]: line for line in run(capsys, 'list', *own).splitlines()}
    assert 'acdc test 77.5%' in rows['our-rein']
    assert rows['our-rein'].split()[-3:] == ['to', 'fetch', 'yes']
    assert 'by hand' in rows['by-hand']
    assert 'convertible' in rows['name']
    assert {'soma-citys-1024', 'dinov2-l', 'tqdm-clip-b-gta'} <= rows.keys()
    commercial = run(capsys, 'list', '--licence', 'commercial', *own)
    assert 'our-encoder' in commercial
    assert 'our-rein' not in commercial
    assert 'are left out' in commercial
    shown = run(capsys, 'show', 'our-rein', *own)
    for part in ('address not tried', '77.5%  (windows)', '1024 pixels', 'CC BY-NC-SA', 'a note'):
        assert part in shown
    assert '60%  (not stated)' in run(capsys, 'show', 'by-hand', *own)
    assert 'did you mean' in run(capsys, 'show', 'our-rien', *own, code=2)
    assert host.requests == []


def test_list_needs_no_torch(own) -> None:
    code = """
import sys
from dgss_core.cli import main
assert main(sys.argv[1:]) == 0
assert 'torch' not in sys.modules
"""
    command = [sys.executable, '-c', code, 'published', 'list', *own]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert any(line.split()[:1] == ['our-rein'] and 'yes' in line for line in printed.splitlines())


def test_the_answers_go_where_stdout_was_redirected(own, tmp_path) -> None:
    """On a terminal the bar alone is drawn there."""
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            [
                *(sys.executable, '-m', 'dgss_core', 'published', 'check', *own),
                *('--only', 'our-encoder', 'our-rein'),
            ],
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
            env={**os.environ, 'TERM': 'xterm'},
        ) as process:
            printed, _ = process.communicate(timeout=240)
        drawn = os.read(ours, 1 << 16).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert process.returncode == 0
    assert [line.split(':')[0] for line in printed.splitlines()[:2]] == ['our-encoder', 'our-rein']
    assert 'Asking' in drawn
    assert 'answers' not in drawn


def test_fetch_asks_first_and_brings_the_encoder_too(own, host: Host, tmp_path, capsys) -> None:
    refused = run(capsys, 'fetch', 'our-rein', *own, code=2)
    assert 'trained on SYNTHIA: CC BY-NC-SA 3.0' in refused
    assert 'pass --yes' in refused
    assert host.requests == []
    printed = run(capsys, 'fetch', 'our-rein', '--yes', *own).splitlines()
    folder = tmp_path / 'store'
    paths = [folder / 'our-encoder' / 'encoder.pth', folder / 'our-rein' / 'w.pth']
    assert printed[: len(paths)] == list(map(str, paths))
    assert all(path.read_bytes() == WEIGHTS for path in paths)
    # Accepted once; what is there is checked and not fetched again.
    assert run(capsys, 'fetch', 'our-rein', *own).splitlines() == list(map(str, paths))
    assert len(host.requests) == 2
    pins = json.loads((folder / 'pins.json').read_text())['files']
    assert 'SYNTHIA' in pins['our-rein/w.pth']['terms']
    assert 'fetched' in run(capsys, 'list', *own)


def test_a_mirror_replaces_the_network(own, host: Host, tmp_path, capsys) -> None:
    run(capsys, 'fetch', 'our-rein', '--yes', *own)
    host.requests.clear()
    elsewhere = [*own[:2], '--folder', str(tmp_path / 'other')]
    run(capsys, 'fetch', 'our-rein', '--yes', '--mirror', tmp_path / 'store', *elsewhere)
    assert (tmp_path / 'other' / 'our-rein' / 'w.pth').read_bytes() == WEIGHTS
    missing = run(
        capsys, 'fetch', 'gone', '--yes', '--mirror', tmp_path / 'store', *elsewhere, code=2
    )
    assert 'There is no' in missing
    assert 'gone.pth' in missing
    assert host.requests == []


def test_a_file_by_hand(own, host: Host, tmp_path, capsys) -> None:
    said = run(capsys, 'fetch', 'by-hand', '--yes', *own, code=2)
    assert f'by hand from {host.address}/page: take the first file; pass the file' in said
    given = tmp_path / 'Downloads (1).pth'
    given.write_bytes(WEIGHTS)
    run(capsys, 'fetch', 'by-hand', '--yes', '--from', given, *own)
    assert (tmp_path / 'store' / 'by-hand' / 'w.pth').read_bytes() == WEIGHTS
    assert given.exists()


def test_a_file_of_a_library_is_taken_from_nowhere_else(own, tmp_path, capsys) -> None:
    given = tmp_path / 'given.pth'
    given.write_bytes(WEIGHTS)
    said = run(capsys, 'fetch', 'clip-convnext-l', '--yes', '--from', given, *own, code=2)
    assert 'is fetched by its library' in said
    assert not (tmp_path / 'store').exists()


@pytest.mark.parametrize(('answer', 'code'), [('y\n', 0), ('\n', 2), ('no\n', 2)])
def test_the_consent_of_a_person(own, host: Host, answer: str, code: int) -> None:
    """At a terminal the question is asked; without a yes nothing is fetched."""
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, '-m', 'dgss_core', 'published', 'fetch', 'our-encoder', *own],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            os.write(ours, answer.encode())
            _, errors = process.communicate(timeout=240)
    finally:
        os.close(ours)
        os.close(theirs)
    assert process.returncode == code
    assert 'Accept these terms? [y/N]' in errors
    assert len(host.requests) == (1 if code == 0 else 0)
    assert ('were not accepted; nothing was fetched' in errors) == (code == 2)


def test_check_asks_for_the_heads_alone(own, host: Host, capsys) -> None:
    names = ['--only', 'our-encoder', 'our-rein', 'by-hand', 'gone']
    printed = run(capsys, 'check', *names, *own, code=1)
    assert f'our-rein: answers, {len(WEIGHTS)} bytes' in printed
    assert 'gone: answers 404' in printed
    assert '2 of 3 answer; 1 are fetched by hand or by a library' in printed
    assert [method for method, _, _ in host.requests] == ['HEAD'] * 3
    assert f'answers, {len(WEIGHTS)} bytes' in run(capsys, 'show', 'our-rein', *own)
    host.serve('/gone.pth', b'<html>', kind='text/html')
    assert 'an HTML page' in run(capsys, 'check', '--only', 'gone', *own, code=1)
    host.serve('/gone.pth', b'12345678')
    assert 'has 8 bytes, 7 were published' in run(capsys, 'check', '--only', 'gone', *own, code=1)
    host.serve('/gone.pth', redirect='file:///etc/passwd')
    assert 'does not answer' in run(capsys, 'check', '--only', 'gone', *own, code=1)
    host.serve('/moved.pth', b'1234567')
    host.serve('/gone.pth', redirect='/moved.pth')
    assert '1 of 1 answer' in run(capsys, 'check', '--only', 'gone', *own)
    assert {method for method, _, _ in host.requests} == {'HEAD'}
