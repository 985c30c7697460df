"""A data set for FiftyOne, read by FiftyOne.

FiftyOne keeps what it reads in MongoDB. Where there is no `mongod`, a server that speaks its
protocol (SecantusDB) takes its place: the importer is FiftyOne's own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from exports import export

from dgss_core.labels import LabelSet
from dgss_core.runtime.bundle import Bundle

pytest.importorskip('fiftyone', reason='needs fiftyone')
pytest.importorskip('secantus', reason='needs SecantusDB, which stands in for MongoDB')

READ = """
import json, os, sys
from secantus import SecantusDBServer
import dgss_core
assert os.environ['FIFTYONE_DO_NOT_TRACK'] == 'true'
with SecantusDBServer(storage_path=sys.argv[2], port=0) as server:
    os.environ['FIFTYONE_DATABASE_URI'] = server.uri
    os.environ['FIFTYONE_DATABASE_VALIDATION'] = 'false'
    import fiftyone as fo
    assert fo.config.do_not_track
    dataset = fo.Dataset.from_dir(sys.argv[1], dataset_type=fo.types.FiftyOneDataset)
    colors = dataset.app_config.color_scheme.default_mask_targets_colors
    print('FOUND' + json.dumps({
        'targets': dataset.default_mask_targets,
        'colors': {entry['intTarget']: entry['color'] for entry in colors},
        'night': len(dataset.match_tags('night')),
        'best': dataset.sort_by('miou', reverse=True).first().miou,
        'bounds': dataset.bounds('miou'),
        'samples': [{
            'image': sample.filepath,
            'mask': sample.predictions.get_mask().tolist(),
            'labels': sample.ground_truth and sample.ground_truth.get_mask().tolist(),
            'confidence': sample.confidence_map.get_map().tolist(),
            'condition': sample.condition,
            'miou': sample.miou,
            'width': sample.metadata.width,
        } for sample in dataset],
    }))
"""


def test_fiftyone_reads_every_field(
    tmp_path: Path, probe_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    done = export(tmp_path, probe_bundle, capsys, 'fiftyone')
    folder, home = done.output / 'fiftyone', tmp_path / 'home'
    home.mkdir()
    ran = subprocess.run(
        [sys.executable, '-c', READ, str(folder), str(tmp_path / 'base')],
        env=os.environ | {'HOME': str(home), 'PYTHONWARNINGS': 'ignore'},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.partition('FOUND')[2])
    labels = LabelSet.load('cityscapes19')
    assert found['targets'] == {str(label.id + 1): label.name for label in labels.labels}
    assert found['colors']['1'] == '#804080'
    assert found['night'] == 2
    samples = found['samples']
    assert all(Path(sample['image']).is_file() for sample in samples)
    assert [sample['condition'] for sample in samples[2:]] == ['day', 'day', 'night', 'night']
    for sample, mask, of_frame in zip(samples[2:], done.masks, done.labels, strict=True):
        np.testing.assert_array_equal(sample['mask'], mask + 1)
        if of_frame is not None:
            expected = np.where(of_frame == 255, 0, of_frame + 1)
            np.testing.assert_array_equal(sample['labels'], expected)
        assert np.ravel(sample['confidence']) == pytest.approx(200)
        assert sample['width'] == 64
    assert found['best'] == max(sample['miou'] or 0 for sample in samples)
