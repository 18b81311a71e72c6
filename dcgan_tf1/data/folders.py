"""Folders of pictures: which of them are classes, which are splits, and tables of labels beside them."""

import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from dcgan_tf1.data import notes, pictures, tables
from dcgan_tf1.data.classes import named
from dcgan_tf1.data.decoding import Form
from dcgan_tf1.data.places import File, Place
from dcgan_tf1.data.readers import Images, shorten
from dcgan_tf1.data.splits import choose, split_of
from dcgan_tf1.errors import DataError

TABLES = ("labels.csv", "metadata.csv", "dataset.json")
"""The names of files that have the labels of the pictures beside them, the last one as StyleGAN writes it."""
_LARGEST_JSON = 1 << 26

Labels = list[tuple[str, str]]
"""The names of files, which are empty where it is their order that tells, and of their classes."""


def read(
    place: Place, files: Sequence[File], split: str, form: Form, announce: Callable[[str], object], given: Labels
) -> Images:
    """The pictures of `split` among `files`, in the order of their names without folders, and then of their paths.

    Their labels are those that are `given`, or in a table; otherwise the folders are classes, whatever lies how deep
    below them. Folders that all pictures lie in say nothing. Raises DataError as `pictures.read` does.
    """
    names = [file.name for file in files if not file.fault]
    parts = _splits(names)
    prefix = choose(parts, split)[0]
    chosen = [file for file in files if file.name.startswith(prefix)]
    chosen.sort(key=lambda file: (file.name.rpartition("/")[2], file.name))
    labels, classes = given or _read_table(place, prefix), _inside(names, prefix)
    if labels:
        values = _look_up(labels, chosen)
    elif labels is None and "" not in classes:
        values = [file.name[len(prefix) :].partition("/")[0] for file in chosen]
    else:
        values = []
    if labels is None and "" in classes and len(classes) > 1:
        loose = next(file.name for file in chosen if "/" not in file.name[len(prefix) :])
        fault = f"found {shorten(loose)!r} beside the folder {shorten(min(filter(None, classes)))!r}"
        raise DataError(f"{fault}, expected all pictures in folders of classes, or none")
    found = pictures.read(place, chosen, form, announce)
    shown = [file.name[len(prefix) :] for file in chosen]
    owners = found.owners(len(chosen), form)
    beside = sorted(
        file.name[len(prefix) :]
        for file in set(place.files) - set(files)
        if file.name.startswith(prefix) and file.name.rpartition("/")[2] not in TABLES
    )
    images = Images(
        found.images,
        files=tuple(shown[index] for index in owners),
        notes=notes.of_files(shown, beside, {kind: [shown[i] for i in odd] for kind, odd in found.odd.items()}, form),
        tests=sum(file.name.startswith(choose(parts, "test")[0]) for file in files) if len(parts) > 1 else 0,
    )
    if not values:
        return images
    others = filter(None, set().union(*(_inside(names, part) for _, part in parts))) if labels is None else ()
    labelled, classes_of = named([values[index] for index in owners], others)
    return images._replace(labels=labelled, names=classes_of)


def _inside(names: Sequence[str], prefix: str) -> Counter[str]:
    """The folders in the folder `prefix`, and how many pictures each holds; those in none count for an empty name."""
    paths = (name[len(prefix) :] for name in names if name.startswith(prefix))
    return Counter(path.partition("/")[0] if "/" in path else "" for path in paths)


def _splits(names: Sequence[str]) -> list[tuple[str, str]]:
    """The splits and the folders that hold them, or no split and the folder that holds all pictures.

    Splits are folders of such names and no others, in which the classes have the same names.
    """
    root = _single(names, [""])[0]
    tops = _inside(names, root)
    largest = {split_of(top, whole=True): f"{root}{top}/" for top in sorted(tops, key=lambda top: (tops[top], top))}
    if "train" not in largest or "" in largest or len(largest) == 1:
        return [("", root)]
    folders = _single(names, list(largest.values()))
    parts = dict(zip(largest, folders, strict=True))
    known = _inside(names, parts["train"]).keys()
    alike = all("" in (other := _inside(names, part)) or other.keys() & known for part in folders)
    return list(parts.items()) if alike else [("", root)]


def _single(names: Sequence[str], folders: list[str]) -> list[str]:
    """Go down from `folders` as long as each holds nothing but a single folder. Returns where that leads."""
    while all(len(each) == 1 and "" not in each for each in (_inside(names, folder) for folder in folders)):
        folders = [f"{folder}{next(iter(_inside(names, folder)))}/" for folder in folders]
    return folders


# Tables of labels


def _read_table(place: Place, prefix: str) -> Labels | None:
    """The labels in a table that lies in the folder `prefix`, or above it. None: there is none."""
    files = {file.name: file for file in place.files}
    while True:
        for name in TABLES:
            file = files.get(prefix + name)
            if file and (labels := _read_labels(place, file)) is not None:
                return [(prefix + name, label) for name, label in labels]
        if not prefix:
            return None
        prefix = prefix[: prefix.rstrip("/").rfind("/") + 1]


def _read_labels(place: Place, file: File) -> Labels | None:
    with place.open(file) as content:
        if not file.name.endswith(".json"):
            return tables.read_labels(content)
        if content.limit > _LARGEST_JSON:
            raise DataError(f"found {content.limit} bytes, expected at most {_LARGEST_JSON}")
        record = json.loads(content.read(content.limit))
        if not isinstance(record, dict) or "labels" not in record:
            return None
        labels = record["labels"] or []  # null where there are none, and then folders are no classes either
        if not all(isinstance(name, str) and type(label) in (int, str) for name, label in labels):
            raise DataError("found other labels than a file name and a number each, as StyleGAN's dataset.json has")
        return [(name, str(label)) for name, label in labels]


def _look_up(labels: Labels, files: Sequence[File]) -> list[str]:
    """The label of each file: by its path or its name; by its place where the table has no names."""
    if not any(name for name, _ in labels):
        if len(labels) != len(files):
            raise DataError(f"found {len(files)} pictures, expected {len(labels)}, one for each label")
        return [label for _, label in labels]
    known: dict[str, set[str]] = defaultdict(set)
    for name, label in labels:
        for key in _keys(name):
            known[key].add(label)
    values = []
    for file in files:
        found = next((known[key] for key in _keys(file.name) if key in known), set())
        if len(found) != 1 and not file.fault:
            raise DataError(f"found {'several labels' if found else 'no label'} of {shorten(file.name)}, expected one")
        values.append("".join(found))
    return values


def _keys(name: str) -> tuple[str, str, str]:
    """What a table may call a file: its path, its name, or that without its end."""
    path = PurePosixPath(unicodedata.normalize("NFC", name))
    return str(path), path.name, path.stem
