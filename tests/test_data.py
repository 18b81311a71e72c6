"""Data sets are read right or refused in one line, and batches are pure functions of their arguments."""

import gzip
import hashlib
import io
import os
import random
import socket
import struct
import sys
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import MNIST_DIR, at_most, needs_mnist
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dcgan_tf1.data import draws, readers, sources
from dcgan_tf1.data.draws import Stream, batch_indices, latent
from dcgan_tf1.data.sources import load
from dcgan_tf1.errors import DataError, UsageError

MIB = 1 << 20
IMAGES = np.random.RandomState(0).randint(0, 256, (5, 28, 28), np.uint8)
LABELS = np.arange(5, dtype=np.uint8)


# Files, well and badly made


def idx(array, magic=None, shape=None):
    """`array` as an IDX file, with a header that says something else if that is asked for."""
    shape = array.shape if shape is None else shape
    magic = 0x800 + array.ndim if magic is None else magic
    return struct.pack(f">I{len(shape)}I", magic, *shape) + array.tobytes()


def gz(content, **changes):
    """`content` gzipped; `length` and `crc` replace what the trailer says."""
    packed = gzip.compress(content, 6, mtime=0)
    crc, length = struct.unpack("<II", packed[-8:])
    return packed[:-8] + struct.pack("<II", changes.get("crc", crc), changes.get("length", length))


def npy(array, version=(1, 0)):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version)
    return file.getvalue()


def raw_npy(header, payload=None, version=1):
    """An .npy of any header text, with IMAGES or `payload` after it."""
    text = header.encode("latin1") + b"\n"
    payload = IMAGES.tobytes() if payload is None else payload
    return b"\x93NUMPY" + bytes((version, 0)) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + payload


