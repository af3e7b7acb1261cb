"""The report in a real browser, from disk: it sorts, filters and opens a case, and loads nothing.

Needs Chromium and its driver (Debian: chromium and chromium-driver).
"""

import json
import shutil

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from scribble_tools.cli import main
from tests.scribble_tools.report.example import CASES, make_dataset, make_model, make_predictions

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (BROWSER and DRIVER),
        reason="no chromium and chromedriver here: apt-get install chromium chromium-driver",
    ),
]
WORST = "<img src=x onerror=alert(1)>&q"  # case of the page, whose name is full of markup
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--window-size=1366,768"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report of four cases, compared with another model, one name full of markup."""
    root = tmp_path_factory.mktemp("report")
    cases = (*CASES[:3], WORST)
    dataset = make_dataset(root, cases)
    fold = make_model(root, "Ours", cases)
    other = make_predictions(root / "other", cases, offset=1)
    words = ["--dataset", dataset, "--model", fold.parent, "--compare", other]
    out = root / "report.html"
    assert main(["report", *map(str, words), "--out", str(out), "-np", "1"]) == 0
    return out


@pytest.fixture(scope="module")
def browser(page, tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.get("about:blank")
    driver.get_log("performance")  # of the browser's own first page
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, page):
    browser.get(page.as_uri())
    yield browser
    assert browser.get_log("browser") == [], "errors and refusals of the policy are logged here"


def by_css(browser, selector):
    return browser.find_elements(By.CSS_SELECTOR, selector)


def shown_cases(browser):
    return [row.text for row in by_css(browser, "#table tbody tr:not([hidden]) th")]


def column(browser, title):
    titles = [head.text for head in by_css(browser, "#table thead th")]
    number = next(k for k, text in enumerate(titles) if text.startswith(title))
    texts = [cell.text for cell in by_css(browser, f"#table tbody tr > :nth-child({number + 1})")]
    return by_css(browser, "#table thead th")[number], [*map(float, texts)]


def dialog_is_open(browser):
    return browser.execute_script("return document.getElementById('viewer').open")


def focused(browser):
    return browser.switch_to.active_element.get_attribute("aria-label")


def test_nothing_is_requested_but_the_file_itself(opened, page):
    by_css(opened, ".open")[0].click()
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    requested = {
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    }
    assert page.as_uri() in requested
    assert {url for url in requested if not url.startswith("data:")} == {page.as_uri()}


