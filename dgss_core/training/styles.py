"""Language-guided styles of FAMix (Fahes et al., CVPR 2024): mined per class, mixed per patch.

A style is the mean and standard deviation of every channel of the encoder's first stage. Mining
(section 3.2) optimises styles until CLIP's image embedding of the patch is close to a text
embedding. Training (section 3.3) replaces the style of every patch by a mixture of its own style
and a mined style of the same class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Beta

from dgss_core.errors import DgssError, missing_error, one_line
from dgss_core.labels import IGNORE, LabelSet
from dgss_core.networks.checkpoint import write_tensors
from dgss_core.networks.tensor_files import read_tensors

SCHEMA = 'dgss-styles/1'
VOID = 'void'
"""Name of unlabelled patches, class 255, in a saved bank."""


def channel_statistics(x: Tensor, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (unbiased, of variance + eps) of each channel of each map.

    (B,C,H,W) to two (B,C,1,1).
    """
    mean = x.mean(dim=(2, 3), keepdim=True)
    variance = x.var(dim=(2, 3), keepdim=True)
    return mean, (variance + eps).sqrt()


def split_patches(x: Tensor, side: int = 3) -> Tensor:
    """(B,C,H,W) to (side*side*B,C,h,w): patches row by row, each for all images.

    Raises DgssError if `side` does not divide height and width.
    """
    height, width = x.shape[-2:]
    if height % side or width % side:
        raise DgssError(
            f'a map of {height}x{width} cannot be cut into {side}x{side} equal patches; '
            f'train with crops whose map {side} divides.'
        )
    rows = x.unflatten(3, (side, -1)).unflatten(2, (side, -1))
    return rows.permute(2, 4, 0, 1, 3, 5).flatten(0, 2)


def join_patches(patches: Tensor, side: int = 3) -> Tensor:
    """The inverse of `split_patches`."""
    rows = patches.unflatten(0, (side, side, -1)).permute(2, 3, 0, 4, 1, 5)
    return rows.flatten(4, 5).flatten(2, 3)


def patch_classes(labels: Tensor, side: int = 3) -> Tensor:
    """(side*side*B,): the most frequent id of every patch of labels (B,H,W), 255 included.

    A tie gives the smallest id.
    """
    patches = split_patches(labels.unsqueeze(1), side).flatten(1)
    counts = patches.new_zeros(len(patches), IGNORE + 1, dtype=torch.int32)
    counts.scatter_add_(1, patches.long(), torch.ones_like(patches, dtype=torch.int32))
    return counts.argmax(dim=1)


def first_of_each_class(classes: Sequence[int]) -> list[int]:
    """Index of the first patch of every class; a batch is mined for these patches."""
    first: dict[int, int] = {}
    for index, label in enumerate(classes):
        first.setdefault(int(label), index)
    return list(first.values())


@dataclass
class StyleBank:
    """Mined styles: class id (255: unlabelled) -> (K,2,C), means and standard deviations."""

    styles: dict[int, Tensor]

    @classmethod
    def of_published(
        cls, saved: Mapping[str, Sequence[Tensor]], names: Sequence[str]
    ) -> StyleBank:
        """A bank from FAMix's lists `<class>_mu` and `<class>_std`; `names` in the order of ids.

        Raises DgssError for unknown classes and for means without standard deviations.
        """
        ids = {name: index for index, name in enumerate(names)} | {str(IGNORE): IGNORE}
        known = {f'{name}_{kind}' for name in ids for kind in ('mu', 'std')}
        unknown = sorted(set(saved) - known)
        lonely = [
            n for n in ids if len(saved.get(f'{n}_mu', ())) != len(saved.get(f'{n}_std', ()))
        ]
        if unknown or lonely:
            raise DgssError(
                f'this is not a style bank of FAMix for these classes (unknown: {unknown[:3]}, '
                f'means without deviations: {lonely[:3]}); use the label set it was mined with.'
            )
        styles = {}
        for name, index in ids.items():
            pairs = zip(saved.get(f'{name}_mu', ()), saved.get(f'{name}_std', ()), strict=True)
            found = [torch.stack((mean.flatten(), std.flatten())) for mean, std in pairs]
            if found:
                styles[index] = torch.stack(found)
        return cls(styles)

    def save(self, path: Path, label_set: LabelSet, encoder: str) -> None:
        """Write the styles by class name, with `encoder` in the metadata."""
        metadata = {'schema': SCHEMA, 'label_set': label_set.name, 'encoder': encoder}
        write_tensors(self.named(label_set), path, metadata)

    def named(self, label_set: LabelSet) -> dict[str, Tensor]:
        """The styles by class name."""
        names = {**dict(enumerate(label_set.names)), IGNORE: VOID}
        return {names[index]: styles for index, styles in self.styles.items()}

    @classmethod
    def load(cls, path: Path, label_set: LabelSet, encoder: str) -> StyleBank:
        """Read a saved bank. Raises DgssError if its label set or its encoder is another one."""
        if not path.is_file():
            raise missing_error(
                path, f'There is no style bank {path}; make it with dgss mine-styles.'
            )
        metadata, tensors = read_tensors(path)
        found = tuple(metadata.get(key) for key in ('schema', 'label_set', 'encoder'))
        if found != (SCHEMA, label_set.name, encoder):
            raise DgssError(
                f'{path} holds styles of {one_line(found[1])} for {one_line(found[2])}, not of '
                f'{label_set.name} for {encoder}; mine a bank for this training with '
                'dgss mine-styles.'
            )
        ids = {name: index for index, name in enumerate(label_set.names)} | {VOID: IGNORE}
        channels = {tuple(styles.shape[1:]) for styles in tensors.values()}
        empty = any(styles.ndim != 3 or not len(styles) for styles in tensors.values())
        if set(tensors) - set(ids) or empty or len(channels) != 1 or min(channels)[0] != 2:
            raise DgssError(
                f'{path} is a damaged style bank; mine it again with dgss mine-styles.'
            )
        return cls({ids[name]: styles for name, styles in tensors.items()})

    def add(self, classes: Sequence[int], means: Tensor, stds: Tensor) -> None:
        """Add one style to each of K classes: means and standard deviations (K,C,1,1)."""
        pairs = torch.stack((means.flatten(1), stds.flatten(1)), dim=1).detach().cpu()
        for label, pair in zip(classes, pairs, strict=True):
            old = self.styles.get(int(label))
            new = pair.unsqueeze(0)
            self.styles[int(label)] = new if old is None else torch.cat((old, new))

    def draw(self, classes: Sequence[int], random: Random) -> tuple[Tensor, Tensor]:
        """Means and standard deviations (K,C,1,1) of a random style for each of K classes.

        A class without styles gets one of class 255. Raises DgssError if that has none either.
        """
        drawn = []
        for label in classes:
            styles = self.styles.get(int(label), self.styles.get(IGNORE))
            if styles is None:
                raise DgssError(
                    f'the style bank has neither class {int(label)} nor {IGNORE}; mine it on '
                    f'the training set first.'
                )
            drawn.append(styles[random.choice(range(len(styles)))])
        means, stds = torch.stack(drawn).unbind(dim=1)
        return means[..., None, None], stds[..., None, None]