def archive(members, compression=zipfile.ZIP_DEFLATED):
    """A zip of (name, content) pairs."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as writer:
        for name, content in members:
            writer.writestr(zipfile.ZipInfo(name), content, compression)
    return file.getvalue()


def npz(compression=zipfile.ZIP_DEFLATED, **arrays):
    pairs = arrays.items()
    return archive([(f"{key}.npy", a if isinstance(a, bytes) else npy(a)) for key, a in pairs], compression)


def patched(content, signature, offset, layout, *values):
    """`content` with `values` written at `offset` after the first `signature`."""
    out = bytearray(content)
    struct.pack_into(layout, out, out.index(signature) + offset, *values)
    return bytes(out)


def header(descr="'|u1'", shape="(5, 28, 28)", fortran="False"):
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"


LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
IDX = idx(IMAGES)
GZ = gz(IDX)
NPZ = npz(x_train=IMAGES, y_train=LABELS)
STORED = npz(zipfile.ZIP_STORED, images=IMAGES)


def named(member, size):
    """The gzip `member` with a file name that brings it to `size` bytes."""
    return member[:3] + b"\x08" + member[4:10] + b"a" * (size - len(member) - 1) + b"\0" + member[10:]


def directory_bomb():
    """A zip of 100,000 directory entries and a single file."""
    whole = archive([("a", b"")])
    entry = whole[whole.index(CENTRAL) : whole.index(END)]
    size = 100_000 * len(entry)
    return (
        whole[: whole.index(CENTRAL)]
        + 100_000 * entry
        + END
        + struct.pack("<4H2IH", 0, 0, 65535, 65535, size, whole.index(CENTRAL), 0)
    )


def zip64_lie(stored_size):
    """A stored member whose directory entry says in its zip64 field that 2**40 bytes are stored in `stored_size`."""
    end = STORED.index(END)
    entry = patched(STORED[STORED.index(CENTRAL) : end], CENTRAL, 20, "<II", 0xFFFFFFFF, 0xFFFFFFFF)
    entry = patched(entry, CENTRAL, 30, "<H", 20) + struct.pack("<HHQQ", 1, 16, 1 << 40, stored_size)
    return patched(STORED[: STORED.index(CENTRAL)] + entry + STORED[end:], END, 12, "<I", len(entry))


def overlong(content, extra):
    """A gzip of `content` and `extra` zeros whose trailer speaks of `content` alone."""
    return gz(content + bytes(extra), length=len(content))


OTHER_TYPES = {"int8": 0x903, "int16": 0xB03, "int32": 0xC03, "float32": 0xD03, "float64": 0xE03}
NPZ_TYPES = {"int8": "from -128 to 127", "object": "images of object", "complex64": "images of complex64"}
ODD_SHAPES = ([0, 28, 28], [5, 0, 28], [5, 27, 27], [5, 28, 32], [5, 1, 1], [5, 28, 28, 1])
NPZ_SHAPES = ([], [28, 28], *ODD_SHAPES[1:-1])

# Each is a file and a part of the message, which shows that the file is refused for its own fault and no other. The
# part is empty where the words are a library's and change with its versions, or where several checks may come first.
MALFORMED = {
    **{f"idx cut at {n}": (IDX[:n], "") for n in (0, 1, 2, 3, 4, 5, 8, 11, 15, 16, 17, 1000, len(IDX) - 1)},
    "idx with a byte more": (IDX + b"\0", "bytes after the array"),
    **{f"idx of {name}": (idx(IMAGES, magic), name) for name, magic in OTHER_TYPES.items()},
    **{f"idx of {shape}": (idx(np.zeros(shape, np.uint8)), f"{shape}") for shape in ODD_SHAPES},
    "idx of no type": (idx(IMAGES, 0x703), "no known kind"),
    "idx of labels": (idx(LABELS), "found an IDX file of uint8 [5]"),
    "idx of 255 dimensions": (b"\0\0\x08\xff" + bytes(1020), "255 dimensions"),
    "idx, little-endian": (struct.pack("<4I", 0x803, 5, 28, 28) + IMAGES.tobytes(), "no known kind"),
    "idx that claims 2**32 - 1": (idx(IMAGES, shape=(2**32 - 1, 28, 28)), "3936 bytes at most"),
    "idx just over 1 GiB": (idx(IMAGES, shape=(2**20 + 1, 32, 32)), "3936 bytes at most"),
    "idx that claims 1 GiB": (idx(IMAGES, shape=(2**20, 32, 32)), "3936 bytes at most"),
    "idx that claims one more": (idx(IMAGES, shape=(6, 28, 28)), "3936 bytes at most"),
    "text": (b"5, 0, 4, 1, 9\n" * 300, "found 5 columns"),
    "zeros": (bytes(4000), "no known kind"),
    **{f"gz cut at {n}": (GZ[:n], "") for n in (2, 3, 9, 10, 11, 18, 100, len(GZ) // 2)},
    **{f"gz cut {n} before its end": (GZ[:-n], "") for n in (1, 4, 7, 8, 9)},
    "gz of another CRC": (gz(IDX, crc=1), "incorrect data check"),
    "gz of another length": (gz(IDX, length=1), "incorrect length"),
    "gz with a byte more": (GZ + b"\0", ""),
    "gz and a second member": (GZ + GZ, "bytes after the gzip data"),
    "gz and a second at a block's edge": (named(GZ, 1 << 16) + GZ, "bytes after the gzip data"),
    "gz just over 1 GiB": (lambda: named(gz(idx(IMAGES, shape=(2**20 + 1, 32, 32))), 2 * MIB), "1073741824 bytes at"),
    "gz of nothing": (gz(b""), "no known kind"),
    "gz of a cut idx": (gz(IDX[:-1]), "found 3919 bytes and then the end"),
    "gz of a cut idx that lies": (gz(IDX[:-1], length=len(IDX)), ""),
    "gz of an idx and a byte": (gz(IDX + b"\0"), "bytes after the array"),
    "gz that claims 1 GiB": (gz(idx(IMAGES, shape=(2**20, 32, 32))), "bytes at most"),
    "gz bomb": (lambda: gz(IDX + bytes(100 * MIB)), "bytes after the array"),
    "gz bomb that lies": (lambda: overlong(IDX, 100 * MIB), "bytes after the array"),
    "gz with an endless name": (lambda: b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * (20 * MIB), "truncated gzip"),
    "gz of empty members": (lambda: gz(b"") * MIB, "bytes after the gzip data"),
    "gz with endless padding": (lambda: GZ + bytes(20 * MIB), ""),
    **{f"npz cut at {n}": (NPZ[:n], "") for n in (2, 3, 4, 30, 31, 200, len(NPZ) // 2)},
    **{f"npz cut {n} before its end": (NPZ[:-n], "") for n in (1, 10, 22, 23, 60)},
    "npz of nothing": (archive([]), "found no picture"),
    "npz of strangers": (npz(a=IMAGES, b=IMAGES), "found arrays ['a', 'b']"),
    "npz of long names": (npz(**{"a" * 300: IMAGES, "b" * 300: IMAGES}), "found arrays ..."),
    "npz of an odd name": (npz(**{"\x1b[2J\n": IMAGES[0]}), "\\x1b[2J"),
    **{f"npz of {name}": (npz(images=IMAGES.astype(name)), fault) for name, fault in NPZ_TYPES.items()},
    **{f"npz of {shape}": (npz(images=np.zeros(shape, np.uint8)), f"images {shape}, expected") for shape in NPZ_SHAPES},
    "npz of fewer labels": (npz(images=IMAGES, labels=LABELS[1:]), "found 4 labels"),
    "npz of more labels": (npz(x_train=IMAGES, y_train=np.zeros(6, np.uint8)), "found 6 labels"),
    "npz of labels with a point": (npz(images=IMAGES, labels=LABELS / 2), "no integers"),
    "npz of 2-d labels": (npz(images=IMAGES, labels=np.stack([LABELS, LABELS], 1)), "shape [5, 2]"),
    "npz of text": (npz(images=b"not an array"), "magic string"),
    "npy 3.0": (npz(images=raw_npy(header(), version=3)), "version (3, 0)"),
    "npy header of 4 GiB": (
        npz(images=b"\x93NUMPY\x02\0" + struct.pack("<I", 2**32 - 1) + bytes(5000)),
        "header of 4294967295",
    ),
    "npy header over 4 KiB": (npz(images=raw_npy(header() + " " * 5000)), "at most 4096"),
    "npy header, nested": (npz(images=raw_npy("(" * 2000 + ")" * 2000)), ""),
    "npy header, nested type": (npz(images=raw_npy(header(descr="[" * 90 + "]" * 90))), ""),
    "npy header of minuses": (npz(images=raw_npy("-" * 4000 + "1")), ""),
    "npy header of mixed keys": (npz(images=raw_npy("{1: 2, 'a': 3}")), ""),
    "npy header of code": (npz(images=raw_npy("__import__('os').getpid()")), ""),
    "npy of -1 images": (npz(images=raw_npy(header(shape="(-1, 28, 28)"))), "shape [-1, 28, 28]"),
    "npy of 2**63 images": (npz(images=raw_npy(header(shape=f"({2**63}, 28, 28)"))), "bytes at most"),
    "npy of 10**3000 images": (npz(images=raw_npy(header(shape=f"(1{'0' * 3000}, 28, 28)"))), "0000, 28, 28]"),
    "npy that claims 1 GiB": (npz(images=raw_npy(header(shape="(1048576, 32, 32)"))), "bytes at most"),
    "npy that claims more": (npz(images=raw_npy(header(shape="(6, 28, 28)"))), "3995 bytes at most"),
    "npy bomb": (
        lambda: npz(images=raw_npy(header(), IMAGES.tobytes() + bytes(100 * MIB))),
        "expected at most 100 times",
    ),
    "zip by bzip2": (npz(zipfile.ZIP_BZIP2, images=IMAGES), "compression 12"),
    "zip by nothing known": (patched(NPZ, CENTRAL, 10, "<H", 99), "compression 99"),
    "zip, encrypted": (patched(NPZ, CENTRAL, 8, "<H", 1), "encrypted"),
    "zip of another CRC": (patched(NPZ, CENTRAL, 16, "<I", 1), "Bad CRC-32"),
    "zip with an offset beyond it": (patched(NPZ, CENTRAL, 42, "<I", 10**9), ""),
    "zip with a directory beyond it": (patched(NPZ, END, 16, "<I", 10**9), ""),
    "zip with a directory of 1 GB": (patched(NPZ, END, 12, "<I", 10**9), ""),
    "zip member said to be longer": (patched(STORED, CENTRAL, 24, "<I", 5000), "found 5000 bytes stored in"),
    "zip64 lie": (zip64_lie(len(npy(IMAGES))), f"found {2**40} bytes in"),
    "zip64 lie twice": (zip64_lie(1 << 40), ""),  # some versions of zipfile refuse it before we do
    "zip directory bomb": (directory_bomb, "directory or name of"),
    "zip damaged inside": (patched(STORED, IMAGES.tobytes()[:8], 2000, "B", IMAGES.flat[2000] ^ 1), "Bad CRC-32"),
}


def refused(name, *arguments, call=load):
    """The message of the DataError that `call` must raise: one short line with `name` in it, soon, in little memory."""
    with at_most(2, 16 * MIB), pytest.raises(DataError) as caught:
        call(*arguments)
    message = str(caught.value)
    assert name in message
    assert message.isprintable() and len(message) <= 200
    # A slip of our own must not pass for a fault of the file's.
    assert not isinstance(caught.value.__cause__, NameError | AttributeError | AssertionError | KeyError)
    return message


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_file_is_refused(case, tmp_path):
    content, fault = MALFORMED[case]
    path = tmp_path / "hostile.bin"
    path.write_bytes(content() if callable(content) else content)
    message = refused("hostile.bin", str(path), "")
    assert fault in message and "expected" in message


def test_what_is_no_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    os.mkfifo("fifo")
    os.symlink("loop", "loop")
    os.symlink("nowhere", "dangling")
    os.mkdir("folder")
    faults = {"fifo": "pipe", "socket": "socket", "/dev/zero": "device", "folder": "found no picture", "loop": ""}
    faults |= dict.fromkeys(("dangling", "missing", "", "nul\0"), "found no ")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        for name, fault in faults.items():
            assert fault in refused(name.strip("\0"), name, "")
    assert "found a folder, expected a file" in refused("folder", Path("folder"), call=readers.open_regular)


def read_or_refused(path, content):
    path.write_bytes(content)
    try:
        dataset = load(str(path), "")
    except DataError as error:
        assert path.name in str(error) and str(error).isprintable() and len(str(error)) <= 200
        assert not isinstance(error.__cause__, NameError | AttributeError | AssertionError)
        return None
    count, *sides = dataset.images.shape
    assert count > 0 and sides in ([28, 28], [32, 32])
    assert dataset.images.dtype == np.uint8
    assert dataset.labels is None or (dataset.labels.dtype == np.uint8 and dataset.labels.shape == (count,))
    return dataset


OFTEN = settings(max_examples=300, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


@OFTEN
@given(start=st.sampled_from([b"", IDX[:4], IDX[:16], GZ[:10], NPZ[:30], NPZ[:100]]), rest=st.binary(max_size=300))
@example(start=b"", rest=b"")
def test_arbitrary_bytes_are_read_or_refused(tmp_path, start, rest):
    read_or_refused(tmp_path / "some.bin", start + rest)


EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), st.binary(max_size=4)), max_size=4)


@OFTEN
@given(valid=st.sampled_from([IDX, GZ, NPZ, STORED]), edits=EDITS, from_end=st.booleans())
def test_mutations_are_read_or_refused(tmp_path, valid, edits, from_end):
    """Most changes are made where headers are: at the start of an IDX file, and at both ends of a zip."""
    content = bytearray(valid)
    for where, removed, inserted in edits:
        place = int(where**4 * len(content))
        place = len(content) - place if from_end else place
        content[place : place + removed] = inserted
    dataset = read_or_refused(tmp_path / "some.bin", bytes(content))
    if bytes(content) == valid:
        assert np.array_equal(dataset.images, IMAGES)


@pytest.mark.parametrize("valid", [GZ, NPZ], ids=["gz", "npz"])
def test_no_flipped_bit_changes_the_images_unseen(tmp_path, valid):
    """gzip and zip carry checksums: whatever is still read after one byte changed is what was written."""
    for place in range(0, len(valid), 37):
        content = bytearray(valid)
        content[place] ^= 0x10
        dataset = read_or_refused(tmp_path / "some.bin", bytes(content))
        assert dataset is None or np.array_equal(dataset.images, IMAGES)


# What is well made


@pytest.mark.parametrize("side", [28, 32])
def test_containers_agree(tmp_path, side):
    images = np.random.RandomState(1).randint(0, 256, (7, side, side), np.uint8)
    python2 = f"{{'descr': '|u1', 'fortran_order': False, 'shape': (7L, {side}L, {side}L)}}"
    contents = {
        "plain": idx(images),
        "gzip": gz(idx(images)),
        "gzip with a name": named(gz(idx(images)), 1 << 17),
        "x_train": npz(x_train=images, y_train=np.arange(7, dtype=np.uint8), x_test=images[:1]),
        "images": npz(zipfile.ZIP_STORED, images=images, labels=np.arange(7, dtype=np.uint8)),
        "arr_0": npz(arr_0=images, arr_1=images[:1]),
        "the only one": npz(scans=images),
        "fortran": npz(images=np.asfortranarray(images)),
        "npy 2.0": npz(images=npy(images, (2, 0))),
        "npy of python 2": npz(images=raw_npy(python2, images.tobytes())),
    }
    for name, content in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            dataset = load(str(path), "")
        assert dataset.name == name
        assert dataset.images.dtype == np.uint8 and np.array_equal(dataset.images, images)
        assert dataset.digest == hashlib.sha256(idx(images)).hexdigest()
        labels = list(range(7)) if name in ("x_train", "images") else None
        assert labels == (dataset.labels if labels is None else dataset.labels.tolist())


@pytest.mark.parametrize("images", [IMAGES[:1], np.zeros((10_000, 28, 28), np.uint8)], ids=["one", "black"])
def test_one_image_and_images_of_almost_no_bytes_are_data_sets(tmp_path, images):
    for content in (gz(idx(images)), npz(images=images)):
        assert len(content) < images.nbytes / 900 or len(images) == 1
        assert np.array_equal(read_or_refused(tmp_path / "file", content).images, images)


def test_what_is_read_is_as_large_as_it_is(tmp_path):
    """A file of many blocks, and of memory in proportion."""
    images = np.resize(IMAGES, (20_000, 28, 28))
    path = tmp_path / "many.gz"
    path.write_bytes(gz(idx(images)))
    with at_most(60, 1.3 * images.nbytes + 2 * MIB):
        found = load(str(path), "").images
    assert np.array_equal(found, images)


# MNIST by name

FILES = {
    "train-images-idx3-ubyte": idx(IMAGES[:3]),
    "train-labels-idx1-ubyte": idx(LABELS[:3]),
    "t10k-images-idx3-ubyte": idx(IMAGES[3:]),
    "t10k-labels-idx1-ubyte": idx(LABELS[3:]),
}


@pytest.fixture
def small_mnist(monkeypatch):
    """Let five images be the official ones."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    monkeypatch.setattr(sources, "MNIST_SHA256", digests)


