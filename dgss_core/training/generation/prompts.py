"""Descriptions of street scenes for a text-to-image model.

CLOUDS used a hundred of them, written by a language model, one line each (section 3.2 of the
paper): "A photo of ...". `scenes` composes such lines from our own phrases, balanced over weather,
time, place and traffic. A language model can then rephrase each scene
(`dgss_core.training.generation.language`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import TypeVar

Item = TypeVar('Item')

OPENINGS = (
    'A photo of',
    'A picture of',
    'A snapshot of',
    'A dashcam view of',
    'A wide-angle photo of',
    'A photograph, taken through the windscreen, of',
)
WEATHERS = {
    'clear': ('under a clear sky', 'in dry weather', 'after a dry spell'),
    'clouds': ('under a grey sky', 'under low clouds', 'under drifting clouds'),
    'fog': ('in dense fog', 'in thin mist', 'with fog swallowing the far end'),
    'rain': ('in heavy rain', 'in a drizzle, with puddles', 'with drops on the lens'),
    'snow': ('in falling snow', 'with snow on the kerbs', 'with slush on the asphalt'),
}
TIMES = {
    'day': ('at noon', 'in the morning', 'in the afternoon'),
    'dusk': ('at dusk', 'at dawn', 'with the sun just below the roofs'),
    'night': ('at night', 'at night under street lamps', 'in the dark, lit by headlights'),
}
PLACES = (
    'an avenue in a large city',
    'a narrow street in an old town',
    'a street in a suburb with front gardens',
    'the main street of a village',
    'a motorway with three lanes',
    'a slip road beside a concrete wall',
    'a country road between fields',
    'a mountain road with crash barriers',
    'a bridge over a river',
    'the exit of a tunnel',
    'a roundabout with a lawn in its middle',
    'a crossing with traffic lights',
    'a zebra crossing in front of a school',
    'a shopping street with wide pavements',
    'a street of factories and warehouses',
    'a harbour road behind a wire fence',
    'a promenade lined with palms',
    'a street with tram rails',
    'a level crossing on the edge of a town',
    'a street market between blocks of flats',
    'a road works site on a dual carriageway',
    'a car park in front of a supermarket',
)
TRAFFIC = (
    'cars parked along both sides',
    'cars waiting in a queue',
    'a bus at its stop',
    'a lorry ahead',
    'a tram coming the other way',
    'a delivery van and a lorry side by side',
    'cyclists in the right-hand lane',
    'a motorcycle between the cars',
    'riders on scooters',
    'people crossing',
    'people walking on the pavement',
    'a child on a bicycle',
    'a taxi pulling out',
    'bicycles leaning against a fence',
    'signs and signals over the lanes',
    'a goods train passing behind',
    'an ambulance overtaking',
    'a coach and a few cars',
    'a man pushing a pram',
    'hardly any traffic',
)


@dataclass(frozen=True)
class SceneText:
    """The description of a scene. `weather` and `time` are keys of WEATHERS and TIMES."""

    weather: str
    time: str
    sentence: str

    @property
    def condition(self) -> str:
        """The condition of the scene: day, dusk, night, fog, rain or snow."""
        return self.weather if self.weather in ('fog', 'rain', 'snow') else self.time


def scenes(seed: int) -> Iterator[SceneText]:
    """Endless scenes without repetition; the same seed gives the same scenes.

    Every pair of weather and time, every place and every kind of traffic is equally frequent.
    """
    random = Random(seed)
    skies = deck(list(product(WEATHERS, TIMES)), random)
    openings, places, traffic = (deck(x, random) for x in (OPENINGS, PLACES, TRAFFIC))
    weathers = {key: deck(phrases, random) for key, phrases in WEATHERS.items()}
    times = {key: deck(phrases, random) for key, phrases in TIMES.items()}
    seen = set()
    while True:
        weather, time = next(skies)
        when, sky = next(times[time]), next(weathers[weather])
        sentence = f'{next(openings)} {next(places)} {when}, {sky}, with {next(traffic)}.'
        if sentence not in seen:
            seen.add(sentence)
            yield SceneText(weather, time, sentence)


def deck(items: Sequence[Item], random: Random) -> Iterator[Item]:
    """Endless items in random order; every item occurs once before any repeats."""
    while True:
        yield from random.sample(items, len(items))


def folded(sentence: str) -> str:
    """The sentence in lower case without punctuation, to find repetitions."""
    return ' '.join(re.findall(r'\w+', sentence.casefold()))
