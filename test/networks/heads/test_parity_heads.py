"""Heads and losses against recorded outputs of the published systems, through our importers."""

import pytest
import torch
from records import (
    MODULE,
    assert_close,
    clouds_head,
    dinov2_of,
    eva02_of,
    head_sizes,
    layout,
    reins_of,
)

from dgss_core.errors import DgssError
from dgss_core.networks.heads.deeplab import DeepLabHead
from dgss_core.networks.heads.mask2former import Mask2FormerHead
from dgss_core.networks.heads.mask2former.decoder import MaskDecoder
from dgss_core.networks.heads.mask2former.text_classifier import TextClassifier
from dgss_core.networks.importers import mask2former_detectron2, mask2former_mmdet
from dgss_core.networks.importers.adapters import import_reins
from dgss_core.networks.importers.encoders import import_dinov2, import_eva02
from dgss_core.networks.importers.famix_head import deeplab_head
from dgss_core.networks.importers.keys import load_exactly, take_prefix
from dgss_core.networks.inference import slide
from dgss_core.networks.losses.matching import targets_of
from dgss_core.networks.losses.set_criterion import SetCriterion
from dgss_core.networks.undrawn import Undrawn

MODEL = 1e-4
"""Largest difference of a whole model's scores from the recorded ones."""


def mmdet_head(record: dict) -> Mask2FormerHead:
    """The head of a Rein or VLTSeg configuration, with the record's weights."""
    cfg = record['cfg']['decode_head']
    train = cfg['train_cfg']
    criterion = SetCriterion(
        weights=tuple(cfg[k]['loss_weight'] for k in ('loss_cls', 'loss_mask', 'loss_dice')),
        costs=tuple(cost['weight'] for cost in train['assigner']['match_costs']),
        no_object=cfg['loss_cls']['class_weight'][-1],
        points=train['num_points'],
        oversample=train['oversample_ratio'],
        unsure=train['importance_sample_ratio'],
    )
    head = Mask2FormerHead(
        cfg['in_channels'],
        cfg['strides'],
        cfg['num_classes'],
        **head_sizes(cfg),
        queries=cfg['num_queries'],
        points=cfg['pixel_decoder']['encoder']['layer_cfg']['self_attn_cfg']['num_points'],
        linked=cfg.get('replace_query_feat', False),
        criterion=criterion,
    )
    weights = take_prefix(record['state_dict'], 'decode_head.')
    load_exactly(head, mask2former_mmdet.mask2former_head(weights), 'the record')
    return head.eval()


@pytest.mark.parametrize('name', ['rein_full_model', 'vltseg_full_model'])
@torch.no_grad()
def test_mmdet_mask2former(record, name):
    r = record(name)
    head, theirs = mmdet_head(r), r['outputs']
    queries = theirs.get('queries')
    predictions = head.predict(theirs['feats'], queries)
    assert len(predictions) == len(theirs['cls']) == len(head.decoder.layers) + 1
    for ours, classes, masks in zip(predictions, theirs['cls'], theirs['mask'], strict=True):
        assert_close(ours.classes, classes)
        assert_close(ours.masks, masks)
    linked = {'queries': queries} if head.decoder.linked else {}
    scores = head.at_size(theirs['feats'], r['inputs']['x'].shape[-2:], **linked)
    assert_close(scores, theirs['seg_logits'])


@torch.no_grad()
def test_rein_pixel_decoder(record):
    r = record('rein_full_model')
    mask_feature, memories = mmdet_head(r).pixel_decoder(r['outputs']['feats'])
    assert_close(mask_feature, r['outputs']['mask_features'])
    for ours, theirs in zip(memories, r['outputs']['multi_scale'], strict=True):
        assert_close(ours, theirs)


def test_rein_losses(record):
    r = record('rein_full_model')
    head, theirs = mmdet_head(r), r['outputs']['loss']
    torch.manual_seed(r['inputs']['loss_seed'])
    ours = head.loss(r['outputs']['feats'], r['inputs']['label'][:, 0], r['outputs']['queries'])
    assert len(ours) == len(theirs)
    last = len(head.decoder.layers)
    names = {'loss_cls': 'class', 'loss_mask': 'mask', 'loss_dice': 'dice'}
    for name, value in theirs.items():
        layer, _, kind = name.rpartition('.')
        index = int(layer[1:]) if layer else last
        assert ours[f'{names[kind]}_{index}'].item() == pytest.approx(value.item(), abs=MODULE)