@pytest.fixture
def keras(tmp_path, monkeypatch):
    """A stand-in for Keras's loader of MNIST, which finds no network, and a home without a copy of Keras's."""

    def load_data():
        print("Downloading data")
        print("Downloading data", file=sys.stderr)
        mnist.timeouts.append(socket.getdefaulttimeout())
        raise Exception("URL fetch failure on https://example.org/mnist.npz: None -- no\nroute")

    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    mnist = SimpleNamespace(load_data=load_data, timeouts=[])
    keras = SimpleNamespace(datasets=SimpleNamespace(mnist=mnist))
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "keras", keras)
    return mnist


def write_files(folder, files=FILES):
    for name, content in files.items():
        (folder / name).write_bytes(content)


def write_npz(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, x_train=IMAGES[:3], y_train=LABELS[:3], x_test=IMAGES[3:], y_test=LABELS[3:])


def assert_is_small_mnist(dataset, data_dir):
    for split, part in (("train", slice(3)), ("test", slice(3, None))):
        found = load(dataset, str(data_dir), split, announce=pytest.fail)
        assert found.name == "mnist"
        assert np.array_equal(found.images, IMAGES[part]) and np.array_equal(found.labels, LABELS[part])


@pytest.mark.parametrize("dataset", ["mnist", "auto"])
@pytest.mark.parametrize("form", ["plain", "gz", "dots", "dots gz", "npz"])
def test_mnist_in_a_folder(tmp_path, small_mnist, dataset, form):
    if form == "npz":
        write_npz(tmp_path / "mnist.npz")
    else:
        suffix = ".gz" if "gz" in form else ""
        for name, content in FILES.items():
            spelling = name.replace("-idx", ".idx") if "dots" in form else name
            (tmp_path / (spelling + suffix)).write_bytes(gz(content) if suffix else content)
    assert_is_small_mnist(dataset, tmp_path)


