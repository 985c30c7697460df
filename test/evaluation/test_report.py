"""What a report says: read from its HTML, as a browser would parse it."""

import json
import re

import pytest
from evaluations import LABELS, Drives, everything
from report_page import Page

from dgss_core.evaluation.assembly import Settings, assemble
from dgss_core.evaluation.report import build_report, write_report


@pytest.fixture(scope='module')
def drives():
    return Drives()


@pytest.fixture
def results(drives):
    return drives.results()


def test_it_is_one_file_that_loads_nothing(drives, results, tmp_path):
    path = tmp_path / 'report.html'
    write_report(everything(results), drives.pictures(range(3)), path)
    html = path.read_text()
    assert html.startswith('<!doctype html>')
    addresses = re.findall(r'(?:src|href)="([^"]{0,20})', html)
    assert addresses
    assert all(address.startswith(('#', 'data:image/')) for address in addresses)
    assert not re.search(r'https?://|@import|url\(', html)
    assert "default-src 'none'" in html


def test_the_order_is_verdict_summary_conditions(drives, results):
    page = Page(build_report(everything(results), drives.pictures([0])))
    assert [*page.sections] == [
        'verdict', 'summary', 'conditions', 'classes', 'reliability', 'retention', 'ood',
        'bravo', 'corruptions', 'monitor', 'live', 'drives', 'observed', 'timeline', 'gallery',
        'label-next', 'problems', 'made',
    ]  # fmt: skip
    links = [a['href'] for tag, a in page.elements if tag == 'a' and a['href'] != '#content']
    assert links == [f'#{name}' for name in page.sections]


def test_what_the_results_lack_is_left_out(results):
    for key in ('bravo', 'retention', 'monitor', 'drives', 'command', 'settings', 'problems'):
        results.pop(key)
    for frame in results['frames']:
        frame.update(confidence=None, shift=None)
    for found in results['conditions'].values():
        found['confidence'] = None
    page = Page(build_report(results))
    assert [*page.sections] == [
        'summary', 'conditions', 'classes', 'reliability', 'timeline', 'made'
    ]  # fmt: skip
    assert page.data['pictures'] == []


def test_results_without_labels(results):
    unlabelled = Drives(each=2)
    scored = unlabelled.scored()
    for frame in scored:
        frame.counts = None
    found = results | assemble(scored, LABELS, Settings())
    page = Page(build_report(found, unlabelled.pictures([0])))
    assert [*page.sections] == [
        'summary', 'monitor', 'observed', 'timeline', 'gallery', 'made'
    ]  # fmt: skip
    assert 'of which 0 have labels' in page.sections['summary']


def test_every_figure_of_the_conditions_is_that_of_the_results(results):
    rows = Page(build_report(results)).rows('Scores by condition')
    heads = rows.pop('condition')
    assert [*rows] == ['all', 'day', 'night', 'fog', 'rain']
    for name, texts in rows.items():
        found = results['conditions'][name]
        assert texts[0] == str(found['frames'])
        assert int(re.sub(r'\D', '', texts[1])) == found['labelled_pixels']
        assert texts[2] == f'{found["miou"]:.3f}'
        low, high = found['intervals']['miou']
        assert texts[3] == f'{low:.3f}\N{EN DASH}{high:.3f}'
        place = texts.index(f'{found["ece"]:.3f}')
        assert place > 0
    assert 'ECE' in heads


def test_a_null_is_not_measured(results):
    night = results['conditions']['night']
    night['ece'] = night['intervals']['miou'] = None
    rows = Page(build_report(results)).rows('Scores by condition')
    assert rows['night'].count('not measured') == 1
    assert rows['day'].count('not measured') == 0


def test_a_column_that_nothing_fills_is_named_below_the_table(results):
    for found in results['conditions'].values():
        found['auroc'] = None
    page = Page(build_report(results))
    assert 'AUROC' not in page.rows('Scores by condition')['condition']
    assert 'Not measured: AUROC.' in page.sections['conditions']