def rein_encoder(record: dict):
    """DINOv2 with Rein, as in the record's configuration."""
    cfg = record['cfg']['backbone']
    encoder = dinov2_of(cfg)
    encoder.adapter = reins_of(cfg['reins_config'])
    weights = take_prefix(record['state_dict'], 'backbone.')
    base = {k: v for k, v in weights.items() if not k.startswith('reins.')}
    adapter = import_reins(take_prefix(weights, 'reins.'))
    adapter = {f'adapter.{key}': value for key, value in adapter.items()}
    load_exactly(encoder, import_dinov2(base) | adapter, 'the record')
    return encoder.eval()


def vltseg_encoder(record: dict):
    encoder = eva02_of(record['cfg']['backbone'], 'learned')
    weights = import_eva02(take_prefix(record['state_dict'], 'backbone.'))
    load_exactly(encoder, weights, 'the record')
    return encoder.eval()


@pytest.mark.parametrize(
    ('name', 'build'), [('rein_full_model', rein_encoder), ('vltseg_full_model', vltseg_encoder)]
)
@torch.no_grad()
def test_whole_image_and_sliding_window(record, name, build):
    r = record(name)
    encoder, head, theirs = build(r), mmdet_head(r), r['outputs']
    linked = {}
    if head.decoder.linked:
        linked['queries'] = encoder.adapter.queries()
        assert_close(linked['queries'], theirs['queries'])
    features = encoder(r['inputs']['x'])
    for ours, recorded in zip(features, theirs['feats'], strict=True):
        assert_close(ours, recorded)

    def model(images):
        return head.at_size(encoder(images), images.shape[-2:], **linked)

    assert_close(model(r['inputs']['x']), theirs['seg_logits'], MODEL)
    test = r['cfg']['test_cfg']
    for batch in (1, 3):
        scores = slide(model, r['inputs']['big'], test['crop_size'], test['stride'], batch=batch)
        assert_close(scores, theirs['slide'], MODEL)


@torch.no_grad()
def test_clouds_mask2former(record):
    r = record('clouds_mask2former')
    # In float64: the record's own rounding is 0.9e-5 here, and that of float32 differs by CPU.
    head, theirs = clouds_head(r).double(), r['outputs']
    features = [r['inputs'][name].double() for name in sorted(r['inputs'])]
    mask_feature, memories = head.pixel_decoder(features)
    assert_close(mask_feature, theirs['mask_features'])
    for ours, memory in zip(memories, theirs['multi_scale'], strict=True):
        assert_close(ours, memory)
    *auxiliary, last = head.predict(features)
    assert_close(last.classes, theirs['pred_logits'])
    assert_close(last.masks, theirs['pred_masks'])
    aux = zip(auxiliary, theirs['aux_logits'], theirs['aux_masks'], strict=True)
    for ours, classes, masks in aux:
        assert_close(ours.classes, classes)
        assert_close(ours.masks, masks)


@torch.no_grad()
def test_clouds_text_decoder(record):
    r = record('clouds_text_decoder')
    k, inputs = r['kwargs'], r['inputs']
    # Their tensor holds the text, then the vector of "no object".
    text, none = inputs['text'][:-1], inputs['text'][-1:]
    classifier = TextClassifier(k['hidden_dim'], k['mask_dim'], text, inputs['templates'])
    decoder = MaskDecoder(
        classifier,
        k['num_queries'],
        k['hidden_dim'],
        k['mask_dim'],
        levels=len(inputs['multi_scale']),
        layers=k['dec_layers'],
        heads=k['nheads'],
        hidden=k['dim_feedforward'],
    )
    weights = mask2former_detectron2.mask_decoder(r['state_dict'])
    load_exactly(decoder, {**weights, 'classifier.none': none}, 'the record')
    last = decoder(inputs['mask_features'], inputs['multi_scale'])[-1]
    assert_close(last.classes, r['outputs']['pred_logits'])
    assert_close(last.masks, r['outputs']['pred_masks'])