@pytest.mark.parametrize("missing", [*([name] for name in FILES), [*FILES]], ids=lambda names: names[-1])
@pytest.mark.parametrize("dataset", ["auto", "mnist"])
def test_the_first_missing_file_of_mnist_is_named(tmp_path, small_mnist, dataset, missing):
    """Whichever split is asked for. What is in a folder that is named is meant, so `auto` does not fall back."""
    write_files(tmp_path)
    for name in missing:
        (tmp_path / name).unlink()
    for split in ("train", "test"):
        assert missing[0] in refused(tmp_path.name, dataset, str(tmp_path), split)
    assert "no folder" in refused("nowhere", dataset, str(tmp_path / "nowhere"))


def test_only_the_split_asked_for_is_read(tmp_path, small_mnist):
    write_files(tmp_path, {**FILES, "t10k-images-idx3-ubyte": b"", "t10k-labels-idx1-ubyte": b""})
    assert len(load("mnist", str(tmp_path), "train").images) == 3
    refused("t10k-images-idx3-ubyte", "mnist", str(tmp_path), "test")


def test_labels_are_one_an_image(tmp_path, small_mnist):
    for content, fault in (
        (idx(LABELS), "found 5 labels, expected 3"),
        (idx(LABELS[:0]), "labels-idx1-ubyte: found shape [0]"),
        (idx(IMAGES), "labels-idx1-ubyte: found an IDX file of uint8 [5, 28, 28]"),
        (npz(images=IMAGES), "labels-idx1-ubyte: found an IDX file of no known type"),
    ):
        write_files(tmp_path, {**FILES, "train-labels-idx1-ubyte": content})
        assert fault in refused(tmp_path.name, "mnist", str(tmp_path))


