"""A network that fails while it runs, or gives ids that mean nothing, is one sentence."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from probe import write_probe_bundle
from streets import write_street

from dgss_core.cli import main

KINDS = {
    'fails': ({'brightest': -1}, 'probe@[0-9a-f]* failed while it ran in ONNX Runtime .*; try'),
    'ids': ({'darkest': 250}, 'probe@.* gives the id 254 in ONNX Runtime .* ends with 18; try'),
}


def verbs(bundle: Path, folder: Path) -> dict[str, list[object]]:
    image = folder / 'one.png'
    cv2.imwrite(str(image), np.full((48, 64, 3), 64, np.uint8))
    one = ['--bundle', bundle, '--backend', 'onnxruntime']
    data = ['--data', write_street(folder, {'day': 1}), '--root', folder]
    return {
        'segment': ['segment', image, *one, '--output', folder / 'out'],
        'evaluate': ['evaluate', *data, *one, '--output', folder / 'out', '--resamples', 9],
        'bench model': ['bench', 'model', *one, '--seconds', 0.1],
        'engine verify': ['engine', 'verify', *one, '--frames', image],
    }


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('verb', ['segment', 'evaluate', 'bench model', 'engine verify'])
def test_it_is_one_sentence_of_every_verb(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], verb: str, kind: str
) -> None:
    options, sentence = KINDS[kind]
    bundle = write_probe_bundle(tmp_path / 'probe', **options)
    capfd.readouterr()
    assert main([*map(str, verbs(bundle, tmp_path)[verb])]) == 2
    printed = capfd.readouterr()
    # Also what ONNX Runtime itself writes would be here.
    *before, last = printed.err.splitlines()
    assert all(line.startswith('Runs probe@') for line in before)
    assert last.startswith('dgss: error: ')
    assert re.search(sentence, last)
    assert not (tmp_path / 'out' / 'masks').exists()
