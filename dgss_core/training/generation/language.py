"""A language model that rephrases scenes."""

from __future__ import annotations

import re

import torch

from dgss_core.errors import DgssError
from dgss_core.networks.device import best_device
from dgss_core.training.chance import seed_of
from dgss_core.training.generation.hub import library, load
from dgss_core.training.generation.prompts import folded

REQUEST = (
    'Describe in one English sentence of at most {words} words a photograph taken from a car. '
    'Start with "A photo of", "A picture of" or "A snapshot of". Keep the place, the weather, the '
    'time and the traffic of this scene, and add one detail of your own: {scene} '
    'Answer with the sentence alone.'
)
MOST_WORDS = 50
"""Words that the text encoders of common text-to-image models can read (77 tokens)."""


class LanguageModel:
    """A causal language model of transformers: a folder, or a name on the hub.

    Chat models get the request in their own template, other models as a list to continue. Raises
    DgssError if the model cannot be loaded.
    """

    def __init__(self, name: str, tokens: int = 96, temperature: float = 0.8) -> None:
        transformers = library('transformers')
        cuda = best_device() == 'cuda'
        self.name, self.tokens, self.temperature = name, tokens, temperature
        self.tokenizer = load(transformers.AutoTokenizer, name)
        self.model = load(
            transformers.AutoModelForCausalLM,
            name,
            use_safetensors=True,
            dtype='auto' if cuda else torch.float32,
            # Large models are spread over all GPUs and CPU memory.
            device_map='auto' if cuda else None,
        ).eval()

    def describe(self, scene: str, taken: set[str], *seed: int, attempts: int = 5) -> str:
        """`scene` in other words, a sentence whose `folded` form is not in `taken`.

        Raises DgssError if no attempt gives such a sentence.
        """
        for attempt in range(attempts):
            torch.manual_seed(seed_of(*seed, attempt))
            sentence = first_sentence(self.answer(scene))
            if sentence and folded(sentence) not in taken:
                return sentence
        raise DgssError(
            f'{self.name} gave no new sentence in {attempts} attempts; choose a larger model that '
            'follows instructions, or leave --model out.'
        )

    @torch.inference_mode()
    def answer(self, scene: str) -> str:
        """The raw answer of the model."""
        request = REQUEST.format(words=MOST_WORDS, scene=scene)
        if self.tokenizer.chat_template:
            text = self.tokenizer.apply_chat_template(
                [{'role': 'user', 'content': request}], tokenize=False, add_generation_prompt=True
            )
            # The template already contains the special tokens.
            inputs = self.tokenizer(text, return_tensors='pt', add_special_tokens=False)
        else:
            inputs = self.tokenizer(f'{request}\n- ', return_tensors='pt')
        inputs = inputs.to(self.model.device)
        ids = self.model.generate(
            input_ids=inputs['input_ids'],
            attention_mask=inputs['attention_mask'],
            max_new_tokens=self.tokens,
            do_sample=True,
            temperature=self.temperature,
            pad_token_id=self.tokenizer.eos_token_id,
        )
        new = ids[0, inputs['input_ids'].shape[1] :]
        return self.tokenizer.decode(new, skip_special_tokens=True)


def first_sentence(answer: str) -> str:
    """The first line of an answer that is not empty, without list marks and quotes.

    Returns an empty string if the line has fewer than 4 or more than MOST_WORDS words.
    """
    for line in answer.splitlines():
        sentence = re.sub(r'^\W*(\d+[.)])?\s*', '', line).strip(' "\'*`“”')
        if sentence:
            return sentence if 4 <= len(sentence.split()) <= MOST_WORDS else ''
    return ''