def test_the_heat_map_names_absent_classes_and_how_they_count(results):
    absent = results['conditions']['day']['absent']
    absent['classes'] = ['train', 'bus']
    results['conditions']['day']['iou'].update(train=None, bus=None)
    page = Page(build_report(results))
    rows = page.rows('IoU by class')
    assert [*rows][2:] == [label.name for label in LABELS.labels]
    place = rows['class'].index('day')
    assert rows['train'][place] == rows['bus'][place] == 'absent'
    assert rows['road'][place] == f'{results["conditions"]["day"]["iou"]["road"]:.3f}'
    treatment = absent['treatment']
    assert (
        f'{treatment[0].upper()}{treatment[1:]} \N{EN DASH} day: train, bus'
        in (page.sections['classes'])
    )


def test_many_sources_are_named_in_a_table(results):
    source = results['sources'][0]
    results['sources'] = [source | {'title': f'bag {number}'} for number in range(40)]
    html = build_report(results)
    assert 'on bag 0, bag 1, bag 2 and 37 more' in html
    assert [*Page(html).rows('What was evaluated on')][1:] == [f'bag {n}' for n in range(40)]


def test_a_single_condition_is_not_told_twice(results):
    day = Drives(each=3, errors={'day': 0.1}).results()
    rows = Page(build_report(day)).rows('Scores by condition')
    assert [*rows] == ['condition', 'day']


def test_what_needs_no_labels(results):
    found = everything(results)
    rows = Page(build_report(found)).rows('Means by condition')
    assert rows['condition'] == ['confidence', 'shift', *(f'flicker {n}' for n in (1, 2, 5, 10))]
    night = [frame for frame in found['frames'] if frame['condition'] == 'night']
    for place, key, text in ((0, 'confidence', '{:.1%}'), (1, 'shift', '{:.2f}')):
        expected = sum(frame[key] for frame in night) / len(night)
        assert rows['night'][place] == text.format(expected).replace('%', ' %')
    assert rows['day'][2] == '1.0 %'


def test_corruptions_of_two_bundles(results):
    found = everything(results)
    ours, theirs = found['corruptions'], found['against']['corruptions']
    page = Page(build_report(found))
    rows = page.rows('mIoU by corruption and severity')
    assert rows['corruption'] == ['1', '3', '5']
    assert rows['fog'] == [f'{value:.3f}' for value in ours['scores']['fog']]
    summary = page.rows('Means over corruptions')
    assert summary['all, street@12345678'][0] == f'{ours["mean"]:.3f}'
    other = summary['the 16 of the benchmark, against other@87654321']
    assert other[0] == f'{theirs["benchmark"]["mean"]:.3f}'
    means = [sum(suite['scores']['street_night']) / 3 for suite in (ours, theirs)]
    pair = page.rows('Mean mIoU by corruption')['street_night']
    assert pair[:2] == [f'{mean:.3f}' for mean in means]
    assert pair[2] == f'{means[0] - means[1]:+.3f}'.replace('-', '\N{MINUS SIGN}')


def test_corruptions_of_one_bundle_that_scored_nothing(results):
    found = everything(results) | {'against': None}
    suite = found['corruptions']
    suite['scores']['fog'] = [None] * 3
    suite.update(worst=None, clean=None, mean=None, severest=None)
    page = Page(build_report(found))
    assert page.rows('mIoU by corruption and severity')['fog'] == ['not measured'] * 3
    assert 'Mean mIoU by corruption' not in page.tables
    assert page.rows('Means over corruptions')['all'][-1] == 'not measured'


def test_retention_as_numbers_and_bars(results):
    results['retention']['conditions']['rain'] = None
    page = Page(build_report(results))
    rows = page.rows('Retention')
    retained = results['retention']['conditions']
    assert [*rows][1:] == ['rain', *sorted(('fog', 'night'), key=lambda name: retained[name])]
    assert rows['night'] == [f'{retained["night"]:.2f}']
    assert rows['rain'] == ['not measured']
    widths = [a['style'] for _, a in page.elements if a.get('class') == 'meter']
    assert f'width:{100 * retained["night"]:.1f}%' in widths


