"""EoMT under the names of its authors (tue-mps/eomt), around timm's ViT with registers."""

from __future__ import annotations

import timm
import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn

NETWORKS = {size: f'vit_{size}_patch14_reg4_dinov2' for size in ('small', 'base', 'large')}


class Scale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.ConvTranspose2d(width, width, 2, 2)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.norm = LayerNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv2(nn.functional.gelu(self.conv1(x))))


class AuthorsEomt(nn.Module):
    """The network as in its evaluation: nothing is masked. `options` are those of timm."""

    def __init__(self, size: str, classes: int, queries: int, blocks: int = 4, **options) -> None:
        super().__init__()
        backbone = timm.create_model(NETWORKS[size], patch_size=16, num_classes=0, **options)
        width = backbone.embed_dim
        self.encoder = nn.Module()
        self.encoder.backbone = backbone
        for name in ('pixel_mean', 'pixel_std'):
            self.encoder.register_buffer(name, torch.zeros(1, 3, 1, 1))
        self.register_buffer('attn_mask_probs', torch.zeros(blocks))
        self.q = nn.Embedding(queries, width)
        self.class_head = nn.Linear(width, classes + 1)
        linear = [nn.Linear(width, width) for _ in range(3)]
        self.mask_head = nn.Sequential(linear[0], nn.GELU(), linear[1], nn.GELU(), linear[2])
        self.upscale = nn.Sequential(Scale(width), Scale(width))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Class and mask logits for normalised images."""
        vit, queries = self.encoder.backbone, self.q.weight
        first = len(vit.blocks) - len(self.attn_mask_probs)
        x = vit._pos_embed(vit.patch_embed(x))
        for index, block in enumerate(vit.blocks):
            if index == first:
                x = torch.cat((queries.expand(len(x), -1, -1), x), dim=1)
            x = block(x)
        x = vit.norm(x)
        asked, patches = x[:, : len(queries)], x[:, len(queries) + vit.num_prefix_tokens :]
        maps = patches.transpose(1, 2).unflatten(2, vit.patch_embed.grid_size)
        masks = torch.einsum('bqc,bchw->bqhw', self.mask_head(asked), self.upscale(maps))
        return self.class_head(asked), masks
