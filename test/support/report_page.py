"""A report as a browser would parse it."""

from __future__ import annotations

import json
from html.parser import HTMLParser

VOID = {'meta', 'img', 'input', 'br', 'hr', 'link'}


class Page(HTMLParser):
    """The texts of the sections, the tables and the elements of a page."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.sections, self.tables = [], [], {}, {}
        self.caption, self.table, self.data = '', [], None
        self.feed(html)
        assert self.open == [], 'an element is not closed'

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag == 'tr':
            self.table.append([])
        if tag == 'caption':
            self.caption = ''
        if tag not in VOID:
            self.open.append((tag, attributes.get('id')))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag
        if tag == 'caption':
            self.table = self.tables.setdefault(self.caption, [])

    def handle_data(self, text):
        tags = [tag for tag, _ in self.open]
        if 'script' in tags:
            self.data = self.data or json.loads(text)
            return
        for tag, name in self.open:
            if tag == 'section':
                self.sections[name] = self.sections.get(name, '') + text
        if 'caption' in tags:
            self.caption += text
        elif {'td', 'th'} & {*tags}:
            self.table[-1].append(text)

    def rows(self, caption):
        """The texts of a table, by the first text of each row."""
        return {first: rest for first, *rest in self.tables[caption]}