@pytest.mark.parametrize("name", FILES)
def test_other_content_under_mnists_name_is_refused(tmp_path, small_mnist, name):
    damaged = FILES[name][:-1] + bytes([FILES[name][-1] ^ 1])
    write_files(tmp_path, {**FILES, name: damaged})
    message = refused(tmp_path.name, "mnist", str(tmp_path), "train" if "train" in name else "test")
    digests = [hashlib.sha256(content).hexdigest()[:16] for content in (damaged, FILES[name])]
    assert f"found {name} of sha256 {digests[0]}, expected {digests[1]}" in message and "--dataset PATH" in message


def test_keras_cache_is_used_and_checked(keras, small_mnist, tmp_path):
    cache = tmp_path / ".keras" / "datasets" / "mnist.npz"
    write_npz(cache)
    assert_is_small_mnist("auto", "")
    cache.write_bytes(cache.read_bytes()[:-30])
    message = refused(".keras/datasets/mnist.npz", "mnist", "")
    lines = []
    assert load("auto", "", announce=lines.append).name == "digits"
    assert len(lines) == 1 and message in lines[0] and "--data_dir FOLDER" in lines[0]


def test_download_is_used_and_checked(keras, small_mnist):
    keras.load_data = lambda: ((IMAGES[:3], LABELS[:3]), (IMAGES[3:], LABELS[3:]))
    assert_is_small_mnist("mnist", "")
    keras.load_data = lambda: ((IMAGES[:3] ^ 1, LABELS[:3]), None)
    refused("train-images-idx3-ubyte", "mnist", "")


