"""Score a bundle on a labelled bag, per condition.

    dgss bag write synthetic --output drive        # or a bag of yours with /camera/labels
    python examples/score_bag.py drive

The labels lie on `labels` beside the image topic, the condition on `condition`; see
docs/evaluation.md.
"""

from __future__ import annotations

import sys
from collections import defaultdict

import dgss_core as dgss


def main(bag: str, label_set: str = 'cityscapes19') -> None:
    labels = dgss.LabelSet.load(label_set)
    scores: dict[str, dgss.ConfusionMatrix] = defaultdict(lambda: dgss.ConfusionMatrix(labels))
    with dgss.Segmenter(dgss.open_bundle()) as segmenter:
        merge = segmenter.labels.merge_to(labels)
        for frame in dgss.read_bag(bag):
            if frame.labels is None:
                continue
            mask = merge[segmenter(frame.image).mask]
            scores[frame.condition or 'unknown'].add(mask, frame.labels)
    if not scores:
        raise dgss.DgssError(f'{bag} holds no labels; record them beside the images.')
    for condition, matrix in scores.items():
        print(f'{condition:8} mIoU {matrix.miou:.1%}')


if __name__ == '__main__':
    if not 2 <= len(sys.argv) <= 3:
        sys.exit('usage: python examples/score_bag.py BAG [LABEL_SET]')
    try:
        main(*sys.argv[1:])
    except dgss.DgssError as error:
        sys.exit(f'error: {error}')
