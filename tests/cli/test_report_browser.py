"""The report in a real browser: Debian's Chromium without a window, driven by selenium."""
import shutil

import numpy as np
import pytest

from conftest import read_mrc

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not here; "
                                "tests/setup checks installs it")
pytestmark = pytest.mark.slow  # starts a browser
WIDTHS = (400, 1280)


@pytest.fixture(scope="module")
def made(tiltrec, make_phantom):
    """A page, and the tomogram [z][y][x] that it shows: every voxel of it."""
    cell = make_phantom("--size", 64, 48, 24, "--views", 21)
    tiltrec("-a", "SIRT", "-i", 8, "-T", 24, "-o", "rec.mrc", "--report", "r.html",
            "--half-sets", "views", cell.series, cwd=cell.folder)
    return cell.folder / "r.html", read_mrc(cell.folder / "rec.mrc").transpose(1, 0, 2)


@pytest.fixture(scope="module")
def browser():
    program, driver = (next(filter(None, map(shutil.which, names)), None) for names in
                       (("chromium", "chromium-browser", "google-chrome"), ("chromedriver",)))
    if not program or not driver:
        pytest.skip("no Chromium with its driver; tests/setup checks installs them")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for word in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage",
                 "force-device-scale-factor=1", "host-resolver-rules=MAP * ~NOTFOUND"):
        options.add_argument("--" + word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    browser = webdriver.Chrome(options=options, service=service)
    browser.set_script_timeout(60)
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def page(browser, made):
    set_width(browser, 1280)
    browser.get(made[0].as_uri())
    browser.execute_async_script("""
        const done = arguments[0];
        const look = () => document.body.dataset.ready ? done() : setTimeout(look, 20);
        look();""")
    return browser


def set_width(browser, width):
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False})


def pixels(page, canvas):
    """The grey values that a canvas shows, [row][column]."""
    width, height, values = page.execute_script("""
        const c = document.getElementById(arguments[0]);
        const data = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
        const grey = [];
        for (let k = 0; k < data.length; k += 4) {
          if (data[k] !== data[k + 1] || data[k] !== data[k + 2] || data[k + 3] !== 255)
            throw "not grey";
          grey.push(data[k]);
        }
        return [c.width, c.height, grey];""", canvas)
    return np.array(values).reshape(height, width)


def move(page, slider, value):
    page.execute_script("""
        const s = document.getElementById(arguments[0]);
        s.value = arguments[1];
        s.dispatchEvent(new Event("input", {bubbles: true}));""", slider, str(value))


def contrast(page):
    """The densities shown as black and as white, and those of the volume's levels."""
    return page.execute_script("""
        const said = ["black", "white"].map(n => +document.getElementById(n + "-value").textContent);
        const data = document.getElementById("volume-data").dataset;
        return [said, [+data.low, +data.high]];""")


def shown(section, black, white):
    return np.clip(255 * (section - black) / (white - black), 0, 255)


def check(picture, section, black, white, step):
    """As near as 256 levels and what the sliders say in four digits allow."""
    allowed = 255 * (0.51 * step + 2e-3 * (white - black)) / (white - black) + 1
    wanted = shown(section, black, white)
    inside = (section > section.min() + 2 * step) & (section < section.max() - 2 * step)
    assert picture.shape == section.shape
    assert np.abs(picture - wanted)[inside].max() <= allowed
    assert np.ptp(wanted) > 200 and picture.std() > 10


