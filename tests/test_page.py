"""The page without a browser: its arithmetic in Node, beside NumPy and TensorFlow, and the file that is written."""

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
import webbrowser
from pathlib import Path

import numpy as np
import pytest
from conftest import (
    ROOT,
    SHIPPED,
    assert_error,
    contents,
    export,
    output,
    page_part,
    page_record,
    remove_checkpoints,
    run,
    train,
)
from PIL import Image

import dcgan_tf1
from dcgan_tf1.data import draws
from dcgan_tf1.pictures import images
from dcgan_tf1.quality.classifier import Classifier
from dcgan_tf1.runs import weights
from dcgan_tf1.sampling import page, paths
from dcgan_tf1.sampling.request import Request

SOURCES = ROOT / "dcgan_tf1" / "page"
NODE = shutil.which("node")


def node(*arguments, **options):
    """What Node.js prints, which is JSON. A test ends here where there is none."""
    if NODE is None:
        pytest.skip("needs Node.js")
    done = subprocess.run([NODE, *arguments], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def javascript(code, **values):
    """What JavaScript that has `values` and the exports of all modules without a page of their own gives to `tell`."""
    names = ("latent", "weights", "layers", "networks", "walk", "stroke", "gif", "link", "words")
    modules = "".join(f'import * as {name} from "./{name}.mjs";\n' for name in names)
    plain = "(key, value) => ArrayBuffer.isView(value) ? [...value] : typeof value === 'bigint' ? String(value) : value"
    tell = f"const tell = (value) => process.stdout.write(JSON.stringify(value, {plain}));\n"
    given = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in values.items())
    return node("--input-type=module", "-", input=modules + tell + given + code, cwd=SOURCES)


def paint(path, *requests):
    """The answers of the page's worker to each request, without the one that ends them."""
    ready, *answers = node(ROOT / "tests" / "painter.mjs", path, input=json.dumps(requests))
    assert ready == [{"ready": True}]
    assert all(parts[-1].get("done") for parts in answers), answers
    return [[part for part in parts if "pixels" in part] for parts in answers]


def pixels(parts):
    """Integers [n, side, side]."""
    digits = np.array([part["pixels"] for part in parts], int)
    side = round(digits.shape[1] ** 0.5)
    return digits.reshape(-1, side, side)


def shown(digits, shares=None):
    """Digits as the page sends them to be judged: uint8 [n, side, side], and the shares of their classes."""
    known = [{} if shares is None else {"classes": shares[i]} for i in range(len(digits))]
    return [{"pixels": digit.ravel().tolist(), **more} for digit, more in zip(digits, known, strict=True)]


@pytest.mark.parametrize("seed", [0, 3, 2**53 + 1, 2**63 - 1])
@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_random_numbers(seed, distribution):
    for counter, first in ((0, 0), (1, 7), (2**33, 498)):
        expected = draws.latent(seed, draws.Stream.SAMPLE, counter, (600,), distribution)[first:]
        code = "tell(latent.latent(BigInt(seed), latent.SAMPLE, counter, first, 600 - first, distribution));"
        found = javascript(code, seed=str(seed), counter=counter, first=first, distribution=distribution)
        if distribution == "uniform":
            assert np.array_equal(np.array(found, np.float32), expected)
        else:  # logarithm and cosine are other programs'
            assert np.allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_every_float16():
    expected = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    found = javascript("tell([...weights.float16Table()].map(String));")
    assert np.array_equal(np.array(found, np.float32), expected, equal_nan=True)


FAMILIES = {
    "reference": ["--preset", "reference", "--g_channels", "16,8,8,4"],  # biases, and the wide kernel
    "one pixel": ["--g_channels", "8,4,4", "--output_kernel", "1", "--z_distribution", "normal"],
    "dcgan28": ["--model", "dcgan28"],
    "mlp": ["--model", "mlp"],
    "conditional": ["--conditional"],
    "conditional dcgan28": ["--conditional", "--model", "dcgan28"],
}
IN_SHORT = ("reference", "conditional", "mlp")


