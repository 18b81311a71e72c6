"""The page in a real browser, opened from disk: what one can do there, and what it says when something is missing."""

import itertools
import json
import shutil
import subprocess
import time

import numpy as np
import pytest
from conftest import export
from PIL import Image

import dcgan_tf1
from dcgan_tf1.data import draws
from dcgan_tf1.sampling.paths import latent_path

webdriver = pytest.importorskip("selenium.webdriver", reason="the extra browser is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver (Debian: chromium-driver)"),
]
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)

LIMIT = 300
"""After so many seconds a condition is given up, so that a busy machine fails no test."""


class Browser:
    """Chromium, and what tests ask of the page in it. It waits for conditions, and never for a time."""

    def __init__(self, folder):
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
            options.add_argument(flag)
        several = {"profile.default_content_setting_values.automatic_downloads": 1}
        options.add_experimental_option("prefs", {"download.default_directory": str(folder), **several})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        self.driver.set_script_timeout(LIMIT)
        self.driver.command_executor.client_config.timeout = LIMIT
        self.folder = folder

    def resize(self, width, height):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def media(self, **features):
        features = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def open(self, path, query=""):
        """Open a page afresh, and wait until its sheet is drawn and judged."""
        self.driver.get("about:blank")
        self.driver.get(path.as_uri() + query)
        self.settle()

    def settle(self):
        """Wait until the sheet is drawn and judged. Marks of the sheet before go as soon as another is begun."""
        self.wait(lambda: self.ask("document.querySelectorAll('#real line').length >= 36"))

    def js(self, code, *values):
        return self.driver.execute_script(code, *values)

    def ask(self, expression):
        return self.js(f"return {expression}")

    def wait(self, condition):
        end = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < end, (self.text("notice"), self.text("caption"), self.driver.current_url)
            time.sleep(0.02)

    def says(self, name, words):
        """Wait until the element of the id `name` says `words`."""
        self.wait(lambda: words in (self.text(name) or ""))

    def leads(self, words):
        """Wait until the address holds `words`."""
        self.wait(lambda: words in self.ask("location.search"))

    def text(self, name):
        return self.ask(f"document.getElementById('{name}')?.textContent.trim()")

    def shown(self, name):
        return self.driver.find_element("id", name).is_displayed()

    def focus(self, selector):
        self.js("document.querySelector(arguments[0]).focus()", selector)

    def click(self, selector):
        self.js("document.querySelector(arguments[0]).click()", selector)

    def fill(self, name, text):
        field = self.driver.find_element("id", name)
        field.clear()
        field.send_keys(text)

    def slide(self, selector, value):
        code = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
        self.js(code, self.driver.find_element("css selector", selector), value)

    def rgba(self, selector):
        """The pixels of a canvas, uint8 [height, width, 4].

        They are read off a copy. A canvas that is read again and again makes Chromium warn in the console.
        """
        width, height, data = self.js(
            "const canvas = document.querySelector(arguments[0]), { width, height } = canvas;"
            "const copy = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });"
            "copy.drawImage(canvas, 0, 0);"
            "return [width, height, Array.from(copy.getImageData(0, 0, width, height).data)];",
            selector,
        )
        return np.array(data, np.uint8).reshape(height, width, 4)

    def levels(self, selector):
        """The grey levels on a canvas: ink has them as its opacity."""
        return self.rgba(selector)[..., 3]

    def sheet(self):
        """The digits on the sheet, integers [n, side, side]."""
        shown = self.ask("document.querySelectorAll('#tiles button:not([hidden])').length")
        return np.array([self.levels(f"#tiles button:nth-child({i}) canvas") for i in range(1, shown + 1)])

    def drag(self, selector, *points):
        """Press the pointer at the first of `points`, [x, y] in shares of the element, and move it over the others."""
        left, top, width, height = self.js(
            "const element = document.querySelector(arguments[0]); element.scrollIntoView({ block: 'center' });"
            "const { left, top, width, height } = element.getBoundingClientRect(); return [left, top, width, height];",
            selector,
        )
        kinds = ["mousePressed", *["mouseMoved"] * (len(points) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*points, points[-1]], strict=True):
            place = {"x": left + x * width, "y": top + y * height}
            event = {"type": kind, **place, "button": "left", "buttons": int(kind != "mouseReleased"), "clickCount": 1}
            self.driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)

    def press(self, *keys):
        for key in keys:
            self.driver.switch_to.active_element.send_keys(getattr(webdriver.Keys, key))

    def downloaded(self, name):
        """The picture in a file that the page saves."""
        path = self.folder / name
        self.wait(lambda: path.exists() and path.stat().st_size)
        return Image.open(path)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.driver.quit()


