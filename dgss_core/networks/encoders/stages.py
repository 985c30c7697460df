"""ResNet and ConvNeXt of timm, one stage at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from dgss_core.errors import DgssError, one_line, shown
from dgss_core.networks.encoders.encoder import IMAGENET_MEAN, IMAGENET_STD, Encoder

# The import of timm takes as long as that of torch, and most networks do without.
if TYPE_CHECKING:
    from timm.models import FeatureListNet


class StagedEncoder(Encoder):
    """A timm network of four stages with maps at strides 4, 8, 16 and 32.

    `name` is timm's name without a tag. `options` go to timm's constructor (`drop_path_rate`).
    `size_multiple` is 1 for ResNet and 32 for ConvNeXt. With `norms` a layer norm over the
    channels follows each map, as in OpenMMLab's ConvNeXt; the last one is pre-trained.
    """

    network: FeatureListNet
    new_parts = (*Encoder.new_parts, 'norms.')

    def __init__(
        self,
        name: str,
        size_multiple: int,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        pad: bool = True,
        norms: bool = False,
        **options: Any,
    ) -> None:
        import timm
        from timm.models import FeatureListNet

        _check_options(name, options)
        network = timm.create_model(name, features_only=True, **options)
        assert isinstance(network, FeatureListNet)
        info = [
            (entry['module'].replace('.', '_'), entry['num_chs'], entry['reduction'])
            for entry in network.feature_info.get_dicts()
            if entry['reduction'] >= 4
        ]
        names, channels, strides = zip(*info, strict=True)
        super().__init__(channels, strides, size_multiple, mean, std, pad)
        self.network, self.ends = network, names
        self.norms = nn.ModuleList(nn.LayerNorm(c, eps=1e-6) for c in channels if norms)
        self.ends_in_relu = _ends_in_relu(self.first_stage())

    def maps(self, x: Tensor) -> list[Tensor]:
        maps: list[Tensor] = []
        for name, part in self.network.items():
            if name in self.ends:
                x = self._stage(part, x, len(maps))
                maps.append(self._normed(x, len(maps)))
            else:
                x = part(x)
        return maps

    @property
    def adapted(self) -> tuple[int, ...]:
        return tuple(len(_parts(self.network[name])[1]) for name in self.ends)

    def _stage(self, part: nn.Module, x: Tensor, stage: int) -> Tensor:
        if self.adapter is None:
            return self.run(part, x)
        before, blocks = _parts(part)
        for module in before:
            x = module(x)
        for index, block in enumerate(blocks):
            x = self.adapt(self.run(block, x), stage, index)
        return x

    def _normed(self, x: Tensor, stage: int) -> Tensor:
        if not self.norms:
            return x
        return self.norms[stage](x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def trunk(self) -> list[list[nn.Module]]:
        # A norm comes first so that the last module of each stage is a block.
        stages: list[list[nn.Module]] = [list(self.norms[:1])]
        for name, part in self.network.items():
            before, blocks = _parts(part)
            stages[-1] += before + blocks
            if name in self.ends[:-1]:
                stages.append(list(self.norms[len(stages) : len(stages) + 1]))
        return stages


def _check_options(name: object, options: Mapping[str, Any]) -> None:
    """Raise DgssError for an option that makes timm load a file or a download.

    Options come with recipes and checkpoints; the sizes of a network are numbers.
    """
    import timm

    if not isinstance(name, str) or not timm.is_model(name):
        raise DgssError(f'timm has no network {shown(name)}; leave the name out of the options.')
    for key, value in options.items():
        values = value if isinstance(value, list | tuple) else [value]
        plain = all(isinstance(entry, bool | int | float | None) for entry in values)
        if not plain or key.startswith('pretrained'):
            raise DgssError(
                f'The encoder takes no {one_line(key, 60)} {shown(value)}; give sizes of the '
                'network as numbers, and a file as weights.'
            )


def _ends_in_relu(block: nn.Module) -> bool:
    from timm.models.resnet import BasicBlock, Bottleneck

    if isinstance(block, Bottleneck):
        return isinstance(block.act3, nn.ReLU)
    return isinstance(block, BasicBlock) and isinstance(block.act2, nn.ReLU)


def _parts(part: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """What a part of the network runs before its blocks, and the blocks."""
    from timm.models.convnext import ConvNeXtStage

    if isinstance(part, ConvNeXtStage):
        return [part.downsample], list(part.blocks)
    return [], list(part) if isinstance(part, nn.Sequential) else [part]
