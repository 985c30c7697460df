"""Networks built from the records of the published systems."""

from __future__ import annotations

import torch

from dgss_core.labels import Label, LabelSet
from dgss_core.networks.adapters.reins import Reins
from dgss_core.networks.encoders.vits import dinov2, eva02
from dgss_core.networks.heads.mask2former import Mask2FormerHead
from dgss_core.networks.importers import mask2former_detectron2
from dgss_core.networks.importers.keys import load_exactly

MODULE = 1e-5
"""Largest difference of one module's outputs from the recorded ones."""


def clouds_head(record: dict) -> Mask2FormerHead:
    kwargs = record['kwargs']
    pixel, decoder = kwargs['pixel'], kwargs['decoder']
    head = Mask2FormerHead(
        kwargs['in_channels'],
        kwargs['strides'],
        decoder['num_classes'],
        width=pixel['conv_dim'],
        mask_width=pixel['mask_dim'],
        queries=decoder['num_queries'],
        encoder_layers=pixel['transformer_enc_layers'],
        encoder_heads=pixel['transformer_nheads'],
        encoder_hidden=pixel['transformer_dim_feedforward'],
        decoder_layers=decoder['dec_layers'],
        decoder_heads=decoder['nheads'],
        decoder_hidden=decoder['dim_feedforward'],
    )
    weights = mask2former_detectron2.mask2former_head(record['state_dict'])
    load_exactly(head, weights, 'the record')
    return head.eval()


def layout(path) -> dict[str, torch.Tensor]:
    """The tensors listed in a layout file, without data."""
    weights = {}
    for line in path.read_text().splitlines():
        name, _, shape = line.partition(' ')
        if not shape.startswith('('):
            continue
        size = [int(n) for n in shape.strip('()').split(',') if n.strip()]
        weights[name] = torch.empty(size, device='meta')
    return weights


def assert_close(ours, theirs, tolerance: float = MODULE) -> None:
    if isinstance(theirs, torch.Tensor):
        ours, theirs = [ours], [theirs]
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max().item() <= tolerance


def dinov2_of(kwargs: dict):
    assert kwargs['ffn_layer'] == 'mlp'
    assert all(kwargs[name] for name in ('qkv_bias', 'proj_bias', 'ffn_bias'))
    return dinov2(
        kwargs['embed_dim'],
        kwargs['depth'],
        kwargs['num_heads'],
        patch=kwargs['patch_size'],
        image_size=kwargs['img_size'],
        taps=kwargs['out_indices'],
        mlp_ratio=kwargs['mlp_ratio'],
        layer_scale=kwargs['init_values'],
        pad=False,
    ).eval()


def eva02_of(kwargs: dict, pyramid: str):
    assert all(kwargs[name] for name in ('rope', 'intp_freq', 'subln', 'naiveswiglu'))
    assert not any(kwargs.get(f'use_{name}rel_pos_bias') for name in ('', 'shared_'))
    return eva02(
        kwargs['embed_dim'],
        kwargs['depth'],
        kwargs['num_heads'],
        patch=kwargs['patch_size'],
        image_size=kwargs['img_size'],
        taps=kwargs['out_indices'],
        pyramid=pyramid,
        hidden=int(kwargs['embed_dim'] * kwargs['mlp_ratio']),
        trained_grid=kwargs['pt_hw_seq_len'],
        layer_scale=kwargs.get('init_values'),
        drop_path=kwargs['drop_path_rate'],
        table=kwargs.get('use_abs_pos_emb', True),
        pad=False,
    ).eval()


def reins_of(kwargs: dict) -> Reins:
    return Reins(
        kwargs['num_layers'],
        kwargs['embed_dims'],
        tokens=kwargs['token_length'],
        rank=kwargs.get('lora_dim'),
        query_width=kwargs['query_dims'],
        patch=kwargs['patch_size'],
        scale=kwargs.get('scale_init', 1e-3),
        softmax=kwargs.get('use_softmax', True),
        zero_delta=kwargs.get('zero_mlp_delta_f', False),
        link=kwargs.get('link_token_to_query', True),
    )


def label_set(count: int) -> LabelSet:
    return LabelSet('some', tuple(Label(i, f'label {i}', (i, i, i)) for i in range(count)))


def head_sizes(cfg: dict) -> dict:
    pixel, decoder = cfg['pixel_decoder']['encoder'], cfg['transformer_decoder']
    return {
        'width': cfg['feat_channels'],
        'mask_width': cfg['out_channels'],
        'groups': cfg['pixel_decoder']['norm_cfg']['num_groups'],
        'encoder_layers': pixel['num_layers'],
        'encoder_heads': pixel['layer_cfg']['self_attn_cfg']['num_heads'],
        'encoder_hidden': pixel['layer_cfg']['ffn_cfg']['feedforward_channels'],
        'decoder_layers': decoder['num_layers'],
        'decoder_heads': decoder['layer_cfg']['self_attn_cfg']['num_heads'],
        'decoder_hidden': decoder['layer_cfg']['ffn_cfg']['feedforward_channels'],
    }