@pytest.mark.parametrize('failed', [False, True])
def test_the_verdict(results, failed):
    found = everything(results)
    if not failed:
        found['verdicts'] = [line for line in found['verdicts'] if line['outcome'] == 'pass']
    page = Page(build_report(found))
    text = page.sections['verdict']
    assert ('Failed: 2 of 3 criteria' in text) == failed
    assert ('Passed: 1 criterion' in text) != failed
    if failed:
        assert page.tables['Criteria'][3][:4] == [
            'drop_rate',
            '? not measured',
            '<= 0.01',
            'not measured',
        ]


def test_problems_with_count_frames_and_remedy(results):
    text = Page(build_report(everything(results))).sections['problems']
    assert '240 ×' in text
    assert 'add its label file' in text
    assert 'frame-000099 and 140 more' in text
    assert 'A stamp is zero; set the clock.night-001' in text


def test_the_command_and_the_environment(results):
    page = Page(build_report(results))
    assert results['command'] in page.sections['made']
    assert page.rows('Environment')['python'] == ['3.11.7']
    assert page.rows('Settings')['tolerance_ms'] == ['0.0']


def test_charts_have_a_text_that_says_what_they_show(drives, results):
    page = Page(build_report(everything(results), drives.pictures([0])))
    charts = [a['aria-label'] for tag, a in page.elements if tag == 'svg']
    assert len(charts) == 5 + 1 + 1 + 1 + 4
    night = results['conditions']['night']['miou']
    assert any(f'night {night:.3f}' in text for text in charts)
    latency = next(text for text in charts if text.startswith('Latency'))
    assert latency.startswith('Latency of 400 frames: p50 ')


def test_the_time_line_has_a_value_for_every_frame(results):
    page = Page(build_report(results))
    assert [len(places) for places in page.data['timelines']] == [6] * 4
    for place, frame in enumerate(results['frames']):
        told = page.data['frames'][str(place)]
        assert told['name'] == frame['name']
        assert told['miou'] == pytest.approx(frame['miou'], abs=1e-4)
        assert 'flicker' not in told


def test_pictures_without_a_drive_share_a_time_line(results):
    for frame in results['frames']:
        frame['drive'] = ''
    page = Page(build_report(results))
    assert page.data['timelines'] == [[*range(24)]]
    assert page.sections['timeline'].startswith('Time linemade-up drives, 24 frames')


HOSTILE = (
    '</script><script>alert(1)</script><img src=x onerror=alert(1)>"\'&\x1b[31m\u202eevil\x00'
)


def test_markup_in_any_name_stays_text(drives, results):
    found = json.loads(json.dumps(everything(results)).replace('night', json.dumps(HOSTILE)[1:-1]))
    for text in ('command', 'protocol', 'made'):
        found[text] = HOSTILE
    found['predictor']['identity'] = found['sources'][0]['title'] = HOSTILE
    found['label_set']['classes'][0]['name'] = HOSTILE
    found['environment'][HOSTILE] = HOSTILE
    html = build_report(found, drives.pictures([0]))
    page = Page(html)
    assert [tag for tag, _ in page.elements].count('script') == 2
    assert not any('onerror' in attributes for _, attributes in page.elements)
    sources = [a['src'] for tag, a in page.elements if tag == 'img' and 'src' in a]
    assert [source[:11] for source in sources] == ['data:image/']
    assert not re.search('[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e]', html)
    assert '\\x1b[31m\\u202eevil\\x00' in page.sections['made']


def test_names_in_any_script_stay_as_they_are(results):
    results['sources'][0]['title'] = 'Zürich\u3000東京, 夜'
    assert 'Zürich\u3000東京, 夜' in Page(build_report(results)).sections['summary']
