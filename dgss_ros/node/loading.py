"""Loads a bundle with the parameters of the node."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dgss_core.files.home import expand
from dgss_core.runtime.backend import Report
from dgss_core.runtime.backends import load_backend
from dgss_core.runtime.bundle import open_bundle
from dgss_core.runtime.segmenter import Segmenter
from dgss_core.runtime.self_test import self_test, why_untested
from dgss_ros.parameters.values import Parameters


def load_segmenter(folder: Path | None, settings: Parameters, report: Report) -> Segmenter:
    """Open the bundle in `folder`, load it into its backend, warm it up and test it.

    `folder`: None for the embedded bundle. `report` is called with lines of progress; it may raise
    to stop the loading. Raises DgssError when the bundle cannot be loaded or fails its self-test.
    """
    bundle = open_bundle(folder)
    cache = settings['engine.cache_dir']
    backend = load_backend(
        bundle,
        settings['backend'],
        settings['threads'],
        cache_dir=expand(cache) if cache else None,
        allow_unverified=settings['engine.allow_unverified'],
        report=report,
        lanes=settings['workers'],
    )
    segmenter = Segmenter(bundle, backend)
    try:
        # The first call of each batch size allocates; this must not delay the first frame.
        blank = np.zeros((bundle.height, bundle.width, 3), np.uint8)
        for size in {1, settings['batch.max_size']}:
            segmenter.predict_prepared([blank] * size)
        if settings['self_test']:
            _test(segmenter, report)
    except BaseException:
        segmenter.close()
        raise
    return segmenter


def _test(segmenter: Segmenter, report: Report) -> None:
    agreement = self_test(segmenter)
    if agreement is None:
        bundle = segmenter.bundle
        report(f'{bundle.identity} {why_untested(bundle)}.')
    else:
        report(f'Agrees with the reference frames of the bundle in {agreement:.2%} of the pixels.')
