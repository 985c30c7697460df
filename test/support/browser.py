"""A headless Chromium that shows a file, and what it finds in it."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

SWITCHES = (
    '--headless=new',
    '--no-sandbox',  # CI runs as root
    '--disable-dev-shm-usage',
    '--disable-gpu',
    '--hide-scrollbars',
)


def why_missing() -> str:
    """Why the tests in a browser cannot run here; '' if they can."""
    for name in ('chromium', 'chromedriver'):
        if shutil.which(name) is None:
            return f'needs {name}: apt-get install chromium chromium-driver'
    for module in ('selenium', 'axe_core_python'):
        if importlib.util.find_spec(module) is None:
            return f'needs {module}: pip install dgss_ros[dev]'
    return ''


@contextmanager
def browser() -> Iterator[Chrome]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which('chromium') or ''
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    for switch in SWITCHES:
        options.add_argument(switch)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which('chromedriver')))
    try:
        yield driver
    finally:
        driver.quit()


def show(
    driver: Chrome, page: Path, *, width: int = 1280, height: int = 900, dark: bool = False
) -> None:
    """Load `page` in a window of `width` x `height` pixels, without motion."""
    features = {
        'prefers-color-scheme': 'dark' if dark else 'light',
        'prefers-reduced-motion': 'reduce',
    }
    media = [{'name': name, 'value': value} for name, value in features.items()]
    driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': media})
    size = {'width': width, 'height': height, 'deviceScaleFactor': 1, 'mobile': width < 500}
    driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', size)
    driver.get(page.as_uri())


def complaints(driver: Chrome) -> list[str]:
    """What the browser logged since the last call: errors, and loads that were refused."""
    return [str(entry['message']) for entry in driver.get_log('browser')]


def violations(driver: Chrome) -> list[str]:
    """What axe-core finds wrong with the page for people who cannot see it, or not well."""
    driver.execute_script(files('axe_core_python').joinpath('axe.min.js').read_text('utf-8'))
    found: dict[str, Any] = driver.execute_async_script(
        'const done = arguments[0]; axe.run().then(done);'
    )
    assert len(found['passes']) > 10
    return [
        f'{rule["id"]}: {node["html"][:120]} {node["failureSummary"]}'
        for rule in found['violations']
        for node in rule['nodes']
    ]
