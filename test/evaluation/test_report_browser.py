"""A report in a real browser: it works with the mouse, the keyboard, on a phone, for everyone."""

import browser
import pytest
from evaluations import Drives, everything

from dgss_core.evaluation.compare import compare_runs
from dgss_core.evaluation.finished import read_run
from dgss_core.evaluation.folder import EvaluationFolder
from dgss_core.evaluation.report import write_report
from dgss_core.evaluation.report.comparison import build_comparison

pytest.importorskip('selenium', reason='needs selenium: pip install dgss_ros[dev]')
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.skipif(bool(browser.why_missing()), reason=browser.why_missing())

SHOWN = (0, 8, 16)
"""The frames whose pictures are in the report."""


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    drives, path = Drives(), tmp_path_factory.mktemp('report') / 'report.html'
    write_report(everything(drives.results()), drives.pictures(SHOWN), path)
    return path


@pytest.fixture(scope='module')
def bare(tmp_path_factory):
    path = tmp_path_factory.mktemp('bare') / 'report.html'
    write_report(Drives(each=1, errors={'day': 0.1}).results(), (), path)
    return path


@pytest.fixture(scope='module')
def comparison(tmp_path_factory):
    root, runs = tmp_path_factory.mktemp('comparison'), []
    for name, error in (('plain', 0.5), ('ours', 0.2)):
        drives = Drives(each=3, errors={'day': 0.1, 'night': error})
        EvaluationFolder(root / name, overwrite=False, inputs=()).write(
            drives.results(), drives.counts().items()
        )
        runs.append(read_run(root / name))
    found = {'made': 'today', 'command': 'dgss compare', 'environment': {}}
    path = root / 'comparison.html'
    path.write_text(build_comparison(found | compare_runs(runs, resamples=50)))
    return path


@pytest.fixture(scope='module')
def chromium():
    with browser.browser() as driver:
        yield driver


def text(driver, selector):
    return driver.find_element(By.CSS_SELECTOR, selector).text


def style(driver, selector, name):
    return driver.find_element(By.CSS_SELECTOR, selector).value_of_css_property(name)


def press(driver, *keys):
    driver.switch_to.active_element.send_keys(*keys)


@pytest.mark.parametrize(
    ('which', 'dark', 'width'),
    [
        ('page', False, 360),
        ('page', True, 1280),
        ('bare', True, 360),
        ('bare', False, 1280),
        ('comparison', False, 360),
        ('comparison', True, 1280),
    ],
)
def test_nothing_is_wrong_with_the_page(chromium, request, which, dark, width):
    browser.show(chromium, request.getfixturevalue(which), dark=dark, width=width)
    chromium.execute_script(
        'for (const part of document.querySelectorAll("details")) part.open = true;'
    )
    assert browser.violations(chromium) == []
    assert browser.complaints(chromium) == []
    assert chromium.execute_script('return document.documentElement.scrollWidth') == width
    wide = chromium.execute_script(
        'return [...document.querySelectorAll("section, header, footer, #stage, .thumbs button")]'
        '.filter((e) => e.getBoundingClientRect().right > innerWidth).map((e) => e.outerHTML)'
    )
    assert wide == []


@pytest.mark.parametrize('width', [1600, 1200, 1000, 390])
def test_what_decides_is_in_view_in_every_window(chromium, page, width):
    browser.show(chromium, page, width=width)
    for place in (1, 2):
        timeline(chromium, place)
    cut = chromium.execute_script(
        'return [...document.querySelectorAll(".scroll")]'
        '.filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.ariaLabel)'
    )
    assert not [name for name in cut if name.startswith('Time line')]
    if width > 390:
        assert 'Scores by condition' not in cut
        assert 'Criteria' not in cut
    box = chromium.find_element(By.CSS_SELECTOR, '[aria-label="Criteria"]')
    for outcome in box.find_elements(By.CSS_SELECTOR, '.good, .bad'):
        assert outcome.rect['x'] + outcome.rect['width'] <= box.rect['x'] + box.rect['width']


def test_axe_sees_a_fault(chromium, page):
    browser.show(chromium, page)
    chromium.execute_script('document.querySelector("#cut").removeAttribute("aria-label")')
    chromium.execute_script('document.querySelector("label[for=cut]").remove()')
    assert any(found.startswith('label') for found in browser.violations(chromium))


def test_the_theme_follows_the_system_and_the_switch(chromium, page):
    browser.show(chromium, page, dark=True)
    night = style(chromium, 'body', 'background-color')
    browser.show(chromium, page)
    day = style(chromium, 'body', 'background-color')
    assert night != day
    chromium.find_element(By.CSS_SELECTOR, 'input[name=theme][value=auto]').send_keys(Keys.LEFT)
    assert style(chromium, 'body', 'background-color') == night
    browser.show(chromium, page)
    assert style(chromium, 'body', 'background-color') == night, 'the choice was not kept'
    chromium.find_element(By.CSS_SELECTOR, 'input[name=theme][value=light]').send_keys(Keys.LEFT)
    assert style(chromium, 'body', 'background-color') == day


