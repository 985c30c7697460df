"""Verdicts as JUnit XML and JSONL."""

import json
from xml.etree import ElementTree

from dgss_core.evaluation.criteria import judge, parse_criteria
from dgss_core.evaluation.verdict_files import to_jsonl, to_junit

CRITERIA = {'mIoU': {'<night> & "rain"': '>= 0.5', 'all': '>= 0.5'}, 'drop_rate': '<= 0.1'}
VERDICTS = judge(
    parse_criteria(CRITERIA, 'gate.yaml'),
    {'conditions': {'<night> & "rain"': {'miou': 0.4}, 'all': {'miou': 0.6}}},
)


def test_junit_counts_and_names_every_line():
    suite = ElementTree.fromstring(to_junit(VERDICTS)).find('testsuite')
    assert suite.attrib['tests'] == '3'
    assert suite.attrib['failures'] == '2'
    cases = [(case.get('classname'), case.get('name')) for case in suite]
    assert cases == [
        ('mIoU', '<night> & "rain" >= 0.5'),
        ('mIoU', 'all >= 0.5'),
        ('drop_rate', '<= 0.1'),
    ]
    failures = [case.find('failure') for case in suite]
    assert failures[1] is None
    assert failures[0].attrib == {'type': 'fail', 'message': '0.4 is not >= 0.5.'}
    assert failures[2].get('type') == 'not measured'


def test_jsonl_holds_every_verdict():
    lines = to_jsonl(VERDICTS).decode().splitlines()
    assert [json.loads(line) for line in lines] == VERDICTS