def test_every_picture_is_shown_and_described(opened):
    broken = opened.execute_script(
        "return [...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    )
    assert len(by_css(opened, "img")) > 8 and broken == 0
    assert all(i.get_attribute("alt") for i in by_css(opened, "figure img"))


def test_headings_sort_both_ways(opened):
    head, values = column(opened, "Dice")
    assert values == [0.823, 0.893, 0.951, 1.0], "the worst case stands first"
    assert head.get_attribute("aria-sort") == "ascending"
    by_css(opened, "#table [data-sort=name] button")[0].click()
    assert shown_cases(opened) == sorted(shown_cases(opened))
    assert column(opened, "Dice")[1] == [0.823, 1.0, 0.951, 0.893], "by name, signs first"
    head.find_element(By.TAG_NAME, "button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(opened, "Dice")[1] == sorted(values)
    head.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert head.get_attribute("aria-sort") == "descending"
    assert column(opened, "Dice")[1] == sorted(values, reverse=True)
    assert len(by_css(opened, "[aria-sort]")) == 1


def test_a_class_shows_its_own_values(opened):
    by_css(opened, "#table [data-sort=name] button")[0].click()
    selection = Select(by_css(opened, "#class")[0])
    selection.select_by_visible_text("other")
    assert column(opened, "Dice")[1][1:] == [1.0, 0.993, 0.986]
    assert column(opened, "islands")[1] == [3, 0, 1, 2]
    selection.select_by_visible_text("organ")
    assert column(opened, "islands")[1] == [0, 0, 0, 0]


def test_filters_by_name_and_by_value(opened):
    by_css(opened, "#find")[0].send_keys("P1_")
    assert shown_cases(opened) == ["p1_b", "p1_a"]
    assert by_css(opened, "#count")[0].text == "2 of 4 cases"
    Select(by_css(opened, "#metric")[0]).select_by_visible_text("Dice")
    by_css(opened, "#limit")[0].send_keys("0.99")
    assert shown_cases(opened) == ["p1_b"]
    Select(by_css(opened, "#relation")[0]).select_by_visible_text("is at least")
    assert shown_cases(opened) == ["p1_a"]
    by_css(opened, "#controls button[type=reset]")[0].click()
    WebDriverWait(opened, 10).until(lambda b: len(shown_cases(b)) == 4)
    assert by_css(opened, "#count")[0].text == "4 of 4 cases"


def test_the_mouse_opens_a_case_and_closes_it(opened):
    by_css(opened, ".open")[1].click()
    assert dialog_is_open(opened)
    assert by_css(opened, "#viewer-title")[0].text == shown_cases(opened)[1]
    sheet = by_css(opened, "#viewer-sheet img")[0]
    assert sheet.size["width"] > 300 and shown_cases(opened)[1] in sheet.get_attribute("alt")
    rows = [row.text for row in by_css(opened, "#viewer-numbers tr")]
    assert [row.split()[0] for row in rows] == ["class", "all", "organ", "other", "background"]
    by_css(opened, "#viewer form button")[0].click()
    assert not dialog_is_open(opened)


def test_the_keyboard_opens_leafs_and_closes(opened):
    opened.execute_script("document.querySelector('#controls button').focus()")
    names = shown_cases(opened)
    for _ in range(30):
        opened.switch_to.active_element.send_keys(Keys.TAB)
        if focused(opened) == f"Open the pictures of {names[0]}":
            break
    opened.switch_to.active_element.send_keys(Keys.ENTER)
    assert dialog_is_open(opened)
    opened.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert by_css(opened, "#viewer-title")[0].text == names[1]
    opened.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not dialog_is_open(opened)
    # the focus goes to where one looked last; the browser tells of the closing a little later
    WebDriverWait(opened, 10).until(lambda b: focused(b) == f"Open the pictures of {names[1]}")


def test_leafing_keeps_to_the_cases_that_are_shown(opened):
    by_css(opened, "#find")[0].send_keys("p1_")
    by_css(opened, "#table tbody tr:not([hidden]) .open")[0].click()
    for _ in range(4):
        by_css(opened, "#next")[0].click()
    assert by_css(opened, "#viewer-title")[0].text == "p1_a"


def test_markup_in_names_is_shown_as_text(opened):
    assert "<img src=x onerror=alert(1)>&q" in shown_cases(opened)
    assert by_css(opened, "img[src='x']") == []


def test_print_shows_tables_and_no_controls(opened):
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert not by_css(opened, "#controls")[0].is_displayed()
        assert not by_css(opened, "nav")[0].is_displayed()
        assert by_css(opened, "#table tbody tr")[3].is_displayed()
    finally:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_the_first_screen_has_title_verdict_picture_and_difference(opened):
    screen = opened.execute_script("return innerHeight")
    title, picture = by_css(opened, "h1")[0], by_css(opened, ".typical img")[0]
    assert title.text == "Organs: 4 cases segmented by Ours, compared with the folder other"
    words = by_css(opened, ".verdict")[0]
    assert "Mean Dice over 4 cases" in words.text and "Against the other, other:" in words.text
    cards = by_css(opened, ".cards")[0]
    assert "Dice, this model minus the other" in cards.text
    for element in (title, words, picture, cards):
        assert element.rect["y"] + element.rect["height"] <= screen


def test_an_enlarged_picture_keeps_its_caption_in_sight(opened):
    opened.execute_script("document.querySelector('#result .enlarge').scrollIntoView()")
    for button in (by_css(opened, "#comparison .enlarge")[0], by_css(opened, ".extreme button")[0]):
        opened.execute_script("arguments[0].click()", button)
        assert dialog_is_open(opened)
        body = by_css(opened, "#viewer-body")[0]
        opened.execute_script("arguments[0].scrollTop = 1e6", body)
        bar = by_css(opened, ".bar")[0].rect
        top = opened.execute_script("return scrollY")
        assert bar["y"] >= top and by_css(opened, "#viewer-note")[0].text
        by_css(opened, "#viewer form button")[0].click()
    assert by_css(opened, "#viewer-title")[0].get_attribute("textContent") == WORST


def test_nothing_overflows_a_narrow_screen(opened):
    opened.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True},
    )
    try:
        assert opened.execute_script("return document.documentElement.scrollWidth") == 400
        inner = """return [...document.querySelectorAll("main *, header *")].filter(
            (e) => e.getBoundingClientRect().right > 401 && !e.closest(".wide, .scroll")).length"""
        assert opened.execute_script(inner) == 0
        widths = [i.size["width"] for i in by_css(opened, ".extreme img")]
        assert min(widths) >= 600, "letters in pictures stay readable"
        first = by_css(opened, ".typical img")[0].rect
        assert first["x"] + first["width"] <= 400, "prediction and reference are in sight"
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
