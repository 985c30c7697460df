"""Real models of transformers and diffusers with a few thousand random weights."""

from __future__ import annotations

from pathlib import Path

import torch

WORDS = ('a', 'photo', 'of', 'street', 'road', 'at', 'night', 'in', 'rain', 'with', 'cars', '.')
SPECIAL = ['<unk>', '<s>', '</s>']


def language_model(folder: Path, chat: bool) -> str:
    """A Llama with one layer and the vocabulary `WORDS`."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token='<unk>'))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token='<unk>', bos_token='<s>', eos_token='</s>'
    )
    if chat:
        tokenizer.chat_template = "{% for m in messages %}<s> {{ m['content'] }} {% endfor %}"
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def diffusion_pipeline(folder: Path) -> str:
    """A Stable Diffusion with one block of each kind, which generates noise."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline
    from diffusers import UNet2DConditionModel as UNet
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    letters = [chr(c) for c in range(ord('!'), ord('~') + 1)]
    tokens = [*letters, *(f'{c}</w>' for c in letters), '<|startoftext|>', '<|endoftext|>']
    tokenizer = CLIPTokenizer(
        vocab={token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=16
    )
    torch.manual_seed(0)
    text = CLIPTextConfig(
        vocab_size=len(tokens),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
        bos_token_id=len(tokens) - 2,
        eos_token_id=len(tokens) - 1,
    )
    unet = UNet(
        block_out_channels=(8, 16),
        layers_per_block=1,
        sample_size=8,
        down_block_types=('DownBlock2D', 'CrossAttnDownBlock2D'),
        up_block_types=('CrossAttnUpBlock2D', 'UpBlock2D'),
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=('DownEncoderBlock2D',) * 4,
        up_block_types=('UpDecoderBlock2D',) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
    )
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(prediction_type='v_prediction', steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return str(folder)


def sam(folder: Path) -> str:
    """A SAM for images of 64 pixels."""
    from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

    config = SamConfig(
        vision_config={
            'hidden_size': 16,
            'output_channels': 8,
            'num_hidden_layers': 1,
            'num_attention_heads': 2,
            'image_size': 64,
            'patch_size': 8,
            'mlp_dim': 32,
            'window_size': 4,
            'global_attn_indexes': [0],
            'num_pos_feats': 4,
        },
        prompt_encoder_config={
            'hidden_size': 8,
            'image_size': 64,
            'patch_size': 8,
            'mask_input_channels': 4,
        },
        mask_decoder_config={
            'hidden_size': 8,
            'mlp_dim': 16,
            'num_hidden_layers': 1,
            'num_attention_heads': 2,
            'iou_head_hidden_dim': 8,
        },
    )
    torch.manual_seed(0)
    SamModel(config).save_pretrained(folder)
    sizes = {'size': {'longest_edge': 64}, 'pad_size': {'height': 64, 'width': 64}}
    SamProcessor(SamImageProcessor(**sizes)).save_pretrained(folder)
    return str(folder)


def sam2(folder: Path) -> str:
    """A SAM 2 for images of 64 pixels."""
    from transformers import Sam2Config, Sam2ImageProcessor, Sam2Model, Sam2Processor

    config = Sam2Config(
        vision_config={
            'backbone_config': {
                'model_type': 'sam2_hiera_det_model',
                'hidden_size': 8,
                'image_size': [64, 64],
                'blocks_per_stage': [1, 1, 2, 1],
                'embed_dim_per_stage': [8, 16, 32, 64],
                'num_attention_heads_per_stage': [1, 1, 1, 1],
                'window_size_per_stage': [8, 8, 4, 4],
                'global_attention_blocks': [3],
            },
            'backbone_channel_list': [64, 32, 16, 8],
            'backbone_feature_sizes': [[16, 16], [8, 8], [4, 4]],
            'fpn_hidden_size': 32,
        },
        prompt_encoder_config={
            'hidden_size': 32,
            'image_size': 64,
            'patch_size': 16,
            'mask_input_channels': 4,
        },
        mask_decoder_config={
            'hidden_size': 32,
            'mlp_dim': 16,
            'num_hidden_layers': 1,
            'num_attention_heads': 2,
            'iou_head_hidden_dim': 8,
        },
    )
    torch.manual_seed(0)
    Sam2Model(config).save_pretrained(folder)
    size = {'height': 64, 'width': 64}
    Sam2Processor(Sam2ImageProcessor(size=size), target_size=64).save_pretrained(folder)
    return str(folder)