@torch.no_grad()
def test_clouds_criterion(record):
    r, predicted = record('clouds_criterion'), record('clouds_mask2former')['outputs']
    k, labels = r['kwargs'], r['inputs']['seg']
    criterion = SetCriterion(
        weights=(1.0, 1.0, 1.0),
        costs=tuple(k['cost']),
        no_object=k['eos'],
        points=k['num_points'],
        oversample=k['oversample'],
        unsure=k['importance'],
        last_first=True,
    )
    predictions = list(zip(predicted['aux_logits'], predicted['aux_masks'], strict=True))
    predictions.append((predicted['pred_logits'], predicted['pred_masks']))
    torch.manual_seed(r['inputs']['seed_match'])
    matches = criterion.matches(*predictions[-1], targets_of(labels))
    for ours, theirs in zip(matches, r['outputs']['match'], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    torch.manual_seed(r['inputs']['seed_loss'])
    ours, theirs = criterion(predictions, labels), r['outputs']['loss']
    assert len(ours) == len(theirs)
    names = {'ce': 'class', 'mask': 'mask', 'dice': 'dice'}
    for name, value in theirs.items():
        _, kind, *index = name.split('_')
        key = f'{names[kind]}_{index[0] if index else len(predictions) - 1}'
        assert ours[key].item() == pytest.approx(value.item(), abs=MODULE)


@torch.no_grad()
def test_famix_deeplab_head(record):
    r = record('famix_deeplab_head')
    k, inputs = r['kwargs'], r['inputs']
    head = DeepLabHead(
        (k['low_level_channels'], k['in_channels']),
        (4, 16),
        k['num_classes'],
        dilations=k['aspp_dilate'],
    ).eval()
    load_exactly(head, deeplab_head(r['state_dict']), 'the record')
    assert_close(head([inputs['low_level'], inputs['out']]), r['outputs']['logits'])


def test_published_rein_head_fits_the_full_size_model(shared):
    weights = take_prefix(layout(shared / 'parity' / 'rein_full_layout.txt'), 'decode_head.')
    with torch.device('meta'), Undrawn():
        head = Mask2FormerHead((1024,) * 4, (4, 8, 16, 32), 19, linked=True)
    load_exactly(head, mask2former_mmdet.mask2former_head(weights), 'the layout')
    assert sum(w.numel() for w in weights.values()) == 20_579_796


def small_head() -> Mask2FormerHead:
    return Mask2FormerHead(
        (4, 4),
        (4, 8),
        3,
        width=8,
        mask_width=8,
        queries=3,
        groups=2,
        encoder_layers=1,
        encoder_heads=2,
        encoder_hidden=8,
        decoder_layers=1,
        decoder_heads=2,
        decoder_hidden=8,
    )


def test_importers_refuse_what_they_do_not_know():
    with pytest.raises(DgssError, match=r"mmdetection's naming: unknown weights cls_embedding\.w"):
        mask2former_mmdet.mask2former_head({'cls_embedding.w': torch.zeros(1)})
    with pytest.raises(DgssError, match='and 2 more'):
        mask2former_detectron2.mask_decoder({f'layer.{i}': torch.zeros(1) for i in range(5)})
    with pytest.raises(DgssError, match='DeepLabV3'):
        deeplab_head({'classifier.2.weight': torch.zeros(1)})


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda w: w.pop('decoder.norm.weight'), r'missing: decoder\.norm\.weight'),
        (lambda w: w.update(extra=torch.zeros(1)), 'unexpected: extra'),
        (
            lambda w: w.update({'decoder.norm.bias': torch.zeros(9)}),
            r'another shape: decoder\.norm\.bias \(9,\) instead of \(8,\)',
        ),
    ],
)
def test_a_partial_load_is_refused(change, said):
    head = small_head()
    before = {k: v.clone() for k, v in head.state_dict().items()}
    weights = {k: v + 1 for k, v in before.items()}
    change(weights)
    with pytest.raises(DgssError, match=said):
        load_exactly(head, weights, 'head.pt')
    assert all(torch.equal(v, before[k]) for k, v in head.state_dict().items())


def test_torch_attention_is_split_into_query_key_and_value():
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True).eval()
    prefix = 'transformer_decoder.layers.0.self_attn.attn.'
    weights = {prefix + k: v for k, v in theirs.state_dict().items()}
    head = small_head().eval()
    state = head.state_dict()
    state.update(mask2former_mmdet.mask2former_head(weights))
    head.load_state_dict(state)
    x, keys = torch.randn(2, 5, 8), torch.randn(2, 7, 8)
    ours = head.decoder.layers[0].self_(x, keys, keys)
    assert torch.allclose(ours, theirs(x, keys, keys)[0], atol=1e-6)