def test_the_slider_moves_by_keyboard_and_by_pointer(chromium, page):
    browser.show(chromium, page)
    chromium.find_element(By.ID, 'cut').send_keys(Keys.HOME, Keys.RIGHT, Keys.RIGHT)
    assert '2%' in style(chromium, '#layer', 'clip-path')
    assert chromium.find_element(By.ID, 'cut').get_attribute('aria-valuetext') == (
        'image 2 per cent'
    )
    chromium.execute_script(
        'const box = document.getElementById("stage").getBoundingClientRect();'
        'document.getElementById("stage").dispatchEvent(new PointerEvent("pointerdown",'
        '{clientX: box.left + box.width * 0.75, clientY: box.top + 5, buttons: 1}));'
    )
    assert '75%' in style(chromium, '#layer', 'clip-path')
    assert chromium.find_element(By.ID, 'cut').get_attribute('value') == '75'


def test_the_layers_are_three_pictures_of_one_size(chromium, page):
    browser.show(chromium, page)
    sources, sizes = set(), set()
    for name in ('mask', 'labels', 'error'):
        chromium.find_element(By.CSS_SELECTOR, f'input[name=layer][value={name}]').click()
        layer = chromium.find_element(By.ID, 'layer')
        assert name in layer.get_attribute('alt').lower()
        sources.add(layer.get_attribute('src'))
        chromium.execute_async_script(
            'document.getElementById("layer").decode().then(arguments[0])'
        )
        sizes.add(layer.get_property('naturalWidth'))
        assert layer.rect == chromium.find_element(By.ID, 'base').rect
    assert len(sources) == 3
    assert sizes == {160}


def test_previous_next_and_thumbnails_show_frames(chromium, page):
    browser.show(chromium, page)
    assert '1 of 3 · day-000' in text(chromium, '#shown')
    chromium.find_element(By.ID, 'next').send_keys(Keys.ENTER)
    assert '2 of 3 · night-002' in text(chromium, '#shown')
    chromium.find_element(By.ID, 'previous').click()
    chromium.find_element(By.ID, 'previous').click()
    assert '3 of 3 · fog-004' in text(chromium, '#shown')
    thumbs = chromium.find_elements(By.CSS_SELECTOR, '[data-picture]')
    assert [thumb.get_attribute('aria-pressed') for thumb in thumbs] == ['false', 'false', 'true']
    thumbs[1].send_keys(Keys.SPACE)
    assert 'night-002' in text(chromium, '#shown')
    assert chromium.switch_to.active_element.get_attribute('id') == 'viewer'


def timeline(driver, number):
    figure = driver.find_element(By.CSS_SELECTOR, f'[data-timeline="{number}"]')
    driver.execute_script('arguments[0].closest("details").open = true', figure)
    return [figure.find_element(By.CSS_SELECTOR, part) for part in ('input', 'button', 'output')]


def test_the_time_line_reads_out_frames_and_jumps_to_those_with_a_picture(chromium, page):
    browser.show(chromium, page)
    slider, button, output = timeline(chromium, 1)
    assert output.text.startswith('night-000 · night · mIoU 0.')
    assert 'its picture is not in this page' in output.text
    assert not button.is_enabled()
    slider.send_keys(Keys.RIGHT, Keys.RIGHT)
    assert output.text.startswith('night-002')
    assert slider.get_attribute('aria-valuetext') == output.text
    cursor = chromium.find_element(By.CSS_SELECTOR, '[data-timeline="1"] .cursor')
    figure = chromium.find_element(By.CSS_SELECTOR, '[data-timeline="1"]')
    left, right = (float(figure.get_attribute(f'data-{side}')) for side in ('left', 'right'))
    assert float(cursor.get_attribute('x1')) == pytest.approx(left + (right - left) * 2 / 5)
    slider.send_keys(Keys.ENTER)
    assert 'night-002' in text(chromium, '#shown')
    assert chromium.switch_to.active_element.get_attribute('id') == 'viewer'
    press(chromium, Keys.TAB)  # into the viewer, which was reached without a mouse
    assert chromium.switch_to.active_element.get_attribute('id') == 'cut'


def test_a_click_in_the_time_line_goes_to_its_frame(chromium, page):
    browser.show(chromium, page)
    _, button, output = timeline(chromium, 2)
    chromium.execute_script(
        'const figure = document.querySelector("[data-timeline=\\"2\\"]");'
        'const svg = figure.querySelector("svg");'
        'const [left, right] = [Number(figure.dataset.left), Number(figure.dataset.right)];'
        'const at = new DOMPoint(left + (right - left) * 0.79, 40)'
        '.matrixTransform(svg.getScreenCTM());'
        'svg.dispatchEvent(new MouseEvent("click", {clientX: at.x, clientY: at.y}));'
    )
    assert output.text.startswith('fog-004')
    assert 'fog-004' in text(chromium, '#shown')
    assert button.is_enabled()


def test_the_first_tab_skips_to_the_content_and_the_focus_is_seen(chromium, page):
    browser.show(chromium, page)
    press(chromium, Keys.TAB)
    skip = chromium.switch_to.active_element
    assert skip.text == 'Skip to the content'
    assert skip.rect['x'] >= 0
    assert skip.value_of_css_property('outline-style') == 'solid'
    skip.send_keys(Keys.ENTER)
    assert chromium.current_url.endswith('#content')


def test_the_figures_are_there_without_a_script(chromium, page):
    chromium.execute_cdp_cmd('Emulation.setScriptExecutionDisabled', {'value': True})
    try:
        browser.show(chromium, page)
        assert 'Failed: 2 of 3 criteria' in text(chromium, '#verdict')
        assert 'mIoU' in text(chromium, '#conditions')
    finally:
        chromium.execute_cdp_cmd('Emulation.setScriptExecutionDisabled', {'value': False})
