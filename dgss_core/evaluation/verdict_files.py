"""Verdicts as files that CI systems read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from xml.etree import ElementTree

from dgss_core.evaluation.criteria import PASS
from dgss_core.evaluation.results import Verdict


def to_junit(verdicts: Sequence[Verdict], name: str = 'dgss evaluate') -> bytes:
    """JUnit XML: one test case for each verdict, all but those that pass as failures.

    The form is that of the Ant task, which Jenkins, GitLab and GitHub actions read.
    """
    failed = [verdict for verdict in verdicts if verdict['outcome'] != PASS]
    suite = ElementTree.Element(
        'testsuite',
        name=name,
        tests=str(len(verdicts)),
        failures=str(len(failed)),
        errors='0',
        skipped='0',
    )
    for verdict in verdicts:
        title = ' '.join(filter(None, (verdict['condition'], verdict['wanted'])))
        case = ElementTree.SubElement(
            suite, 'testcase', classname=verdict['criterion'], name=title, time='0'
        )
        if verdict['outcome'] != PASS:
            ElementTree.SubElement(
                case, 'failure', type=verdict['outcome'], message=verdict['reason']
            )
    root = ElementTree.Element('testsuites')
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding='utf-8', xml_declaration=True)


def to_jsonl(verdicts: Sequence[Verdict]) -> bytes:
    """One JSON object on each line."""
    return b''.join(json.dumps(verdict, allow_nan=False).encode() + b'\n' for verdict in verdicts)
