"""Data as people have it: the same images in every kind of file are the same, and a hostile file ends in one line."""

import gzip
import io
import json
import os
import pickle
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile

import numpy as np
import pytest
from conftest import POSIX, assert_error, at_most, idx, run
from PIL import Image

from dcgan_tf1.data import sources
from dcgan_tf1.data.decoding import Form
from dcgan_tf1.errors import DataError, printable

pytestmark = pytest.mark.usefixtures("no_tensorflow")
X = np.random.RandomState(0).randint(0, 256, (20, 28, 28), np.uint8)
Y = np.arange(20, dtype=np.uint8) % 10
FLAT = X.reshape(-1, 784)
ONE_HOT = np.eye(10)[Y]
TRAIN, TEST = slice(12), slice(12, None)  # of the kinds with two splits
SIDEWAYS = X.swapaxes(1, 2)
HEADER = ",".join(["label", *(f"pixel{i}" for i in range(784))])
PLAIN = Form()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def png(image, kind="png", **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def npz(compressed=False, **arrays):
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def table(pixels, labels, header=HEADER, last=False):
    """A CSV file of pixels."""
    rows = np.column_stack([pixels, labels] if last else [labels, pixels]).tolist()
    return "\n".join([header] * bool(header) + [",".join(map(str, row)) for row in rows]).encode()


def labels_csv(names, labels=Y, header="filename,label"):
    return "\n".join([header, *(f"{name},{label}" for name, label in zip(names, labels, strict=False))]).encode()


def zipped(files, **options):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(files, mode="w:gz"):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def parquet(rows=range(20), names=tuple("0123456789"), column="image"):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    pictures = pa.array([{"bytes": png(X[i]), "path": f"{i}.png"} for i in rows])
    features = {"label": {"names": list(names), "_type": "ClassLabel"}}
    record = {"huggingface": json.dumps({"info": {"features": features}})}
    data = pa.table({column: pictures, "label": pa.array([int(Y[i]) for i in rows])}).replace_schema_metadata(record)
    file = io.BytesIO()
    parquet.write_table(data, file)
    return file.getvalue()


PNGS = {f"{y}/{i:02d}.png": png(x) for i, (x, y) in enumerate(zip(X, Y, strict=True))}
LOOSE = {f"img{i:02d}.png": png(x) for i, x in enumerate(X)}
SHARDS = {f"{i // 7:05d}/img{i:02d}.png": png(x) for i, x in enumerate(X)}
GIF = ("gif", "tiff")
CLASSES = [f"{y}/{i:02d}.png" for i, y in enumerate(Y)]
STYLEGAN = json.dumps({"labels": [[name, int(y)] for name, y in zip(SHARDS, Y, strict=True)]}).encode()
CHROME = {
    "__MACOSX/._0.png": b"\0\5\x16\7",
    "@eaDir/9.png/SYNOPHOTO_THUMB.png": b"?",
    ".git/x.png": b"?",
    "empty/a.txt": b"",
}


def two(train, test, name):
    """The files of two splits of arrays."""
    return {name(*part): content for parts in (train, test) for part, content in parts.items()}


def idx_files(images="{}-images-idx3-ubyte", labels="{}-labels-idx1-ubyte", test="t10k", x=X, y=Y, pack=bytes):
    parts = (("train", TRAIN), (test, TEST))
    of_images = {images.format(name): pack(idx(np.ascontiguousarray(x[part]))) for name, part in parts}
    return of_images | {labels.format(name): pack(idx(y[part])) for name, part in parts}


QMNIST = np.tile(Y[:, None].astype(np.int32), (1, 8))
KMNIST = {
    f"kmnist-{name}-{kind}.npz": npz(True, arr_0=array[part])
    for name, part in (("train", TRAIN), ("test", TEST))
    for kind, array in (("imgs", X), ("labels", Y))
}
MEDMNIST = npz(
    **{
        f"{name}_{kind}": array[part]
        for name, part in (("train", TRAIN), ("val", slice(3)), ("test", TEST))
        for kind, array in (("images", X), ("labels", Y[:, None]))
    }
)
SPLIT_PNGS = {f"{'train' if i < 12 else 'test'}/{name}": content for i, (name, content) in enumerate(PNGS.items())}


def renamed(files, **words):
    return {"/".join(words.get(part, part) for part in name.split("/")): content for name, content in files.items()}


WHOLE = {
    "idx": idx(X),
    "idx, gzipped": gzip.compress(idx(X)),
    "npy": npy(X),
    "npy, gzipped": gzip.compress(npy(X)),
    "npy, flat": npy(FLAT),
    "npy, a channel behind": npy(X[..., None]),
    "npy, a channel before": npy(X[:, None]),
    "npy, in Fortran's order": npy(np.asfortranarray(X)),
    "npy of int64": npy(X.astype(np.int64)),
    "npy of floats to 255": npy(X.astype(np.float64)),
    "npy of floats to 1": npy(X / 255),
    "npy of float32 to 1": npy(X / np.float32(255)),
    "npy of floats from -1 to 1": npy((X / 127.5 - 1).astype(np.float32)),
    "IDX without a split": {"x.idx3-ubyte/x-images-idx3-ubyte": idx(X), "x-labels-idx1-ubyte": idx(Y)},
    "npz of x and y": npz(x=X, y=Y),
    "npz of X and y": npz(True, X=FLAT, y=Y),
    "npz of images and labels": npz(images=X, labels=Y.astype(float)),
    "npz without names": npz(arr_0=X, arr_1=Y),
    "npz of train_images": npz(train_images=X / 255, train_labels=ONE_HOT),
    "npz of names": npz(data=X, target=Y.astype(str)),
    "npz of other words": npz(scans=X, kinds=Y[:, None]),
    "npy files": {"X.npy": npy(X), "Y.npy": npy(ONE_HOT)},
    "Kaggle's CSV": {"train.csv": table(FLAT, Y)},
    "CSV without a header": table(FLAT, Y, ""),
    "CSV, label last": table(FLAT, Y, ",".join([*(f"p{i}" for i in range(784)), "class"]), True),
    "CSV of floats": table(FLAT / 255, Y),
    "CSV, quoted, of Windows": b'"' + table(FLAT, Y, "").replace(b",", b'","').replace(b"\n", b'"\r\n"') + b'"',
    "CSV without labels": table(FLAT[:, 1:], FLAT[:, 0], ""),
    "CSV, gzipped": gzip.compress(table(FLAT, Y)),
    "Parquet": parquet,
    "Parquet in two parts": lambda: {
        "data/train-00001-of-00002.parquet": parquet(range(9, 20)),
        "data/train-00000-of-00002.parquet": parquet(range(9)),
    },
    "folders": PNGS,
    "folders among those of programs": PNGS | CHROME,
    "folders in folders": {f"archive/digits/{name}": content for name, content in PNGS.items()},
    "zip of folders": zipped(PNGS | CHROME),
    "tar of folders": tarred({f"./{name}": content for name, content in PNGS.items()}, "w"),
    "tar.gz of folders": tarred(PNGS),
    "zip of an .npz file": zipped({"mnist.npz": npz(True, x=X, y=Y)}),
    "zip of a CSV file": zipped({"a/train.csv": table(FLAT, Y)}),
    "zip of a Parquet file": lambda: zipped({"data/train.parquet": parquet()}),
    "labels.csv": LOOSE | {"labels.csv": labels_csv(LOOSE)},
    "metadata.csv": {
        "train/metadata.csv": labels_csv(LOOSE, header="file_name,label"),
        **{f"train/{name}": content for name, content in LOOSE.items()},
    },
    "labels.csv without ends of names": {
        "labels.csv": labels_csv([name[:-4] for name in LOOSE], header="id;label").replace(b",", b";"),
        **LOOSE,
    },
    "StyleGAN's folder": SHARDS | {"dataset.json": STYLEGAN},
    "StyleGAN's zip": zipped(SHARDS | {"dataset.json": STYLEGAN}),
    "GIF and TIFF": {f"{y}/{i:02d}.{GIF[i % 2]}": png(X[i], GIF[i % 2]) for i, y in enumerate(Y)},
}  # fmt: skip
SPLIT = {
    "MNIST's files": idx_files(),
    "MNIST's files with dots": idx_files("{}-images.idx3-ubyte.gz", "{}-labels.idx1-ubyte.gz", pack=gzip.compress),
    "torchvision's MNIST/raw": {f"MNIST/raw/{name}": content for name, content in idx_files().items()},
    "each in a folder of its name": {f"{name}/{name}": content for name, content in idx_files().items()},
    "a zip of MNIST's files": zipped(idx_files(pack=gzip.compress)),
    "a tar of MNIST's files": tarred(idx_files()),
    "EMNIST": idx_files("emnist-digits-{}-images-idx3-ubyte", "emnist-digits-{}-labels-idx1-ubyte", "test", SIDEWAYS),
    "QMNIST": idx_files("qmnist-{}-images-idx3-ubyte", "qmnist-{}-labels-idx2-int", "test", y=QMNIST),
    "KMNIST": KMNIST,
    "MedMNIST": MEDMNIST,
    "Keras": npz(x_train=X[TRAIN], y_train=Y[TRAIN], x_test=X[TEST], y_test=Y[TEST]),
    "four arrays without names": npz(arr_0=X[TRAIN], arr_1=Y[TRAIN], arr_2=X[TEST], arr_3=Y[TEST]),
    "CSV": {"mnist_train.csv": table(FLAT[TRAIN], Y[TRAIN]), "mnist_test.csv": table(FLAT[TEST], Y[TEST])},
    "EMNIST's CSV": {
        f"emnist-digits-{name}.csv": table(SIDEWAYS[part].reshape(-1, 784), Y[part], "")
        for name, part in (("train", TRAIN), ("test", TEST))
    },
    "Parquet": lambda: {"train-0.parquet": parquet(range(12)), "test-0.parquet": parquet(range(12, 20))},
    "train and test": SPLIT_PNGS,
    "training and testing": renamed(SPLIT_PNGS, train="training", test="testing"),
    "Train and Validation": renamed(SPLIT_PNGS, train="Train", test="Validation"),
    "folders in splits": renamed(SPLIT_PNGS, train="trainingSet/trainingSet", test="testSet/testSet"),
    "with images to validate": SPLIT_PNGS | {f"valid/{name}": content for name, content in list(PNGS.items())[:5]},
    "a zip with one folder too many": zipped({f"mnist_png/{name}": content for name, content in SPLIT_PNGS.items()}),
}  # fmt: skip


def written(folder, files):
    """The path of a file, or of a folder of files."""
    files = files() if callable(files) else files
    if isinstance(files, bytes):
        path = folder / "some.data"
        path.write_bytes(files)
        return path
    for name, content in files.items():
        path = folder / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / "data"


def load(path, split="train", form=PLAIN, **options):
    return sources.load(str(path), "", split, pytest.fail, form, **options)


@pytest.mark.parametrize("kind", WHOLE)
def test_the_same_images_are_the_same_in_every_kind(tmp_path, kind):
    path = written(tmp_path, WHOLE[kind])
    (tmp_path / "labels.txt").write_text("\n".join(map(str, Y)))
    for split in ("train", "test"):
        found = load(path, split)
        if found.labels is None:
            found = load(path, split, labels=str(tmp_path / "labels.txt"))
        assert np.array_equal(found.images, X) and np.array_equal(found.labels, Y) and found.names is None
        assert found.digest == sources.idx.digest(X)


@pytest.mark.parametrize("kind", SPLIT)
def test_splits_are_told_by_their_names(tmp_path, kind):
    path = written(tmp_path, SPLIT[kind])
    for split, part in (("train", TRAIN), ("test", TEST)):
        found = load(path, split)
        assert np.array_equal(found.images, X[part]) and np.array_equal(found.labels, Y[part]) and not found.names


SECOND = {"idx": idx(Y), "gz": gzip.compress(idx(Y)), "npy": npy(ONE_HOT), "npz": npz(y=Y), "csv": labels_csv(LOOSE)}


@pytest.mark.parametrize("kind", SECOND)
def test_labels_in_a_second_file(tmp_path, kind):
    labels = SECOND[kind]
    (tmp_path / "y").write_bytes(labels)
    path = written(tmp_path, LOOSE if kind == "csv" else npy(X))
    assert np.array_equal(load(path, labels=str(tmp_path / "y")).labels, Y)
    (tmp_path / "y").write_bytes(labels[: len(labels) // 2])
    with pytest.raises(DataError):
        load(path, labels=str(tmp_path / "y"))


def test_emnist_is_upright_and_its_letters_are_names(tmp_path):
    files = idx_files(
        "emnist-letters-{}-images-idx3-ubyte", "emnist-letters-{}-labels-idx1-ubyte", "test", SIDEWAYS, Y + 1
    )
    found = load(written(tmp_path, files))
    assert np.array_equal(found.images, X[TRAIN]) and [found.names[label] for label in found.labels] == list(
        "ABCDEFGHIJAB"
    )
    sideways = written(tmp_path / "emnist", idx_files(x=SIDEWAYS))
    lines = []
    found = sources.load(str(sideways), "", "train", lines.append)
    assert np.array_equal(found.images, SIDEWAYS[TRAIN]) and len(lines) == 1 and "--transpose" in lines[0]
    assert np.array_equal(load(sideways, form=Form(transpose=True)).images, X[TRAIN])
    assert np.array_equal(load(written(tmp_path / "pictures", PNGS), form=Form(transpose=True)).images, SIDEWAYS)


NAMES = {
    "NFD": ["ze\u0301ro", "un"],
    "a joiner": ["\u0635\u0641\u0631", "\u0646\u06cc\u0645\u200c\u062e\u0637"],
    "emoji": ["\U0001f469\u200d\U0001f393", "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"],
    "no-break spaces": ["chiffre\u00a01", "chiffre\u202f2"],
    "padded": ["00", "01"],
    "Arabic": ["\u0660", "\u0661"],
    "hexadecimal": ["30", "4a"],
    "signed": ["-1", "0"],
    "capital": ["A", "a"],
    "symbols": ["+", "\u00d7"],
}


@pytest.mark.parametrize("kind", NAMES)
def test_names_as_people_write_them(tmp_path, kind):
    expected = tuple(sorted(unicodedata.normalize("NFC", name) for name in NAMES[kind]))
    files = {f"{name}/{name[0]}{i}.png": png(X[i]) for i in range(4) for name in NAMES[kind]}
    for content in (files, zipped(files), tarred(files), npz(x=X[:8], y=np.array(NAMES[kind] * 4))):
        found = load(written(tmp_path, content))
        assert found.classes().names == expected
        shutil.rmtree(tmp_path / "data", ignore_errors=True)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a \u0635\u0641\u0631\u200c b 1", "a \u2068\u0635\u0641\u0631\u200c\u2069 b 1"),
        ("\u05d0 \u05d1, \u05d2", "\u2068\u05d0 \u05d1\u2069, \u2068\u05d2\u2069"),
        ("\x1b[2J\u202egpj", "\\x1b[2J\\u202egpj"),
        ("\U0001f469\u200d\U0001f393\u00a0e\u0301", "\U0001f469\u200d\U0001f393\u00a0e\u0301"),
    ],
)
def test_a_terminal_gets_names_isolated_and_safe(text, shown):
    assert printable(text) == printable(printable(text)) == shown


# What is not read


def link(name):
    entry = zipfile.ZipInfo("0/a.png")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return zipped({"0/b.png": png(X[0]), entry: name})


def tar_link(kind, target="/etc/passwd"):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        entry = tarfile.TarInfo("0/a.png")
        entry.type, entry.linkname = kind, target
        archive.addfile(entry)
    return file.getvalue()


def long_name(size):
    """A tar file with a name that claims to have `size` characters."""
    entry = tarfile.TarInfo("././@LongLink")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, size
    return entry.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


def one_value_many_times():
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    picture = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array([bytes(1 << 20)]))
    file = io.BytesIO()
    parquet.write_table(pa.table({"image": pa.StructArray.from_arrays([picture], ["bytes"])}), file)
    return file.getvalue()