@pytest.mark.parametrize(
    "name", ["shipped", *(pytest.param(name, marks=[] if name in IN_SHORT else pytest.mark.slow) for name in FAMILIES)]
)
def test_exactness(name, tmp_path, shipped_page):
    """The digits of a seed and the verdicts on them are those of the weights that are in the page."""
    path, file = shipped_page, SHIPPED
    if name != "shipped":
        train(tmp_path, 3, *FAMILIES[name], "--batch_size", 16)
        file = tmp_path / "weights.npz"
        output("export", "--format", "npz", "--half", "--out", file, "--out_dir", tmp_path)
        path = export(tmp_path, "html", "--out_dir", tmp_path, "--checkpoint", file)
    with dcgan_tf1.load(file) as gan, Classifier.load() as classifier:
        digits = gan.sample(40, seed=2**60 + 1)
        labels = np.arange(40) % 10 if gan.classes else None
        shares = np.eye(10)[labels].tolist() if gan.classes else [[]] * 40
        real = gan.discriminate(digits, labels)
        _, classes = classifier.features_and_probabilities(images.fit(digits, 28))
        corners = np.resize(np.array([-1, 0, 1], np.float32), (3, gan.config.z_dim))
        drawn = gan.generate(corners, labels[:3] if gan.classes else None)
        nines = gan.sample(3, label=9, seed=0) if gan.classes else None
    assert digits.std() > 1 and real.std() > 0
    points = [{"z": z, "classes": share} for z, share in zip(corners.tolist(), shares, strict=False)]
    found, judged, edges, unsure = paint(
        path,
        {"kind": "sample", "seed": str(2**60 + 1), "digit": None, "count": 40, "stop": 0},
        {"kind": "judge", "digits": shown(digits, shares), "stop": 0},
        {"kind": "draw", "points": points, "stop": 0, "judged": True},
        {"kind": "judge", "digits": shown(digits[:20]), "stop": 0},  # as which class, nobody says
    )
    assert np.abs(pixels(found) - digits).max() <= 1
    assert np.abs(pixels(edges) - drawn).max() <= 1 and "real" in edges[0]["verdict"]
    assert np.abs([part["verdict"]["real"] for part in judged] - real).max() < 1e-3
    assert np.abs([part["verdict"]["read"] for part in judged] - classes).max() < 1e-3
    seen_as = [part["verdict"]["as"] for part in unsure]
    if nines is None:
        assert seen_as == [None] * 20
        return
    with dcgan_tf1.load(file) as gan:
        each = np.array([gan.discriminate(digits[:20], np.full(20, label)) for label in range(10)])
    assert np.abs([part["verdict"]["real"] for part in unsure] - each.max(0)).max() < 1e-3
    assert np.abs(each[seen_as, range(20)] - each.max(0)).max() < 2e-3  # two classes may be as good
    (asked,) = paint(path, {"kind": "sample", "seed": "0", "digit": 9, "count": 3, "stop": 0})
    assert np.abs(pixels(asked) - nines).max() <= 1


def test_digits_of_a_class(shipped, shipped_page):
    found, one = paint(
        shipped_page,
        {"kind": "sample", "seed": "3", "digit": 7, "count": 12, "stop": 0},
        {"kind": "sample", "seed": str(2**63 - 1), "digit": 0, "count": 3, "stop": 0},
    )
    assert np.abs(pixels(found) - shipped.sample(12, label=7, seed=3)).max() <= 1
    assert np.abs(pixels(one) - shipped.sample(3, label=0, seed=2**63 - 1)).max() <= 1
    (selection,) = shipped.select(Request(12, 7, seed=3))
    assert [part["drawn"] for part in found][-1] == selection.examined
    assert np.array_equal(np.array([part["z"] for part in found], np.float32), selection.z)


def test_a_drawn_digit_is_padded_for_the_discriminator(shipped, shipped_page):
    """What a hand draws has 28x28 pixels, whatever the family."""
    digits = images.fit(shipped.sample(3, seed=0), 28)
    (judged,) = paint(shipped_page, {"kind": "judge", "digits": shown(digits), "stop": 0})
    assert np.abs([part["verdict"]["real"] for part in judged] - shipped.discriminate(digits)).max() < 1e-3


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_paths_are_those_of_interpolate(distribution):
    start, stop = draws.latent(1, draws.Stream.SAMPLE, 0, (2, 30), distribution)
    start[:2] = -1, 1 - 2**-23  # the ends of the range of uniform numbers
    expected = paths.latent_path(start[np.newaxis], stop[np.newaxis], 9, distribution)[0]
    code = "tell(walk.path(Float32Array.from(start), Float32Array.from(stop), 9, distribution));"
    found = javascript(code, start=start.tolist(), stop=stop.tolist(), distribution=distribution)
    assert np.allclose(found, expected, atol=2e-6)
    assert np.array_equal(np.array(found, np.float32)[[0, -1]], [start, stop])


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_a_walk_stays_where_digits_are(distribution):
    z = draws.latent(1, draws.Stream.SAMPLE, 0, (30,), distribution)
    ways = np.eye(30)[:2] * 4
    code = "tell([[0, 0], [0.5, 0], [1, -1]].map((by) => walk.walk(Float32Array.from(z), ways, by, distribution)));"
    found = javascript(code, z=z.tolist(), ways=ways.tolist(), distribution=distribution)
    stays, near, far = np.array(found, np.float32)
    assert np.array_equal(stays, z)
    assert near[0] > z[0] and far[0] > near[0] and far[1] < z[1]
    if distribution == "uniform":
        assert np.abs(far).max() <= 1
    else:
        assert np.allclose([np.linalg.norm(near), np.linalg.norm(far)], np.linalg.norm(z), rtol=1e-5)
        assert np.allclose(near[1:] / near[1], z[1:] / z[1], rtol=1e-4)


