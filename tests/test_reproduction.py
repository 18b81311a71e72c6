"""The page of the reproduction is made from what runs leave on disk, and names tests that exist."""

import re

import pytest
from conftest import ROOT, STEPS, load_script
from PIL import Image

QUALITY = {"frechet_distance": 2.0, "coverage": 0.5, "missing_classes": 1}


class ScorerOfNothing:
    """Counts the calls of `measure`, and finds every set of digits alike."""

    calls = 0

    def measure(self, digits):
        assert digits.shape[1:] == (28, 28)
        self.calls += 1
        return QUALITY


@pytest.fixture
def reproduction(monkeypatch):
    module = load_script("experiments/reproduction.py")
    monkeypatch.setattr(module, "DIGITS", 100)
    monkeypatch.setattr(module, "STEPS", (50, STEPS, 10 * STEPS))
    return module


def test_the_page_is_made_from_runs(reproduction, finished_copy, tmp_path):
    scorer = ScorerOfNothing()
    runs = [reproduction.read_run(name, finished_copy, scorer) for name in ("one", "two")]
    measured = len(list((finished_copy / "checkpoints").glob("model-*.json")))
    assert scorer.calls == measured > 2  # the second reading found what the first had kept
    floor = {**QUALITY, "frechet_distance": 0.5}

    page = tmp_path / "page.md"
    page.write_text("before\n<!-- quality -->\nold\n<!-- end of quality -->\nafter\n")
    reproduction.fill(page, "quality", reproduction.quality_table(runs, floor))
    text = page.read_text()
    assert text.startswith("before\n<!-- quality -->\n\n|") and text.endswith("|\n\n<!-- end of quality -->\nafter\n")
    assert "old" not in text and text.count(f"| {STEPS:,} |") == 2 and "| 2 | 4.0 | 0.500 | 1 |" in text
    with pytest.raises(SystemExit, match="runs"):
        reproduction.fill(page, "runs", [])

    for plot, others in (("grids", ()), ("quality", (floor,)), ("curves", ())):
        path = tmp_path / f"{plot}.png"
        getattr(reproduction, f"plot_{plot}")(runs, *others, path)
        with Image.open(path) as picture:
            assert picture.width > 500 and len(picture.convert("L").getcolors()) > 50


def test_all_pages_name_tests_that_exist():
    tests = {path.stem: path.read_text() for path in (ROOT / "tests").glob("*.py")}
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for name in re.findall(r"\btest_\w+(?=`|::|\.py)", page.read_text()):
            assert name in tests or any(f"def {name}(" in text for text in tests.values()), (page.name, name)
