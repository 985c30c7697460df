"""The layout of the official files of Segment Anything (facebookresearch/segment-anything)."""

from __future__ import annotations

Shapes = dict[str, tuple[int, ...]]


def official_sam(width: int, depth: int, heads: int, grid: int) -> Shapes:
    """Keys and shapes of a file of segment-anything, with some of the parts behind the encoder."""
    shapes: Shapes = {
        'pos_embed': (1, grid, grid, width),
        'patch_embed.proj.weight': (width, 3, 16, 16),
        'patch_embed.proj.bias': (width,),
        'neck.0.weight': (256, width, 1, 1),
        'neck.1.weight': (256,),
        'neck.1.bias': (256,),
        'neck.2.weight': (256, 256, 3, 3),
        'neck.3.weight': (256,),
        'neck.3.bias': (256,),
    }
    linears = {'attn.qkv': (3 * width, width), 'attn.proj': (width, width)}
    linears |= {'mlp.lin1': (4 * width, width), 'mlp.lin2': (width, 4 * width)}
    for block in range(depth):
        name = f'blocks.{block}'
        for layer, shape in linears.items():
            shapes |= {f'{name}.{layer}.weight': shape, f'{name}.{layer}.bias': shape[:1]}
        for norm in ('norm1', 'norm2'):
            shapes |= {f'{name}.{norm}.weight': (width,), f'{name}.{norm}.bias': (width,)}
        side = grid if (block + 1) % (depth // 4) == 0 else 14
        for axis in 'hw':
            shapes[f'{name}.attn.rel_pos_{axis}'] = (2 * side - 1, width // heads)
    behind: Shapes = {'prompt_encoder.no_mask_embed.weight': (1, 256)}
    behind['mask_decoder.iou_token.weight'] = (1, 256)
    return {f'image_encoder.{key}': shape for key, shape in shapes.items()} | behind
