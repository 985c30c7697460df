"""Criteria against results: verdicts, the exit code, and mistakes in the file."""

import pytest

from dgss_core.errors import DgssError
from dgss_core.evaluation.criteria import MEASURES, exit_code, judge, load_criteria, parse_criteria

RESULTS = {
    'conditions': {
        'night': {
            'miou': 0.41,
            'iou': {'road': 0.9, 'person': 0.2, 'train': None},
            'ece': None,
            'ood': None,
            'flicker': {'1': {'value': 0.04}, '5': {'value': 0.2}},
        },
        'day': {'miou': 0.7, 'iou': {'road': 0.95}, 'ece': 0.02, 'ood': {'auroc': 0.8}},
        'all': {'miou': 0.6, 'ece': 0.05, 'flicker': None},
    },
    'retention': {'conditions': {'night': 0.41 / 0.7}, 'mean': 0.41 / 0.7},
    'corruptions': {'mean': 0.6, 'benchmark': {'mean': 0.4}},
    'bravo': {'index': 0.55},
    'live': {'latency_ms': {'p50': 20, 'p95': 30.0, 'p99': 45.0}, 'drop_rate': 0.0},
    'monitor': {'alarm_share': {'night': 0.9, 'day': 0.01, 'rain': 0.3}},
}


def outcomes(document, results=RESULTS):
    verdicts = judge(parse_criteria(document, 'gate.yaml'), results)
    return [verdict['outcome'] for verdict in verdicts]


@pytest.mark.parametrize(
    ('document', 'expected'),
    [
        ({'mIoU': {'night': '>= 0.45', 'all': '>= 0.60'}}, ['fail', 'pass']),
        ({'mIoU': '>= 0.60'}, ['pass']),
        ({'mIoU': '>0.6'}, ['fail']),
        ({'mIoU': '< .6'}, ['fail']),
        ({'mIoU': '<= 6e-1'}, ['pass']),
        ({'iou': {'person': {'night': '>= 0.3'}, 'road': {'day': '>= 0.9'}}}, ['fail', 'pass']),
        ({'ece': {'day': '<= 0.03', 'all': '<= 0.03'}}, ['pass', 'fail']),
        ({'ood_auroc': {'day': '>= 0.7'}}, ['pass']),
        ({'flicker': {'night': '<= 0.05'}, 'flicker_5': {'night': '<= 0.05'}}, ['pass', 'fail']),
        ({'retention': {'night': '>= 0.5', 'all': '>= 0.8'}}, ['pass', 'fail']),
        ({'latency_p50_ms': '<= 50', 'latency_p99_ms': '<= 40'}, ['pass', 'fail']),
        ({'drop_rate': '<= 0.05'}, ['pass']),
        ({'shift_alarm': {'night': 'fires', 'day': 'silent'}}, ['pass', 'pass']),
        ({'shift_alarm': {'rain': 'fires'}}, ['fail']),
        ({'shift_alarm': {'rain': 'silent'}}, ['fail']),
        ({'shift_alarm': {'rain': '>= 0.2'}}, ['pass']),
        ({'corruption_mean': '>= 0.5', 'bravo_index': '>= 0.5'}, ['fail', 'pass']),
    ],
)
def test_bounds_are_compared_with_the_results(document, expected):
    assert outcomes(document) == expected


@pytest.mark.parametrize(
    ('document', 'reason'),
    [
        ({'ece': {'night': '<= 0.03'}}, 'needs labelled frames with confidence'),
        ({'mIoU': {'fog': '>= 0.4'}}, "no 'fog'; there is 'night', 'day', 'all'"),
        ({'iou': {'train': {'night': '>= 0.3'}}}, 'needs labelled frames with this class'),
        ({'iou': {'tram': {'night': '>= 0.3'}}}, 'needs labelled frames with this class'),
        ({'ood_fpr95': {'night': '<= 0.5'}}, 'needs OOD labels'),
        ({'flicker': '<= 0.05'}, 'needs frames of a drive in a row'),
        ({'flicker_2': {'night': '<= 0.05'}}, 'needs frames of a drive in a row'),
        ({'corruption_retention': '>= 0.8'}, 'needs the corruption suite'),
        ({'rate_hz': '>= 10'}, 'needs a replay through the node'),
        ({'shift_alarm': {'snow': 'fires'}}, "no 'snow'; there is 'night', 'day', 'rain'"),
        ({'retention': {'rain': '>= 0.8'}}, "no 'rain'; there is 'night'"),
    ],
)
def test_what_was_not_measured_fails_with_its_reason(document, reason):
    verdicts = judge(parse_criteria(document, 'gate.yaml'), RESULTS)
    assert [verdict['outcome'] for verdict in verdicts] == ['not measured']
    assert reason in verdicts[0]['reason']
    assert verdicts[0]['measured'] is None
    assert exit_code(verdicts) == 1


