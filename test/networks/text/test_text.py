"""Prompts as data, and their embeddings by a small random CLIP."""

from __future__ import annotations

import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dgss_core.errors import DgssError
from dgss_core.files.home import cache_folder
from dgss_core.labels import LabelSet
from dgss_core.networks.heads.mask2former.text_classifier import TextClassifier
from dgss_core.networks.text.embeddings import (
    TextTower,
    clouds_embeddings,
    famix_embeddings,
    name_embeddings,
)
from dgss_core.networks.text.prompts import fill, styled, styles, synonyms, templates


class Counting:
    """A tokenizer that counts the texts it sees."""

    def __init__(self) -> None:
        self.tokenizer, self.seen = open_clip.SimpleTokenizer(context_length=32), []

    def __call__(self, texts: list[str]) -> Tensor:
        self.seen += texts
        return self.tokenizer(texts)


def small_clip(seed: int = 0) -> open_clip.CLIP:
    torch.manual_seed(seed)
    return open_clip.CLIP(
        embed_dim=12,
        vision_cfg={'image_size': 16, 'layers': 1, 'width': 16, 'patch_size': 8, 'head_width': 8},
        text_cfg={
            'context_length': 32,
            'vocab_size': 49408,
            'width': 16,
            'heads': 2,
            'layers': 2,
        },
    )


@pytest.fixture(scope='module')
def clip() -> open_clip.CLIP:
    return small_clip()


@pytest.fixture
def tokenizer() -> Counting:
    return Counting()


@pytest.fixture
def tower(clip, tokenizer) -> TextTower:
    return TextTower.of(clip, tokenizer)


def test_published_prompts_are_complete():
    imagenet, vild = templates('imagenet80'), templates('vild14')
    assert (len(imagenet), len(vild)) == (80, 14)
    assert all(template.count('{}') == 1 for template in (*imagenet, *vild))
    assert len(set(imagenet)) == 80
    assert imagenet[0] == 'a bad photo of a {}.'
    assert imagenet[-1] == 'a tattoo of the {}.'
    assert vild[2] == 'There is a {} in the scene'
    with pytest.raises(DgssError, match='imagenet80, vild14, plain'):
        templates('imagenet')


def test_published_styles_are_complete():
    assert len(set(styles())) == 20
    assert styles()[0] == 'Ethereal Mist'
    assert styled('road', styles()[7]) == 'Urban Grit style road'


@pytest.mark.parametrize('name', ['cityscapes19', 'camvid11'])
def test_every_class_has_words(name):
    label_set = LabelSet.load(name)
    words = synonyms(label_set)
    assert len(words) == len(label_set.names)
    assert all(len(set(group)) == len(group) > 1 for group in words)
    assert words[label_set.names.index('car')][0] == 'car'


def test_fill_keeps_the_templates_of_a_name_together():
    assert fill(['car', 'bus'], ['a {}', 'the {}']) == ['a car', 'the car', 'a bus', 'the bus']


@torch.no_grad()
def test_mean_then_normalise(clip, tower, tmp_path):
    """The two published rules, against CLIP called once per text."""
    names, prompts = ['car', 'traffic light'], ['a {}.', 'the dark {}.', '{}']
    raw = [
        torch.stack(
            [
                clip.encode_text(open_clip.SimpleTokenizer(context_length=32)([p.format(n)]))[0]
                for p in prompts
            ]
        )
        for n in names
    ]
    famix = torch.stack([F.normalize(x.mean(dim=0), dim=0) for x in raw])
    clouds = torch.stack([F.normalize(F.normalize(x, dim=1).mean(dim=0), dim=0) for x in raw])
    assert (famix - clouds).abs().max() > 1e-5
    for each, expected in ((False, famix), (True, clouds)):
        ours = name_embeddings(tower, names, prompts, normalise_each=each, cache=tmp_path)
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
        assert not ours.requires_grad


def test_rule_of_open_clip(clip, tower, tmp_path):
    """open_clip's own zero-shot classifier is the second rule."""
    names = ['car', 'bus', 'sky']
    theirs = open_clip.build_zero_shot_classifier(
        clip, open_clip.SimpleTokenizer(context_length=32), names, templates('vild14')
    )
    ours = name_embeddings(tower, names, templates('vild14'), True, cache=tmp_path)
    torch.testing.assert_close(ours, theirs.T, atol=1e-5, rtol=1e-5)