def test_without_a_network_mnist_is_refused_and_auto_falls_back_with_one_loud_line(keras, capsys):
    before = socket.getdefaulttimeout()
    message = refused("MNIST", "mnist", "", "train", pytest.fail)
    assert message.endswith("; no route") and "--data_dir FOLDER" in message
    assert keras.timeouts == [10] and socket.getdefaulttimeout() == before
    lines = []
    dataset = load("auto", "", announce=lines.append)
    assert dataset.name == "digits" and len(dataset.images) == 1797
    (line,) = lines
    assert line.isprintable() and line.startswith("WARNING")
    for part in ("no route", "--data_dir FOLDER", "mnist.npz", "1,797 digits"):
        assert part in line
    assert capsys.readouterr() == ("", "")


@needs_mnist
def test_real_mnist():
    train, test = load("mnist", MNIST_DIR), load("auto", MNIST_DIR, "test")
    assert train.images.shape == (60_000, 28, 28) and test.images.shape == (10_000, 28, 28)
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert train.digest == "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    assert round(train.images.mean() / 255, 4) == 0.1307


def test_digits_look_like_mnist():
    digits = load("digits", "")
    assert digits.images.shape == (1797, 28, 28) and digits.images.dtype == np.uint8
    assert digits.labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert np.all(digits.images.max((1, 2)) == 255)
    border = digits.images.copy()
    border[:, 4:24, 4:24] = 0
    assert not border.any()
    # MNIST is 0.81 black and 0.07 all but white, with a mean of 33.
    assert 0.7 < (digits.images == 0).mean() < 0.9
    assert 0.05 < (digits.images >= 250).mean() < 0.15
    assert 25 < digits.images.mean() < 45
    zero = digits.images[0]  # a ring: dark at its centre
    assert zero[14, 14] == 0 and zero[14].max() > 150 and zero[:, 14].max() > 150
    assert load("digits", "").digest == digits.digest
    assert load("digits", "", "test").digest == digits.digest