def test_a_gif_shows_its_frames():
    rng = np.random.default_rng(0)
    flat, noise = np.zeros((70, 90)), rng.integers(0, 256, (70, 90))  # the noise takes more codes than there are
    ramp = np.arange(70 * 90).reshape(70, 90) // 25 % 256
    code = """
const palette = Array.from({ length: 256 }, (_, i) => [i, 255 - i, 7]);
tell(gif.gif(frames.map((frame) => Uint8Array.from(frame)), 90, 70, palette, 5));"""
    frames = [array.astype(int) for array in (flat, noise, ramp)]
    content = bytes(javascript(code, frames=[frame.ravel().tolist() for frame in frames]))
    with Image.open(io.BytesIO(content)) as film:
        assert (film.n_frames, film.size, film.info["loop"]) == (3, (90, 70), 0)
        for i, frame in enumerate(frames):
            film.seek(i)
            assert film.info["duration"] == 50
            assert np.array_equal(np.asarray(film.convert("RGB")), np.stack([frame, 255 - frame, 0 * frame + 7], -1))


def test_a_drawn_stroke_becomes_a_picture_like_mnists():
    code = """
const hook = [[10, 10], [200, 10], [100, 400]], line = [[30, 5], [30, 90]], dot = [[7, 7]];
const moved = hook.map(([x, y]) => [x / 3 + 50, y / 3 - 20]);
tell([[hook], [moved], [line], [dot], [hook, line]].map(stroke.pictureOf).concat([stroke.pictureOf([])]));"""
    *found, nothing = javascript(code)
    assert nothing is None
    hook, moved, line, dot, both = np.array(found).reshape(5, 28, 28)
    assert np.array_equal(hook, moved) and not np.array_equal(hook, both)
    for picture in (hook, line, dot, both):
        assert picture.max() >= 250
        centre = [(picture.sum(axis) * (np.arange(28) + 0.5)).sum() / picture.sum() for axis in (0, 1)]
        assert np.abs(np.array(centre) - 14).max() < 0.15
    height, width = (np.flatnonzero(line.sum(axis)).size for axis in (1, 0))
    assert 19 <= height <= 22 and 2 <= width <= 4
    assert np.flatnonzero(dot.sum(0)).size <= 4


LIMITS = {"ways": 3, "places": 64, "steps": [0, 1000], "names": ["0", "3"]}


def test_links():
    code = """
const state = { seed: 9007199254740993n, digit: "0", place: 12, walk: [0.5, 0, -1], step: 0 };
const plain = { seed: 0n, digit: null, place: 0, walk: [0, 0, 0], step: null };
tell([link.writeLink(state), link.writeLink(plain), link.readLink(link.writeLink(state), limits),
      link.readLink("", limits)]);"""
    address, plain, found, none = javascript(code, limits=LIMITS)
    assert address == "?seed=9007199254740993&class=0&place=13&step=0&walk=0.5,0,-1" and plain == "?seed=0"
    assert found == {"seed": str(2**53 + 1), "digit": "0", "place": 12, "walk": [0.5, 0, -1], "step": 0, "problems": []}
    assert none == {"seed": None, "digit": None, "place": 0, "walk": [0, 0, 0], "step": None, "problems": []}