@pytest.mark.parametrize('name', sorted(set(MEASURES) - {'iou'}))
@pytest.mark.parametrize('results', [{}, {'live': None, 'monitor': None, 'conditions': {}}])
def test_nothing_passes_on_empty_results(name, results):
    assert outcomes({name: '>= 0'}, results) == ['not measured']


@pytest.mark.parametrize('value', [True, 'high', float('nan'), [1]])
def test_a_value_that_is_no_number_is_not_measured(value):
    assert outcomes({'mIoU': '>= 0'}, {'conditions': {'all': {'miou': value}}}) == ['not measured']


def test_the_exit_code_is_the_verdict():
    good = judge(parse_criteria({'mIoU': '>= 0.5'}, 'gate.yaml'), RESULTS)
    bad = judge(parse_criteria({'mIoU': {'night': '>= 0.5'}}, 'gate.yaml'), RESULTS)
    assert (exit_code(good), exit_code(bad), exit_code(good + bad)) == (0, 1, 1)


def test_a_reason_shows_on_which_side_of_the_limit_the_value_is():
    results = {'conditions': {'all': {'miou': 0.4499999}}}
    (verdict,) = judge(parse_criteria({'mIoU': '>= 0.45'}, 'gate.yaml'), results)
    assert verdict['reason'] == '0.4499999 is not >= 0.45.'
    (verdict,) = judge(parse_criteria({'mIoU': '>= 0.4123'}, 'gate.yaml'), results)
    assert verdict['reason'] == '0.45 >= 0.4123.'


def test_a_file_is_read_in_its_order(tmp_path):
    path = tmp_path / 'gate.yaml'
    path.write_text('drop_rate: "<= 0.05"\nmIoU: {night: ">= 0.45", all: ">= 0.60"}\n')
    found = [(one.name, one.condition, one.bound) for one in load_criteria(path)]
    assert found == [
        ('drop_rate', '', ('<=', 0.05)),
        ('mIoU', 'night', ('>=', 0.45)),
        ('mIoU', 'all', ('>=', 0.6)),
    ]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'holds no criteria; write lines like'),
        ('[1, 2]', 'holds no criteria'),
        ('miou: ">= 0.4"', "no criterion 'miou'; did you mean iou, mIoU"),
        ('12: ">= 0.4"', "no criterion '12'"),
        ('mIoU: {night: 0.45}', 'mIoU: night is 0.45, which is no bound'),
        ('mIoU: {night: "= 0.45"}', 'which is no bound; write one of >=, <=, >, <'),
        ('mIoU: {night: ">= 0.45 %"}', 'which is no bound'),
        ('mIoU: {night: ">= nan"}', 'which is no bound'),
        ('mIoU: {night: ">= ٤"}', 'which is no bound'),
        ('mIoU: {night: ">= 45"}', r'value is 0 to 1; write ">= 0.45" for 45 percent'),
        ('drop_rate: "<= 5"', 'value is 0 to 1; write "<= 0.05" for 5 percent'),
        ('mIoU: {}', r'mIoU is \{\}; give a bound for a condition'),
        ('mIoU: [">= 0.4"]', 'give a bound for a condition'),
        ('mIoU: 0.4', 'mIoU is 0.4; give a bound'),
        ('mIoU: {1: ">= 0.4"}', 'mIoU names 1; a name is'),
        ('mIoU: {"\\e[31m": ">= 0.4"}', r"names '\\x1b\[31m'; a name is"),
        ('drop_rate: {night: "<= 0.1"}', 'drop_rate has no conditions'),
        ('drop_rate:', 'drop_rate is None, which is no bound'),
        ('iou: ">= 0.4"', 'give a bound for a class'),
        ('iou: {person: 3}', 'iou person is 3; give a bound for a condition'),
        ('shift_alarm: {rain: fire}', 'no bound; write fires, or silent, or one of'),
        ('mIoU: {night: fires}', 'which is no bound'),
        ('mIoU: {night: >= 0.45}', 'Bounds stand in quotes'),
        ('mIoU: ">= 0.4"\nmIoU: ">= 0.5"', "'mIoU' is given twice"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_place(tmp_path, text, message):
    path = tmp_path / 'gate.yaml'
    path.write_text(text)
    with pytest.raises(DgssError, match=message) as error:
        load_criteria(path)
    assert str(path) in str(error.value)
    assert '\n' not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DgssError, match='cannot be read') as error:
        load_criteria(tmp_path / 'none.yaml')
    assert 'quotes' not in str(error.value)