def schema(**columns):
    def write():
        pa = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        file = io.BytesIO()
        parquet.write_table(pa.table(columns), file)
        return file.getvalue()

    return write


def deep(levels):
    value = 1
    for _ in range(levels):
        value = {"image": value}
    return schema(image=[value])


ZIP, TAR = zipped(PNGS), tarred(PNGS, "w")
ROW = table(FLAT[:1], Y[:1], "")
HOSTILE = {
    "zip bomb of a picture": (lambda: zipped({"0/a.png": bytes(300 << 20)}), "expected at most 100 times"),
    "zip bomb of a table": (lambda: zipped({"a.csv": bytes(100 << 20)}), "expected at most 100 times"),
    "zip bomb of arrays": (lambda: zipped({"a.npz": bytes(100 << 20)}), "expected at most 100 times"),
    "zip in a zip": (zipped({"a.zip": ZIP}), "a zip archive"),
    "zip in a tar": (tarred({"a.zip": ZIP}), "a zip archive"),
    "tar in a zip": (zipped({"a.tar.gz": TAR}), "a tar archive"),
    "zip of links": (link("/etc/passwd"), "found a link"),
    "zip of a link above": (link("../../a.png"), "found a link"),
    "zip of two of a name": (zipped({"a.png": b"1", "./a.png": b"2"}), "two files"),
    "zip of hidden files": (zipped({".a/b.png": png(X[0]), "../c.png": png(X[0])}), "found no picture"),
    "zip of nothing": (zipped({}), "found no picture"),
    "zip of folders": (zipped({"a/": b"", "b/": b""}), "found no picture"),
    "zip of a bad picture": (zipped({"0/a.png": b"no picture"}), "0/a.png: found 10 bytes of another kind"),
    "zip of an odd class": (zipped({"a\x1b[2J/a.png": png(X[0]), "b/b.png": png(X[1])}), "found a class named"),
    "zip of a flipped byte": (flipped(ZIP, 60), "0/00.png"),
    "zip, cut": (ZIP[:-30], ""),
    "zip of a pickle": (zipped({"model/data.pkl": pickle.dumps([1])}), "data.pkl is a Python pickle"),
    "tar of a link": (tar_link(tarfile.SYMTYPE), "0/a.png: found a link or device"),
    "tar of a hard link": (tar_link(tarfile.LNKTYPE), "found a link or device"),
    "tar of a device": (tar_link(tarfile.CHRTYPE), "found a link or device"),
    "tar of a pipe": (tar_link(tarfile.FIFOTYPE), "found a link or device"),
    "tar, cut": (TAR[: len(TAR) // 2], ""),
    "tar of a flipped size": (flipped(TAR, 125), ""),
    "tar of an endless name": (long_name(7 << 30), "found a directory or name of"),
    "tar of a name of 1 MB": (long_name(1 << 20), ""),
    "tar bomb": (lambda: tarred({"0/a.png": bytes(300 << 20)}), "expected at most 100 times"),
    "tar of nothing": (tarred({}), "no known kind"),
    "tar.gz, cut": (tarred(PNGS)[:-20], ""),
    "CSV of 10 GB": (ROW, "found 10737418240 bytes"),
    "CSV of a line without an end": (b"1," * 200_000, "a line 1 of more than"),
    "CSV of an endless second line": (ROW + b"\n" + b"1," * 200_000, "a line 2 of more than"),
    "CSV of zeros in a gzip": (lambda: gzip.compress(b"1,2\n" * 20 + bytes(100 << 20)), "found 2 columns"),
    "CSV of commas": (ROW + b"\n" + b"," * 784, "in the rows from 1 on"),
    "CSV of ragged rows": (ROW + b"\n" + ROW + b",1", "in the rows from 1 on"),
    "CSV of words": (ROW + b"\n" + ROW.replace(b",", b",a"), "in the rows from 1 on"),
    "CSV of large numbers": (ROW + b"\n" + ROW.replace(b",", b",9"), "expected 0 to 1, -1 to 1"),
    "CSV of huge numbers": (ROW + b"\n0," + b",".join([b"1e999"] * 784), "found pixels from 0.0 to inf"),
    "CSV of NaN": (ROW + b"\n0," + b",".join([b"nan"] * 784), "found pixels from nan"),
    "CSV of NUL": (ROW + b"\n" + ROW.replace(b",", b"\0"), ""),
    "CSV of no UTF-8": (ROW + b"\n\xff\xfe" + ROW, ""),
    "CSV of a header alone": (table(FLAT[:0], Y[:0]), "found no rows"),
    "CSV of other columns": (b"a,b,c\n1,2,3\n", "found 3 columns"),
    "CSV of an odd label": (ROW + b"\n\x1b[2J" + ROW[1:], "found a class named"),
    "npy of objects": (npy(np.array([{}] * 3, object)), ""),
    "npy of text": (npy(np.array(["a"] * 3)), "expected one of images"),
    "npy of complex": (npy(X.astype(complex)), "images of complex128"),
    "npy of NaN": (npy(np.full((3, 28, 28), np.nan)), "found pixels from nan"),
    "npy of integers beyond": (npy(X.astype(int) + 1), "found pixels from 1 to 256"),
    "npy of floats beyond": (npy(X * 2.0), "expected 0 to 1"),
    "npy of another size": (npy(np.zeros((3, 64, 64), np.uint8)), "[3, 64, 64]"),
    "npz of two of a kind": (npz(x_train=X, images_train=X), "expected one of them for each split"),
    "npz of labels alone": (npz(y=Y), "y [20]"),
    "npz of odd one-hot labels": (npz(x=X, y=ONE_HOT + 1), "a single 1 in each row"),
    "npz of long names": (npz(x=X, y=np.array(["a" * 500] * 20)), "found a class named"),
    "labels of none": (LOOSE | {"labels.csv": labels_csv(["other.png"])}, "found no label of img00.png"),
    "labels of two": (LOOSE | {"labels.csv": labels_csv([*LOOSE] * 2, [*Y, *Y[::-1]])}, "found several labels"),
    "labels, ragged": (LOOSE | {"labels.csv": b"filename,label\nimg00.png,1,2"}, "found 3 columns in row 1"),
    "labels, an endless line": (LOOSE | {"labels.csv": b"a" * 200_000}, "labels.csv: found a line 1 of more"),
    "dataset.json, nested": (LOOSE | {"dataset.json": b"[" * 100_000}, "dataset.json: "),
    "dataset.json of others": (LOOSE | {"dataset.json": b'{"labels": [[1, 2]]}'}, "dataset.json: found other labels"),
    "two CSV files": ({"a.csv": ROW, "b.csv": ROW}, "expected one for each split"),
    "two sets": (idx_files() | idx_files("b-{}-images-idx3-ubyte"), "found the sets "),
    "MATLAB": (b"MATLAB 5.0 MAT-file".ljust(128) + bytes(100), "a MATLAB file, expected a kind that is read, see docs"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
    "TFRecord": (struct.pack("<QI", 400, 1) + bytes(500), "a TFRecord file"),
    "a pickle": (pickle.dumps((X, Y)), "a Python pickle"),
    "a pickle, gzipped": (gzip.compress(pickle.dumps((X, Y))), "a Python pickle"),
    "HEIC": (b"\0\0\0\x18ftypheic" + bytes(100), "a HEIC picture"),
    "a web page": (b"<!DOCTYPE html><html>1, 2</html>", "a web page"),
    "CIFAR-10's pickles": ({"data_batch_1": pickle.dumps({})}, "a Python pickle"),
    "HDF5 in a folder": ({"a.h5": b"\x89HDF\r\n\x1a\n", "b.h5": b""}, "a.h5 is an HDF5 file"),
    "Parquet of zeros": (b"PAR1" + bytes(500) + b"PAR1", ""),
    "Parquet, cut": (lambda: parquet()[:-9], ""),
    "Parquet of a flipped byte": (lambda: flipped(parquet(), -200), ""),
    "Parquet of other columns": (schema(a=[1], b=["x"]), "found columns a, b"),
    "Parquet of numbers for pictures": (schema(image=[1, 2]), "found columns image"),
    "Parquet of a hostile schema": (deep(60), ""),
    "Parquet of many columns": (lambda: schema(**{f"c{i}": [1] for i in range(3000)})(), "found columns"),
    "Parquet of no pictures": (schema(image=[{"bytes": None}, {"bytes": None}]), "row 0000001: "),
    "Parquet of one value many times": (one_value_many_times, "row 0000001: "),
    "Parquet of odd names": (lambda: parquet(names=["\x1b"] * 10), "found a class named"),
    "Parquet of too few names": (lambda: parquet(names=["a"]), ""),
}  # fmt: skip


@POSIX
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_ends_in_one_line(tmp_path, case):
    content, fault = HOSTILE[case]
    path = written(tmp_path, content)
    if case == "CSV of 10 GB":
        os.truncate(path, 10 << 30)  # of which the disk holds nothing
    with at_most(2, 1 << 24):
        result = run("--dataset", path, "--out_dir", tmp_path / "out")
    assert_error(result, 3, fault, "some" if path.is_file() else "data")
    assert set(os.listdir(tmp_path)) <= {path.name, "cache", "out"}, "it unpacked something"


@pytest.mark.parametrize("flags", [["--invert"], ["--transpose"], ["--labels", "y.csv"]])
def test_what_only_a_path_takes(tmp_path, flags):
    assert_error(run("--dataset", "digits", *flags, "--out_dir", tmp_path), 2, f"{flags[0]}: ", "expected a PATH")