@pytest.mark.parametrize(
    "query",
    ["seed=-1", "seed=abc", "seed=9223372036854775808", "seed=" + "9" * 400, "seed=", "class=10", "class=x", "place=0"]
    + ["place=65", "place=1e1", "walk=2", "walk=0,0,0,0", "walk=x", "walk=NaN", "step=7", "step=1e3"],
)
def test_a_link_that_asks_for_what_there_is_not(query):
    code = 'tell(link.readLink("?class=3&" + query, limits));'
    found = javascript(code, query=query, limits=LIMITS)
    (sentence,) = found["problems"] if not query.startswith("class") else ["class expected"]
    assert query.partition("=")[0] in sentence and "expected" in sentence and len(sentence) < 120
    assert found["seed"] is None and found["place"] == 0 and found["walk"] == [0, 0, 0] and found["step"] is None


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ({"digit": None}, "Drawing…"),
        ({"digit": None, "done": True}, "Seed 3: its first 64 digits. Choose one."),
        ({"found": 9}, "Looking for sevens: 9 of 20,000 digits."),
        ({"found": 64, "done": True}, "Seed 3: its first 64 sevens, found among 20,000 digits."),
        ({"found": 9, "done": True}, "Seed 3: 9 sevens among its first 20,000 digits. This network seldom draws them."),
        ({"fixed": True}, "The same 64 points, as they were drawn after 5,000 steps."),
    ],
)
def test_the_sentence_below_the_sheet(state, sentence):
    code = """
const called = new words.Words({ classes: [], names: ["0", "7"], dataset: "mnist", config: {} });
tell(called.caption({ seed: 3n, digit: 7, step: "5,000", ...state }, { count: 64, drawn: 20000, ...state }));"""
    assert javascript(code, state=state) == sentence


def test_a_data_set_may_have_any_name():
    code = """
const model = { classes: ["toString", "2"], names: ["toString", "2"], dataset: "constructor", config: { z_dim: 3 } };
const named = new words.Words(model);
tell([named.intro, named.nameOf("toString")]);"""
    intro, name = javascript(code)
    assert "looked at the images of constructor until" in intro and name == "pictures of “toString”"


def test_the_file_asks_no_host_for_anything(shipped_page):
    text = shipped_page.read_text("utf-8")
    assert len(text) < 8e6 and text.startswith("<!doctype html>")
    assert not re.search(r"{{|https?:(?!//www\.w3\.org/2000/svg)|@import|url\(|^import |^export ", text, re.MULTILINE)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy
    for tag in ("script", "style"):
        content = re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert text.count("<script") == text.count("</script>") == 4


def test_every_module_is_in_the_page(shipped_page):
    text = shipped_page.read_text("utf-8")
    for path in SOURCES.glob("*.mjs"):
        assert path.read_text("utf-8").partition("\n")[0] in text, path
    script = re.search("<script>(.*?)</script>", text, re.DOTALL)[1]
    assert javascript("tell(typeof Function(script));", script=script) == "function"  # no name is there twice


def test_the_weights_are_those_of_half_an_npz(shipped_page):
    found = np.frombuffer(base64.b64decode(page_part(shipped_page, "weights")), np.float16)
    arrays = weights.rounded(weights.shipped_weights("unconditional"), "float16")
    assert [name for name, _ in page_record(shipped_page)["arrays"]] == list(arrays)
    expected = np.concatenate([array.ravel() for array in arrays.values()])
    assert np.array_equal(found[: len(expected)], expected) and 2 * len(found) == page_record(shipped_page)["bytes"]


def test_directions_are_the_strongest(shipped, shipped_page):
    """Digits differ more along the first directions than along the last, and than along chance ones."""
    directions = np.array(page_record(shipped_page)["directions"])
    assert directions.shape == (6, 100) and np.allclose(np.linalg.norm(directions, axis=1), 4, atol=0.01)
    normal = draws.latent(1, draws.Stream.SAMPLE, 0, (100, 100), "normal")
    chance = np.random.default_rng(0).normal(size=100)
    here = shipped.generate(paths.normal_to_uniform(normal)).astype(int)
    ways = [*directions, 4 * chance / np.linalg.norm(chance)]
    change = [np.abs(shipped.generate(paths.normal_to_uniform(normal + way)) - here).mean() for way in ways]
    assert min(change[:6]) > 1.3 * change[6], change


def test_training_by_the_runs_checkpoints(finished, tmp_path):
    path = export(tmp_path, "html", "--out_dir", finished)
    found = page_record(path)
    assert [stop["step"] for stop in found["stops"]] == [0, 50, 100, 150, 200] and found["weighed"] == 5
    assert not any("picture" in stop for stop in found["stops"])
    z = draws.latent(0, draws.Stream.SAMPLE, 0, (5, 8))
    points = [{"z": each.tolist(), "classes": []} for each in z]
    drawn = paint(path, *({"kind": "draw", "points": points, "stop": stop} for stop in range(5)))
    for parts, step in zip(drawn, range(0, 201, 50), strict=True):
        file = tmp_path / f"{step}.npz"
        flags = ["--format", "npz", "--half", "--out", file, "--out_dir", finished, "--checkpoint", step]
        output("export", *flags)
        with dcgan_tf1.load(file) as gan:
            assert np.abs(pixels(parts) - gan.generate(z)).max() <= 1