# Batches


def test_an_epoch_shows_each_image_once_in_an_order_of_its_own():
    batches = [batch_indices(60, 6, 1, step) for step in range(20)]
    assert all(batch.shape == (6,) and batch.dtype == np.int64 for batch in batches)
    first, second = np.concatenate(batches[:10]), np.concatenate(batches[10:])
    assert sorted(first) == sorted(second) == list(range(60))
    assert not np.array_equal(first, second) and not np.array_equal(first, range(60))
    assert not np.array_equal(batch_indices(60, 6, 2, 0), batches[0])


def test_an_epoch_leaves_out_the_remainder():
    for steps in (range(2), range(2, 4)):
        assert len(set(np.concatenate([batch_indices(10, 4, 0, step) for step in steps]))) == 8
    assert sorted(batch_indices(4, 4, 0, 5)) == [0, 1, 2, 3]


def test_a_step_does_not_depend_on_those_before_it():
    """Nor on the epochs whose order is known: there are six here, and they are asked for in turns."""
    steps = list(range(40))
    expected = {step: batch_indices(50, 7, 3, step).tolist() for step in steps}
    random.Random(0).shuffle(steps)
    assert all(batch_indices(50, 7, 3, step).tolist() == expected[step] for step in steps)


def test_batch_larger_than_the_data():
    assert len(batch_indices(64, 64, 0, 0)) == 64
    with pytest.raises(UsageError, match="^--batch_size: found 65, expected at most 64, the size of the data set$"):
        batch_indices(64, 65, 0, 0)