def test_sections_slices_and_contrast(page, made):
    _, volume = made
    (black, white), (low, high) = contrast(page)
    step = (high - low) / 255
    assert np.quantile(volume, [0.2, 0.8])[0] > black and white > np.quantile(volume, 0.8)
    z, y, x = (n // 2 for n in volume.shape)
    for name, section in (("xy", volume[z, ::-1]), ("xz", volume[::-1, y]),
                          ("yz", volume[::-1, :, x])):
        check(pixels(page, f"section-{name}"), np.clip(section, low, high), black, white, 2 * step)
    before = pixels(page, "volume")
    check(before, np.clip(volume[z, ::-1], low, high), black, white, step)
    # The slider shows another slice, and the buttons other directions.
    move(page, "slice", 3)
    after = pixels(page, "volume")
    check(after, np.clip(volume[3, ::-1], low, high), black, white, step)
    assert np.abs(after - before).mean() > 5
    for axis, at, section in (("y", 40, volume[::-1, 40]), ("x", 12, volume[::-1, :, 12])):
        page.find_element("css selector", f"[data-axis={axis}]").click()
        move(page, "slice", at)
        assert f"{axis} = {at} of" in page.find_element("id", "slice-value").text
        check(pixels(page, "volume"), np.clip(section, low, high), black, white, step)
    # The contrast changes all pictures.
    ends = [int(page.find_element("id", name).get_property("value")) for name in ("black", "white")]
    move(page, "white", sum(ends) // 2)
    (_, less), _ = contrast(page)
    assert less < white
    check(pixels(page, "volume"), np.clip(volume[::-1, :, 12], low, high), black, less, step)
    assert pixels(page, "section-xy").mean() > 1.1 * shown(volume[z, ::-1], black, white).mean()
    bright = pixels(page, "section-xz").astype(float)
    page.find_element("id", "invert").click()
    assert np.abs(pixels(page, "section-xz") + bright - 255).max() <= 1
    page.find_element("id", "reset").click()
    assert contrast(page)[0] == [black, white]


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_it_fits_wide_and_narrow(page, colours):
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {
        "features": [{"name": "prefers-color-scheme", "value": colours}]})
    for width in WIDTHS:
        set_width(page, width)
        inner, scroll, outside, smallest = page.execute_script("""
            const boxes = [...document.querySelectorAll("main *, header *")];
            const sizes = [...document.querySelectorAll("svg.chart text")].map(t =>
              parseFloat(getComputedStyle(t).fontSize) *
              t.ownerSVGElement.getBoundingClientRect().width / 480);
            return [innerWidth, document.documentElement.scrollWidth,
                    boxes.filter(b => b.getBoundingClientRect().right > innerWidth + 1)
                         .map(b => b.tagName + " " + b.textContent.slice(0, 40)),
                    Math.min(...sizes)];""")
        assert inner == width and scroll <= width and not outside
        assert smallest >= 9  # pixels
        text, back = page.execute_script("""
            const style = getComputedStyle(document.body);
            const light = c => c.match(/[\\d.]+/g).slice(0, 3).reduce((a, b) => a + +b, 0) / 3;
            return [light(style.color), light(style.backgroundColor)];""")
        assert (back > 200 and text < 80) if colours == "light" else (back < 60 and text > 180)


def test_nothing_is_wrong_or_from_outside(page, made):
    page.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.get_log("browser") == []
    asked = page.execute_script("""
        return performance.getEntriesByType("resource").map(r => r.name)
                          .filter(name => !name.startsWith("data:"))""")
    assert asked == []
    assert made[0].stat().st_size < 8e6
    text = page.find_element("tag name", "main").text
    for words in ("Convergence", "Views", "Fourier ring correlation", "Geometry", "tilt angle",
                  "--tilt-offset", "plan: memory", "tiltrec-mpi"):
        assert words in text


def gaussian(levels, sigma):
    """Rows, then columns; at an edge the mean of what is there."""
    for axis in (1, 0):
        n = levels.shape[axis]
        weight = np.exp(-np.subtract.outer(np.arange(n), np.arange(n)) ** 2 / (2 * sigma ** 2))
        weight[np.abs(np.subtract.outer(np.arange(n), np.arange(n))) > np.ceil(3 * sigma)] = 0
        weight /= weight.sum(1, keepdims=True)
        levels = np.moveaxis(np.tensordot(weight, levels, (1, axis)), 0, axis)
    return levels


def test_the_low_pass_filter(page, made):
    _, volume = made
    page.find_element("id", "reset").click()
    page.find_element("css selector", "[data-axis=z]").click()
    (black, white), (low, high) = contrast(page)
    plain = pixels(page, "volume")
    assert page.find_element("id", "smooth-value").text == "off"
    move(page, "smooth", 45)
    said = page.find_element("id", "smooth-value").text
    period = 2 * 32 ** (44 / 99)
    assert said.endswith(" Å") and float(said.split()[0]) == pytest.approx(
        period * voxel_of(made), rel=0.01)
    # A wave of this period is halved by exp(-2 (pi sigma / period)^2).
    sigma = period * np.sqrt(np.log(2) / 2) / np.pi
    assert np.exp(-2 * (np.pi * sigma / period) ** 2) == pytest.approx(0.5)
    z, y, x = (n // 2 for n in volume.shape)
    for name, section in (("volume", volume[page_slice(page), ::-1]),
                          ("section-xz", volume[::-1, y]), ("section-yz", volume[::-1, :, x])):
        wanted = shown(gaussian(np.clip(section, low, high), sigma), black, white)
        if name == "volume":
            assert np.abs(pixels(page, name) - wanted).max() < 4
        else:  # whose levels end elsewhere
            assert np.corrcoef(pixels(page, name).ravel(), wanted.ravel())[0, 1] > 0.97
    page.find_element("id", "reset").click()
    assert np.array_equal(pixels(page, "volume"), plain)


def voxel_of(made):
    with open(made[0].parent / "rec.mrc", "rb") as file:
        head = file.read(56)
    return np.frombuffer(head[40:44], "<f4")[0] / np.frombuffer(head[28:32], "<i4")[0]


def page_slice(page):
    return int(page.find_element("id", "slice").get_property("value"))


def test_scale_bars_are_as_long_as_they_say(page, made):
    _, volume = made
    nm = voxel_of(made) / 10
    for width in WIDTHS:
        set_width(page, width)
        page.execute_script("dispatchEvent(new Event('resize'))")
        for name, across, up in (("section-xy", 2, 1), ("section-xz", 2, 0), ("section-yz", 1, 0)):
            box, bar, text = page.execute_script("""
                const c = document.getElementById(arguments[0]), b = c.nextSibling;
                const r = c.getBoundingClientRect();
                return [[r.width, r.height], b.firstChild.getBoundingClientRect().width,
                        b.textContent];""", name)
            per = min(box[0] / volume.shape[across], box[1] / volume.shape[up])
            length, unit = text.split()
            assert unit == "nm" and bar == pytest.approx(float(length) / nm * per, rel=0.02)
            assert 0.09 <= float(length) / nm / volume.shape[across] <= 0.2501


def test_the_section_across_the_beam_is_the_largest(tiltrec, make_phantom, browser, made):
    def areas():
        return browser.execute_script("""
            return ["xy", "xz", "yz"].map(n => {
              const r = document.getElementById("section-" + n).getBoundingClientRect();
              return [r.width, r.width * r.height]; });""")
    wide = make_phantom("--size", 96, 32, 16, "--views", 9)
    tiltrec("-T", 16, "-o", "rec.mrc", "--report", "r.html", wide.series, cwd=wide.folder)
    for path, fills in (made[0], False), (wide.folder / "r.html", True):
        for width in WIDTHS:
            set_width(browser, width)
            browser.get(path.as_uri())
            browser.execute_async_script("""
                const done = arguments[0];
                const look = () => document.body.dataset.ready ? done() : setTimeout(look, 20);
                look();""")
            xy, xz, yz = areas()
            assert xy[1] > xz[1] and xy[1] >= yz[1]
            assert not fills or xy[0] > 0.8 * min(width, 1240)
