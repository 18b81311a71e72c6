"""Names for the kinds of file that are not read, which are told by first bytes or by the end of a name."""

import re

_KINDS = {
    "an HDF5 file": (rb"\x89HDF", r"h5|hdf5"),
    "a MATLAB file": (rb"MATLAB ", r"mat"),
    "a TFRecord file": (rb"[^\0].{2}\0{5}", r"tfrecords?"),
    "a Python pickle": (rb"\x80[\2-\5]", r"pkl|pickle"),
    "a PyTorch file": (rb"(?!)", r"pth?"),
    "an Arrow file": (rb"ARROW1", r"arrow"),
    "a HEIC picture": (rb".{4}ftyp", r"hei[cf]|avif"),
    "an SQLite database": (rb"SQLite format", r"sqlite3?|db"),
    "a 7z archive": (rb"7z\xbc\xaf", r"7z"),
    "a RAR archive": (rb"Rar!", r"rar"),
    "a zip archive": (rb"PK[\3\5]", r"zip"),
    "a tar archive": (rb"(?!)", r"tar|tar\.gz|tgz"),
    "an xz, bzip2 or zstd file": (rb"\xfd7zXZ|BZh|\x28\xb5\x2f\xfd", r"xz|bz2|zst"),
    "a PDF document": (rb"%PDF", r"pdf"),
    "a web page": (rb"\s*<", r"html?|xml|svg"),
    "JSON": (rb"\s*[\[{]\s*[\[{\"]", r"jsonl?"),
}


def unread_kind(head: bytes, name: str) -> str:
    """Name the kind of a file whose first bytes, at least 16, are `head`; return nothing if it is of no known kind."""
    by_head = (kind for kind, (pattern, _) in _KINDS.items() if re.match(pattern, head, re.DOTALL))
    by_name = (kind for kind, (_, ends) in _KINDS.items() if re.search(rf"\.({ends})(\.gz)?$", name, re.IGNORECASE))
    return next(by_head, "") or next(by_name, "")