def test_latents_are_uniform():
    z = latent(0, Stream.TRAIN, 0, (1000, 100))
    assert z.shape == (1000, 100) and z.dtype == np.float32
    assert z.min() >= -1 and z.max() < 1
    share, _ = np.histogram(z, 20, (-1, 1))
    assert np.all(np.abs(share / z.size - 0.05) < 0.003)  # over four standard errors
    assert abs(np.corrcoef(z[:, 0], z[:, 1])[0, 1]) < 0.15


def test_latents_are_normal_where_that_is_asked_for():
    z = latent(0, Stream.TRAIN, 0, (1000, 100), "normal")
    assert z.dtype == np.float32 and z.shape == (1000, 100) and np.isfinite(z).all()
    standard = np.array([0, 1, 0, 3])  # moments of orders 1 to 4
    assert np.allclose([np.mean(z.astype(np.float64) ** k) for k in (1, 2, 3, 4)], standard, atol=0.05)
    assert len(np.unique(z)) > 0.99 * z.size and abs(np.corrcoef(z[:, 0], z[:, 1])[0, 1]) < 0.1


def test_normal_latents_of_the_extreme_bits(monkeypatch):
    bits = [0, 1 << 63, 2**64 - 2**32, 2**64 - 1]  # the upper half gives the radius, and the lower half the angle
    generator = SimpleNamespace(random_raw=lambda count: np.array(bits, np.uint64))
    monkeypatch.setattr(np.random, "Philox", lambda **options: generator)
    expected = [np.sqrt(64 * np.log(2)), np.sqrt(2 * np.log(2)), 0, 0]
    assert np.allclose(latent(0, Stream.TRAIN, 0, (4,), "normal"), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_latents_are_pure_and_never_shared(distribution):
    def draw(seed, stream, counter, *shape):
        return latent(seed, stream, counter, shape, distribution)

    keys = [(seed, stream, n) for seed in (0, 1, 2, 2**63 - 1) for stream in Stream for n in (0, 1, 2, 2**40)]
    values = [draw(*key, 2, 8).tobytes() for key in keys]
    assert len(set(values)) == len(keys)
    assert [draw(*key, 2, 8).tobytes() for key in reversed(keys)] == values[::-1]
    # Counters start far apart: one step's numbers are not the next one's, shifted.
    assert not set(draw(0, Stream.TRAIN, 0, 1000)[8:].tolist()) >= set(draw(0, Stream.TRAIN, 1, 2, 8).flat)
    assert np.array_equal(draw(0, Stream.TRAIN, 5, 3, 4), draw(0, Stream.TRAIN, 5, 12).reshape(3, 4))


def test_numbers_are_these_for_ever():
    """If NumPy's bits, the keys, or what is made of the bits ever change, no run can be resumed exactly any more."""
    assert [int(stream) for stream in Stream] == [0, 1, 2, 3, 4, 5] and draws.CHUNK == 500
    expected = [-0.8937344551086426, 0.18807852268218994, -0.2685970067977905, 0.7191872596740723]
    assert latent(7, Stream.TRAIN, 3, (4,)).tolist() == expected
    expected = [-1.1219370365142822, 1.0083906650543213, 1.3214125633239746, 0.5476584434509277]
    assert latent(7, Stream.TRAIN, 3, (4,), "normal").tolist() == expected
    assert latent(7, Stream.SNAPSHOT, 0, (2,)).tolist() == [-0.2669030427932739, -0.2002161741256714]
    assert batch_indices(100, 4, 7, 30).tolist() == [46, 78, 35, 7]
