"""The page around the sections: one file with its styles, its script and its data inside."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from dgss_core.evaluation.report.elements import Content, Element, element, harmless, to_html

HERE = Path(__file__).parent
THEMES = {'auto': 'Auto', 'light': 'Light', 'dark': 'Dark'}


@dataclass(frozen=True)
class Section:
    """A part with a title and a place in the table of contents; left out if it is empty."""

    id: str
    title: str
    content: Sequence[Content]

    @property
    def is_empty(self) -> bool:
        return all(part is None for part in self.content)


def build_page(
    title: str,
    head: Content,
    sections: Sequence[Section],
    data: Mapping[str, Any],
    foot: str = '',
) -> str:
    """The HTML of a page. `data`: what its script reads, plain JSON values."""
    shown = [section for section in sections if not section.is_empty]
    body = [
        element('a', 'Skip to the content', href='#content', class_='skip'),
        element('header', element('div', head), _themes(), class_='head'),
        element('div', _contents(shown), element('main', map(_section, shown), id='content')),
        element('footer', foot),
    ]
    body[2].set('class', 'body')
    style, script = (_part(f'report.{kind}') for kind in ('css', 'js'))
    # A `</script>` in a name would end the element.
    text = json.dumps(data, separators=(',', ':'), allow_nan=False).replace('<', r'\u003c')
    return Template(_part('report.html.in')).substitute(
        title=to_html(harmless(title)),
        style=style,
        body=to_html(body),
        data=text,
        script=script,
        hash=b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _part(name: str) -> str:
    return (HERE / name).read_text(encoding='utf-8')


def _themes() -> Element:
    choices = [
        element(
            'label',
            element('input', type='radio', name='theme', value=key, checked=key == 'auto'),
            element('span', text),
        )
        for key, text in THEMES.items()
    ]
    legend = element('legend', 'Colours', class_='hidden')
    return element('fieldset', legend, choices, class_='themes')


def _contents(sections: Sequence[Section]) -> Element:
    links = [element('li', element('a', s.title, href=f'#{s.id}')) for s in sections]
    return element('nav', element('ul', links), aria_label='Contents')


def _section(section: Section) -> Element:
    return element(
        'section',
        element('h2', section.title, id=f'{section.id}-title'),
        section.content,
        id=section.id,
        aria_labelledby=f'{section.id}-title',
    )