@pytest.fixture(autouse=True)
def quiet(browser):
    """No test may leave an error in the console, or have asked a host for anything."""
    browser.resize(1280, 860)
    browser.media()
    browser.driver.get("about:blank")
    for log in ("browser", "performance"):  # of what came before
        browser.driver.get_log(log)
    yield
    errors = [entry for entry in browser.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    events = [json.loads(entry["message"])["message"] for entry in browser.driver.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert not errors
    assert asked and all(address.startswith(("file:", "data:", "blob:", "about:")) for address in asked), asked


def near(found, expected):
    return found.shape == expected.shape and np.abs(found - expected.astype(int)).max() <= 1


def test_it_draws_the_digits_of_a_seed(browser, shipped, shipped_page):
    browser.open(shipped_page, "?seed=3&place=6")
    digits = shipped.sample(64, seed=3)
    assert near(browser.sheet(), digits) and near(browser.levels("#digit"), digits[5])
    real = shipped.discriminate(digits)
    marks = browser.ask("[...document.querySelectorAll('#real line')].map((line) => +line.getAttribute('x1'))")
    assert np.abs(np.array(marks) - 100 * real).max() < 0.1
    assert f"{100 * real[5]:.0f}% real" in browser.text("real-answer")
    assert browser.text("caption") == "Seed 3: its first 64 digits. Choose one." and not browser.text("notice")


def test_a_link_shows_the_same_again(browser, shipped, shipped_page):
    browser.open(shipped_page, "?seed=9007199254740993&class=7&place=2&walk=0.25,-0.5")
    assert near(browser.sheet(), shipped.sample(64, label=7, seed=2**53 + 1))
    walked = browser.levels("#digit")
    assert not near(walked, browser.sheet()[1])
    browser.open(shipped_page, browser.ask("location.search"))
    assert (browser.levels("#digit") == walked).all()
    assert browser.ask("document.getElementById('seed').value") == str(2**53 + 1)


def test_new_digits_and_back(browser, shipped_page):
    browser.open(shipped_page, "?seed=3")
    before = browser.sheet()
    browser.click("#new")
    browser.settle()
    seed = browser.ask("document.getElementById('seed').value")
    assert seed != "3" and browser.ask("location.search") == f"?seed={seed}" and (browser.sheet() != before).any()
    browser.driver.back()
    browser.says("caption", "Seed 3: its first")
    browser.settle()
    assert (browser.sheet() == before).all()


def test_a_class_may_be_changed_while_it_is_looked_for(browser, shipped, shipped_page):
    browser.open(shipped_page, "?seed=3")
    for digit in (4, 8, 1):
        browser.click(f"#classes [value='{digit}']")
    browser.says("caption", "64 ones, found among")
    assert near(browser.sheet()[:20], shipped.sample(20, label=1, seed=3))
    assert "class=1" in browser.ask("location.search")


def test_digits_that_are_not_there_yet_are_waited_for(browser, shipped, shipped_page):
    browser.media(prefers_reduced_motion="reduce")
    browser.open(shipped_page, "?seed=3")
    browser.click("#tab-path")
    browser.fill("seed", "8\n")  # the path leads over digits of the new sheet
    first, last = shipped.sample(2, seed=8)
    browser.wait(lambda: near(browser.levels("#digit"), first))
    browser.wait(lambda: near(browser.levels("#strip")[:, -32:], last))
    browser.click("#tab-walk")
    browser.js(  # while sevens are looked for, and none is found yet
        "document.querySelector('#classes [value=\"7\"]').click(); document.getElementById('back').click();"
        "for (const slider of document.querySelectorAll('#sliders input')) slider.dispatchEvent(new Event('input'))"
    )
    browser.says("caption", "64 sevens, found among")
    assert not browser.text("notice")


def test_walking(browser, shipped_page):
    browser.open(shipped_page, "?seed=3")
    start = browser.levels("#digit")
    browser.drag("#pad", (0.5, 0.5), (0.7, 0.6), (0.9, 0.8))
    browser.leads("walk=0.8,0.6")
    browser.wait(lambda: (browser.levels("#digit") != start).any())
    sliders = browser.ask("[...document.querySelectorAll('#sliders input')].map((slider) => +slider.value)")
    assert np.allclose(sliders, [0.8, 0.6, 0, 0, 0, 0], atol=0.011)
    browser.focus("#pad")
    browser.press("ARROW_LEFT", "ARROW_UP")
    browser.leads("walk=0.75,0.55")
    browser.click("#back")
    assert "walk" not in browser.ask("location.search")
    browser.wait(lambda: (browser.levels("#digit") == start).all())
    browser.wait(lambda: near(browser.levels("#map")[96:128, 96:128], start))
    browser.focus("#sliders div:nth-child(4) input")
    browser.press("END")
    browser.leads("walk=0,0,0,1,0,0")
    browser.wait(lambda: (browser.levels("#digit") != start).any())


def test_a_path_is_a_film(browser, shipped, shipped_page):
    browser.media(prefers_reduced_motion="reduce")
    browser.open(shipped_page, "?seed=3&place=1")
    browser.click("#tab-path")
    browser.click("#tiles button:nth-child(9)")
    assert browser.ask("document.querySelector('#tiles .end') === document.querySelector('#tiles button:nth-child(9)')")
    z = draws.latent(3, draws.Stream.SAMPLE, 0, (9, shipped.config.z_dim))
    expected = shipped.generate(latent_path(z[:1], z[8:], 33)[0])
    strip = np.concatenate(expected[::4], axis=1)
    browser.wait(lambda: near(browser.levels("#strip"), strip))
    assert browser.text("play") == "Play"  # nothing moves by itself
    for at in (0, 16, 32):
        browser.slide("#time", at)
        assert near(browser.levels("#digit"), expected[at])
    browser.click("#save-film")
    with browser.downloaded("path-seed-3.gif") as film:
        assert film.n_frames == 64 and film.size == (256, 256)
    browser.click("#play")
    browser.wait(lambda: browser.ask("document.getElementById('time').value") != "32")
    browser.click("#play")
    assert browser.text("play") == "Play"


def test_a_drawn_stroke_is_judged(browser, shipped, shipped_page):
    browser.open(shipped_page, "?seed=3")
    browser.click("#tab-hand")
    browser.drag("#paper", *((0.52, y / 10) for y in range(1, 10)))
    browser.says("read-answer", "reads a 1")
    assert browser.levels("#digit").shape == (28, 28) and "real" in browser.text("real-answer")
    browser.click("#wipe")
    angles = np.linspace(0, 2 * np.pi, 40)
    browser.drag("#paper", *((0.5 + 0.25 * np.sin(a), 0.5 - 0.4 * np.cos(a)) for a in angles))
    browser.says("read-answer", "reads a 0")
    browser.click("#wipe")
    assert browser.text("read-answer") == "" and browser.levels("#paper").max() == 0
    browser.click("#tiles button:nth-child(4)")
    browser.wait(lambda: near(browser.levels("#digit"), shipped.sample(4, seed=3)[3]))
    assert browser.shown("walk") and not browser.shown("hand")


def test_training_by_pictures(browser, shipped, shipped_page):
    browser.open(shipped_page, "?step=0")
    noise = browser.sheet()
    assert "after 0 steps" in browser.text("caption") and browser.ask("document.getElementById('walk').inert")
    browser.focus("#stop")
    browser.press("END")
    browser.says("caption", "after 150,000 steps")
    browser.settle()
    z = draws.latent(shipped.config.seed, draws.Stream.SNAPSHOT, 0, (64, shipped.config.z_dim))
    assert near(browser.sheet(), shipped.generate(z)) and np.abs(browser.sheet() - noise).mean() > 20
    assert not browser.ask("document.getElementById('walk').inert")


def test_training_by_weights(browser, finished, tmp_path):
    browser.open(export(tmp_path, "html", "--out_dir", finished), "?seed=4&step=100")
    assert browser.text("step") == "step 100"
    middle = browser.sheet()
    browser.click("#replay")
    browser.says("step", "step 200")
    browser.settle()
    with dcgan_tf1.load(finished) as gan:
        assert np.abs(browser.sheet() - gan.sample(64, seed=4).astype(int)).max() <= 3  # float16
    assert (browser.sheet() != middle).any()


def test_a_conditional_gan(browser, last_of_conditional, tmp_path):
    path = export(tmp_path, "html", "--out_dir", last_of_conditional)
    with dcgan_tf1.load(last_of_conditional) as gan:
        browser.open(path, "?seed=3")
        assert np.abs(browser.sheet() - gan.sample(64, seed=3).astype(int)).max() <= 8  # float16, and few steps
        browser.click("#classes [value='7']")
        browser.says("caption", "Seed 3: its first 64 sevens. ")
        assert np.abs(browser.sheet() - gan.sample(64, label=7, seed=3).astype(int)).max() <= 8
    browser.click("#tab-hand")
    browser.drag("#paper", (0.5, 0.1), (0.5, 0.5), (0.5, 0.9))
    browser.says("real-answer", "real as “")
    browser.open(path, "?step=0")
    columns = "getComputedStyle(document.getElementById('tiles')).gridTemplateColumns.split(' ').length"
    assert browser.ask(columns) == 10 and len(browser.sheet()) == 60  # a column for each class


def test_numbers_that_name_other_things_are_not_read_as_digits(browser, tmp_path):
    browser.open(export(tmp_path, "html", "--checkpoint", "fashion"), "?seed=3&class=7")
    assert browser.text("caption") == "Seed 3: its first 64 pictures of “7”. Choose one."
    assert not browser.shown("read") and not browser.shown("read-answer")
    assert browser.ask("document.querySelector('h1').textContent") == "Pictures that nobody took"
    assert browser.ask("document.getElementById('digit').getAttribute('aria-label')") == "The chosen picture"


def test_saved_pictures(browser, shipped, shipped_page):
    browser.open(shipped_page, "?seed=3&class=5")
    browser.click("#save-digit")
    with browser.downloaded("digit-seed-3-class-5.png") as picture:
        assert picture.size == (400, 400)
        levels = np.asarray(picture.convert("L"))[40:-40:10, 40:-40:10].astype(float)
    expected = shipped.sample(1, label=5, seed=3)[0]
    assert np.corrcoef(levels.ravel(), expected.ravel())[0, 1] < -0.999  # dark ink on light paper
    browser.click("#save-sheet")
    with browser.downloaded("digits-seed-3-class-5.png") as picture:
        assert picture.size == ((256 + 8) * 3, (256 + 8) * 3)


def test_the_keyboard_alone(browser, shipped_page):
    browser.open(shipped_page, "?seed=3")
    browser.focus("#tiles button")
    browser.press("ARROW_RIGHT", "ARROW_DOWN", "ENTER")
    browser.leads("place=10")
    assert "looks like a" in browser.ask("document.activeElement.getAttribute('aria-label')")
    browser.focus("#tab-walk")
    browser.press("ARROW_RIGHT", "ARROW_RIGHT")
    assert browser.ask("document.activeElement.id") == "tab-hand"
    assert browser.shown("hand") and not browser.shown("walk")


def test_nothing_is_wider_than_the_window(browser, shipped_page):
    browser.open(shipped_page, "?seed=9223372036854775807")
    for width in (360, 768, 1280, 2000):
        browser.resize(width, 800)
        for tab in ("walk", "path", "hand"):
            browser.click(f"#tab-{tab}")
            assert browser.ask("document.documentElement.scrollWidth") <= width, (width, tab)


def test_dark_and_light(browser, shipped_page):
    def ink(canvas):
        shown = browser.rgba(canvas)
        return shown[shown[..., 3] > 127][:, 0].max()

    browser.media(prefers_color_scheme="dark")
    browser.open(shipped_page, "?seed=3")
    assert ink("#digit") > 192
    browser.media(prefers_color_scheme="light")  # while the page is open
    browser.wait(lambda: max(ink("#digit"), ink("#tiles canvas")) < 64)


def test_a_bad_seed_in_the_link_or_in_the_field(browser, shipped_page):
    browser.open(shipped_page, "?seed=-1")
    assert "seed" in browser.text("notice") and "expected" in browser.text("notice") and browser.shown("notice")
    browser.fill("seed", "seven\n")
    browser.says("notice", "“seven”")
    browser.fill("seed", "8\n")
    browser.says("caption", "Seed 8: its first")
    assert browser.text("notice") == ""


def test_a_file_cut_short_is_a_sentence(browser, shipped_page, tmp_path):
    content, path = shipped_page.read_bytes(), tmp_path / "cut.html"
    for share in (0.0005, 0.02, 0.5, 0.999, 0.99999):
        path.write_bytes(content[: int(len(content) * share)])
        browser.driver.get(path.as_uri())
        browser.says("notice", "cut short")
        browser.wait(lambda: browser.shown("notice"))
        assert not any(main.is_displayed() for main in browser.driver.find_elements("id", "main")), share
    browser.driver.get_log("browser")  # a style that is cut short has not the hash that the policy allows


@pytest.mark.parametrize("missing", ["Worker", "BigInt"])
def test_a_browser_that_lacks_something_is_a_sentence(browser, shipped_page, missing):
    script = {"source": f"delete globalThis.{missing};"}
    added = browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
    try:
        browser.driver.get(shipped_page.as_uri())
        browser.says("notice", "This browser has no")
        assert browser.shown("notice")
    finally:
        browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """The accessibility rules of axe-core."""
    folder = tmp_path_factory.mktemp("axe")
    npm = shutil.which("npm")
    if not npm:
        pytest.skip("needs npm, which brings axe-core")
    try:
        subprocess.run([npm, "install", "axe-core@4"], cwd=folder, capture_output=True, check=True, timeout=120)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip("axe-core is not to be had")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


def test_accessibility(browser, shipped_page, axe):
    browser.open(shipped_page, "?seed=3&step=1000&class=a")  # a sentence is shown too
    browser.js(axe)
    for width, scheme, tab in itertools.product((360, 1280), ("light", "dark"), ("walk", "path", "hand")):
        browser.media(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
        browser.resize(width, 900)
        browser.click(f"#tab-{tab}")
        found = browser.driver.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
        assert found["passes"]
        assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found["violations"]] == [], (width, scheme, tab)