def test_batches_change_nothing(tower):
    texts = fill(['car', 'bus'], templates('vild14'))
    torch.testing.assert_close(tower.embed(texts, batch=5), tower.embed(texts), atol=1e-6, rtol=0)


def test_embeddings_are_kept_by_content(clip, tower, tokenizer, tmp_path):
    def embed(source: TextTower, names=('car', 'bus'), each=True) -> Tensor:
        return name_embeddings(source, names, ['a {}'], normalise_each=each, cache=tmp_path)

    first = embed(tower)
    assert tokenizer.seen == ['a car', 'a bus']
    again = Counting()
    assert torch.equal(embed(TextTower.of(clip, again)), first)
    assert again.seen == []
    embed(tower, ('car', 'tram'))
    embed(tower, each=False)
    other = Counting()
    assert not torch.equal(embed(TextTower.of(small_clip(1), other)), first)
    assert other.seen == ['a car', 'a bus']
    assert len(list(tmp_path.iterdir())) == 4


def test_identity_depends_on_the_text_weights_only(clip, tokenizer):
    other = small_clip()
    assert TextTower.of(other, tokenizer).identity == TextTower.of(clip, tokenizer).identity
    with torch.no_grad():
        other.visual.conv1.weight += 1
    assert TextTower.of(other, tokenizer).identity == TextTower.of(clip, tokenizer).identity
    with torch.no_grad():
        other.token_embedding.weight[5, 3] += 1
    assert TextTower.of(other, tokenizer).identity != TextTower.of(clip, tokenizer).identity


def test_broken_cache_files_are_written_again(tower, tmp_path):
    first = name_embeddings(tower, ['car'], ['{}'], True, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:20])
    assert torch.equal(name_embeddings(tower, ['car'], ['{}'], True, cache=tmp_path), first)
    assert torch.equal(name_embeddings(tower, ['car'], ['{}'], True, cache=tmp_path), first)


def test_the_cache_is_in_the_users_cache_folder(tower, tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    name_embeddings(tower, ['car'], ['{}'], True)
    assert cache_folder('text') == tmp_path / 'dgss' / 'text'
    assert len(list(cache_folder('text').glob('*.safetensors'))) == 1
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'a_file'))
    (tmp_path / 'a_file').write_text('')
    with pytest.raises(DgssError, match='set XDG_CACHE_HOME'):
        name_embeddings(tower, ['car'], ['{}'], True)


def test_famix_texts(tower, tokenizer, tmp_path):
    names = LabelSet.load('cityscapes19').names
    targets = famix_embeddings(tower, names, 'Rustic Charm', cache=tmp_path)
    assert targets.shape == (20, 12)
    torch.testing.assert_close(targets.norm(dim=1), torch.ones(20))
    assert len(tokenizer.seen) == 20 * 80
    assert tokenizer.seen[0] == 'a bad photo of a Rustic Charm style road.'
    assert tokenizer.seen[-80] == 'a bad photo of a photo.'


def test_clouds_rows_fit_the_text_classifier(tower, tokenizer, tmp_path):
    label_set = LabelSet.load('cityscapes19')
    rows, counts = clouds_embeddings(tower, label_set, cache=tmp_path)
    assert len(counts) == 19
    assert rows.shape == (sum(counts), 12)
    assert tokenizer.seen[14] == 'a photo of a street.'
    classifier = TextClassifier(8, 8, rows, counts)
    masks, features = torch.randn(1, 3, 4, 4), torch.randn(1, 8, 4, 4)
    assert classifier(torch.randn(1, 3, 8), masks, features).shape == (1, 3, 20)


def test_training_mode_is_restored(clip, tower):
    clip.train()
    tower.embed(['car'])
    assert clip.training
    clip.eval()


def test_bad_requests_are_named(tower):
    with pytest.raises(DgssError, match='open_clip has no weights'):
        TextTower.named('RN50/closed')
    with pytest.raises(DgssError, match='nothing to embed'):
        name_embeddings(tower, [], ['{}'], True)


def test_named_towers_are_not_loaded_before_a_text_is_missing():
    tower = TextTower.named('RN50/openai')
    assert tower.identity == 'RN50/openai'
    assert tower._loaded is None