def restyle(normalised: Tensor, means: Tensor, stds: Tensor, rectify: bool = True) -> Tensor:
    """Apply the style `means`, `stds` (K,C,1,1) to normalised patches (K,C,h,w).

    `rectify` applies a ReLU after it.
    """
    styled = stds * normalised + means
    return F.relu(styled) if rectify else styled


def normalise(patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Patches (K,C,h,w) without their style; its means and standard deviations (K,C,1,1)."""
    means, stds = channel_statistics(patches)
    return (patches - means) / stds, means, stds


def draw_shares(batch: int, channels: int, alpha: float = 0.1) -> Tensor:
    """(B,C,1,1): share of a patch's own style, 0 to 1, drawn from Beta(alpha,alpha)."""
    return Beta(alpha, alpha).sample((batch, channels, 1, 1))


def mix_styles(
    low: Tensor,
    classes: Tensor,
    bank: StyleBank,
    shares: Tensor | float,
    random: Random,
    side: int = 3,
    rectify: bool = True,
) -> Tensor:
    """First-stage maps (B,C,H,W) in mixed styles, patch by patch.

    Args:
        classes: (side*side*B,) from `patch_classes`.
        shares: (B,C,1,1) from `draw_shares`, the same for all patches of an image; 0 uses only
            the mined style.
        random: draws the styles in the order of `classes`.
        rectify: whether the stage ends in a ReLU.
    """
    normalised, means, stds = normalise(split_patches(low, side))
    mined_means, mined_stds = (x.to(low) for x in bank.draw(classes.tolist(), random))
    if isinstance(shares, Tensor):
        shares = shares.repeat(side * side, 1, 1, 1)
    means = shares * means + (1 - shares) * mined_means
    stds = shares * stds + (1 - shares) * mined_stds
    return join_patches(restyle(normalised, means, stds, rectify), side)


def mine_styles(
    patches: Tensor,
    targets: Tensor,
    embed: Callable[[Tensor], Tensor],
    steps: int = 100,
    size: int | None = 56,
    lr: float = 1.0,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
) -> tuple[Tensor, Tensor, list[float]]:
    """Styles (K,C,1,1) that move patches (K,C,h,w) closer to text embeddings (K,E).

    Args:
        embed: frozen rest of CLIP, first-stage maps to image embeddings (K,E).
        size: patches are pooled to this side, that of CLIP's own first-stage map; None does not
            pool.

    Returns:
        Means, standard deviations, and the loss before every step.
    """
    normalised, means, stds = normalise(patches.detach())
    means, stds = means.clone().requires_grad_(), stds.clone().requires_grad_()
    optimiser = torch.optim.SGD((means, stds), lr=lr, momentum=momentum, weight_decay=weight_decay)
    losses = []
    for _ in range(steps):
        styled = restyle(normalised, means, stds)
        if size is not None:
            styled = F.adaptive_avg_pool2d(styled, size)
        loss = (1 - F.cosine_similarity(embed(styled), targets)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return means.detach(), stds.detach(), losses