def test_training_by_sample_grids_where_early_checkpoints_are_gone(finished_copy, tmp_path):
    remove_checkpoints(finished_copy, 0, 50, 100)
    grids = finished_copy / "sample_image"
    (grids / "0000010.png").write_bytes(b"no picture")
    images.save_png(grids / "0000020.png", np.zeros((4, 4), np.uint8), images.SNAPSHOT_SCALE)  # of no whole digit
    path = export(tmp_path, "html", "--out_dir", finished_copy)
    found = page_record(path)
    steps = [stop["step"] for stop in found["stops"]]
    assert steps[0] == 0 and steps[-1] == 200 and 8 <= len(steps) <= 10 and not {10, 20} & set(steps)
    assert found["weighed"] == 1 and found["snapshots"] == {"rows": 8, "columns": 8}
    content = base64.b64decode(found["stops"][2]["picture"])
    with Image.open(io.BytesIO(content)) as image, Image.open(grids / f"{steps[2]:07d}.png") as grid:
        column, grid = np.asarray(image), np.asarray(grid)[1::3, 1::3]
    assert np.array_equal(column[:32], grid[1:33, 1:33])
    assert np.array_equal(column[9 * 32 : 10 * 32], grid[34:66, 34:66])
    (drawn,) = paint(path, {"kind": "snapshot"})  # what is at the end of the slider is the last grid of the run
    with Image.open(grids / "0000200.png") as grid:
        expected = images.tiles(grid, 32).reshape(-1, 32, 32)
    assert np.abs(pixels(drawn) - expected).max() <= 3  # float16


def test_the_sample_grids_of_a_conditional_gan(last_of_conditional, tmp_path):
    """A row of its grid is one z, drawn as each class."""
    path = export(tmp_path, "html", "--out_dir", last_of_conditional)
    record = page_record(path)
    assert record["snapshots"] == {"rows": 6, "columns": 10} and record["classes"] == list("0123456789")
    (found,) = paint(path, {"kind": "snapshot"})
    with Image.open(last_of_conditional / "sample_image" / "0000100.png") as grid:
        expected = images.tiles(grid, 32)[:6].reshape(-1, 32, 32)
    far = np.abs(pixels(found)[:, np.newaxis] - expected).mean((2, 3))
    assert np.array_equal(far.argmin(1), range(60)) and far.diagonal().max() < 2  # float16


@pytest.mark.parametrize("name", weights.SHIPPED_SHA256)
def test_weights_that_ship_have_the_training_of_their_own_run(name, tmp_path):
    folder = ROOT / "sample_image" / "pretrained" / name
    grids = {int(path.stem) for path in folder.glob("0*.png")}
    found = page_record(export(tmp_path, "html", "--checkpoint", name))
    steps = [stop["step"] for stop in found["stops"]]
    assert grids and set(steps[:-1]) == grids - {steps[-1]}


@pytest.mark.parametrize("found", [True, False])
def test_explore_opens_the_browser(monkeypatch, found):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or found)
    out = output("explore", "--checkpoint", SHIPPED)
    (path,) = (Path(line) for line in out.splitlines() if line.endswith(".html"))
    assert opened == [path.as_uri()] and path.read_bytes().startswith(b"<!doctype html>")
    assert ("found no browser" in out) != found
    shutil.rmtree(path.parent)


def test_a_family_that_the_page_does_not_know(monkeypatch, tmp_path):
    monkeypatch.setattr(page, "FAMILIES", ("mlp",))
    result = run("export", "--format", "html", "--checkpoint", SHIPPED, "--out", tmp_path / "it")
    assert_error(result, 4, "dcgan32", "expected")
    assert contents(tmp_path) == {}


def test_a_name_of_a_data_set_cannot_leave_its_place(finished, tmp_path):
    source = weights.read_weights(weights.find_weights(None, finished / "checkpoints", print))
    name = "</script><script>alert(1)</script>{{weights}}"
    path = tmp_path / "it.html"
    page.write_page(path, source._replace(dataset={**source.dataset, "name": name}))
    assert path.read_text("utf-8").count("<script") == 4 and page_record(path)["dataset"] == name
