"""The self-test compares a network with the reference frames of its bundle."""

from __future__ import annotations

from pathlib import Path

import pytest
from probe import HEIGHT, reference_frame, write_probe_bundle

from dgss_core.errors import DgssError
from dgss_core.runtime.bundle import Bundle, ReferenceFrame, open_bundle
from dgss_core.runtime.segmenter import Segmenter
from dgss_core.runtime.self_test import self_test, why_untested


def bundle_with(folder: Path, *frames: ReferenceFrame) -> Bundle:
    return open_bundle(write_probe_bundle(folder / 'tested', frames=frames))


def test_the_agreement_is_the_share_of_equal_pixels(tmp_path: Path) -> None:
    bundle = bundle_with(
        tmp_path, reference_frame('day_0', 32, 0), reference_frame('day_1', 64, 1)
    )
    assert self_test(Segmenter(bundle)) == pytest.approx(1 - 1 / HEIGHT / 2)


def test_another_answer_is_refused_with_the_worst_reference_frame(tmp_path: Path) -> None:
    bundle = bundle_with(
        tmp_path, reference_frame('day_0', 32, 0), reference_frame('day_1', 64, 12)
    )
    with pytest.raises(DgssError, match=r'87\.5% of the pixels agree and 98\.5% must'):
        self_test(Segmenter(bundle))


def test_a_bundle_without_frames_cannot_be_tested(probe_bundle: Bundle) -> None:
    assert self_test(Segmenter(probe_bundle)) is None


def test_unsure_pixels_of_the_reference_do_not_count(tmp_path: Path) -> None:
    frame = reference_frame('day_0', 32, 40)
    frame.confidence[:40] = 100
    assert self_test(Segmenter(bundle_with(tmp_path, frame))) == 1.0


def test_frames_without_a_sure_pixel_are_named_as_the_reason(
    tmp_path: Path, probe_bundle: Bundle
) -> None:
    frame = reference_frame('day_0', 32)
    frame.confidence[:] = 100
    bundle = bundle_with(tmp_path, frame)
    assert self_test(Segmenter(bundle)) is None
    assert 'has 1 reference frames, but in none of them' in why_untested(bundle)
    assert why_untested(probe_bundle).startswith('has no reference frames')
