"""HTML and SVG as trees of elements, and how values are written in them.

Every text and attribute is escaped when a tree is serialised, so that no name can become markup.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree

Element = ElementTree.Element
Content = str | Element | Iterable['Content'] | None

NOT_MEASURED = 'not measured'
DIGITS = 3


def element(tag: str, *content: Content, **attributes: object) -> Element:
    """An element with texts and elements in it; lists are flattened and None is left out.

    `attributes`: `_` stands for `-`, one at the end is dropped (`class_`, `for_`). True gives an
    attribute without a value; None and False leave it out.
    """
    node = ElementTree.Element(tag)
    for name, value in attributes.items():
        if value is not None and value is not False:
            text = '' if value is True else harmless(str(value))
            node.set(name.rstrip('_').replace('_', '-'), text)
    add(node, content)
    return node


def add(node: Element, content: Content) -> None:
    """Append a text, an element, or a list of both to `node`."""
    if content is None:
        return
    if isinstance(content, ElementTree.Element):
        node.append(content)
    elif isinstance(content, str):
        text = harmless(content)
        if len(node):
            node[-1].tail = (node[-1].tail or '') + text
        else:
            node.text = (node.text or '') + text
    else:
        for part in content:
            add(node, part)


def to_html(content: Content) -> str:
    """The HTML of a text, an element, or a list of both."""
    root = element('div', content)
    text = ElementTree.tostring(root, encoding='unicode', method='html')
    return text.removeprefix('<div>').removesuffix('</div>')


def harmless(text: str) -> str:
    """`text` with control characters, also those that turn its direction, written as escapes."""
    if text.isprintable():
        return text
    return ''.join(c if _is_harmless(c) else ascii(c)[1:-1] for c in text)


def _is_harmless(character: str) -> bool:
    # Python calls every space but one unprintable.
    return character.isprintable() or character == '\n' or unicodedata.category(character) == 'Zs'


def figure(value: float | None, digits: int = DIGITS) -> str:
    """A number with `digits` decimals, or `NOT_MEASURED`."""
    return NOT_MEASURED if value is None else f'{value:.{digits}f}'


def percent(value: float | None) -> str:
    """A share 0..1 as per cent, or `NOT_MEASURED`."""
    return NOT_MEASURED if value is None else f'{100 * value:.1f} %'


def whole(value: int | None) -> str:
    """A count with its thousands apart, or `NOT_MEASURED`."""
    thin = '\N{NARROW NO-BREAK SPACE}'
    return NOT_MEASURED if value is None else f'{value:,}'.replace(',', thin)


def count_of(number: int, noun: str, many: str | None = None) -> str:
    """'1 frame', '2 frames'."""
    return f'{whole(number)} {noun if number == 1 else many or noun + "s"}'


def span(low_high: Sequence[float] | None, digits: int = DIGITS) -> str:
    """An interval, or an empty text."""
    if low_high is None:
        return ''
    return '\N{EN DASH}'.join(f'{end:.{digits}f}' for end in low_high)


def signed(value: float | None, digits: int = DIGITS) -> str:
    """A difference with its sign (a true minus), or `NOT_MEASURED`."""
    if value is None:
        return NOT_MEASURED
    rounded = round(value, digits)
    text = f'{rounded:+.{digits}f}' if rounded else f'{0:.{digits}f}'
    return text.replace('-', '\N{MINUS SIGN}')
