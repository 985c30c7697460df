"""Encoder-only mask transformer: queries join the last blocks of a ViT (EoMT, CVPR 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2

import torch
from torch import Tensor, nn

from dgss_core.errors import DgssError
from dgss_core.networks.encoders.positions import Grid, Rotation
from dgss_core.networks.encoders.vit import VisionTransformer
from dgss_core.networks.heads.mask2former.decoder import QueryMasks, mlp3
from dgss_core.networks.heads.mask2former.head import class_scores
from dgss_core.networks.heads.vit_queries import VitQueryHead
from dgss_core.networks.losses.counts import Counts
from dgss_core.networks.losses.set_criterion import SetCriterion
from dgss_core.networks.resize import resize


class Upscale(nn.Module):
    """Doubles the size: transposed convolution, GELU, depthwise 3x3, norm over the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.smooth = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.smooth(nn.functional.gelu(self.up(x)))
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class EomtHead(VitQueryHead):
    """The last blocks of a ViT, with queries among the tokens, and two small predictors.

    In training each query attends only to patches inside its mask predicted before the block, as
    in Mask2Former. `anneal` gradually removes the masking: in evaluation nothing is masked and no
    intermediate mask is needed, only a plain ViT with a few more tokens. Every masked block adds a
    prediction to the loss.

    Args:
        channels, strides: of the single map that the first block receives. The class token and the
            registers follow it if the encoder keeps them, as in the published network.
        blocks: called as `block(tokens (B,N,C), grid, allowed)`, see `encoders.vit.Block`.
        rotation: rotary positions of the ViT, if it has them.
        prefix: number of class tokens and registers that follow the map.
    """

    takes_prefix = True
    masked_share: Tensor

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        blocks: Sequence[nn.Module] = (),
        rotation: Rotation | None = None,
        queries: int = 100,
        criterion: SetCriterion | None = None,
        prefix: int = 0,
    ) -> None:
        doublings = max(1, round(log2(max(strides[0] // 4, 1))))
        super().__init__(channels, strides, num_classes, max(1, strides[0] // 2**doublings))
        if len(strides) != 1 or strides[0] < 2:
            raise DgssError(
                f'the encoder-only head works on one map of stride 2 or more, not on strides '
                f'{tuple(strides)}; give the ViT a single tap and no pyramid.'
            )
        (width,) = self.channels
        self.blocks = nn.ModuleList(blocks)
        self.add_queries(queries, rotation, prefix)
        self.mask_embedding = mlp3(width, width, nn.GELU)
        self.upscale = nn.Sequential(*(Upscale(width) for _ in range(doublings)))
        self.criterion = criterion or SetCriterion()
        self.register_buffer('masked_share', torch.ones(len(blocks)))

    def taken_blocks(self) -> list[nn.Module]:
        return list(self.blocks)

    def anneal(self, progress: float) -> None:
        """Set the share of masked queries in each block.

        Training has (blocks + 2) equal parts. Block i goes from all queries to none in part i + 1
        (both counted from 0), as (1 - t)^0.9. In the first and the last part nothing changes.
        """
        steps = len(self.blocks) + 2
        start = torch.arange(1, steps - 1) / steps
        within = ((progress - start) * steps).clamp(0, 1)
        self.masked_share.copy_((1 - within) ** 0.9)

    def forward(self, features: list[Tensor]) -> Tensor:
        return class_scores(self.predict(features)[-1])

    def at_size(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        return class_scores(self.predict(features)[-1], size)

    def loss(
        self, features: list[Tensor], labels: Tensor, *, counts: Counts | None = None
    ) -> dict[str, Tensor]:
        return self.criterion(self.predict(features), labels, counts)

    def predict(self, features: list[Tensor]) -> list[QueryMasks]:
        """Predictions before each block (only in training) and after the last."""
        tokens, grid = self.join(*features)
        predictions = []
        for block, share in zip(self.blocks, self.masked_share, strict=True):
            allowed = None
            if self.training:
                predictions.append(self.read(tokens, grid))
                allowed = self.allowed(predictions[-1].masks, grid, share, tokens.shape[1])
            tokens = block(tokens, grid, allowed)
        return [*predictions, self.read(tokens, grid)]

    def read(self, tokens: Tensor, grid: Grid) -> QueryMasks:
        """Predict classes and masks from the current tokens."""
        queries, patches = self.split(tokens, grid)
        return self.masks(queries, self.upscale(patches))

    def allowed(self, masks: Tensor, grid: Grid, share: Tensor, tokens: int) -> Tensor:
        """(B,1,N,N) bool for N `tokens`: a masked query attends to its own patches only.

        It also attends to all queries and the prefix; all other tokens attend to all. A query is
        masked with probability `share`. `masks` are logits (B,queries,h,w).
        """
        inside = resize(masks.detach(), (grid.height, grid.width)).flatten(2) > 0
        free = torch.rand(inside.shape[:2], device=inside.device) >= share
        inside = inside | free.unsqueeze(2)
        batch, queries, patches = inside.shape
        seen = torch.cat((inside.new_ones(batch, queries, tokens - patches), inside), dim=2)
        others = inside.new_ones(batch, tokens - queries, tokens)
        return torch.cat((seen, others), dim=1).unsqueeze(1)


def split_off_head(
    encoder: VisionTransformer,
    num_classes: int,
    blocks: int = 4,
    queries: int = 100,
    criterion: SetCriterion | None = None,
) -> EomtHead:
    """Move the last `blocks` blocks of a ViT into a new EomtHead.

    The encoder must have a single tap, directly before these blocks, and no pyramid; otherwise
    DgssError is raised. `keep_prefix=True` of the encoder gives the head its class token and its
    registers too, as published. The head begins with the pre-trained last norm of the ViT.
    """
    taken = take_last_blocks(encoder, blocks)
    head = EomtHead(
        encoder.channels,
        encoder.strides,
        num_classes,
        taken,
        encoder.rotation,
        queries,
        criterion,
        encoder.embed.prefix if encoder.keep_prefix else 0,
    )
    if encoder.last_norm:
        head.norm.load_state_dict(encoder.last_norm)
    return head


def take_last_blocks(encoder: VisionTransformer, count: int) -> list[nn.Module]:
    """Remove the last `count` blocks of a ViT and return them; raises as `split_off_head`."""
    first = len(encoder.blocks) - count
    if count < 1 or encoder.taps != (first - 1,) or len(encoder.channels) != 1:
        raise DgssError(
            f'a ViT of {len(encoder.blocks)} blocks that keeps its last {count} for the head '
            f"needs taps=({first - 1},) and pyramid='none', not taps={encoder.taps}."
        )
    taken = list(encoder.blocks[first:])
    encoder.blocks = encoder.blocks[:first]
    return taken
