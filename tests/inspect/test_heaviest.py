"""The parts of a release by weight: by package, not by folder, and nothing is lost."""

from __future__ import annotations

from sealift.bundle.documents import FileEntry
from sealift.inspect.heaviest import SHOWN, Part, heaviest, heaviest_json, shown


def layer(**sizes: int) -> dict[str, FileEntry]:
    return {path: FileEntry("0" * 64, size, False) for path, size in sizes.items()}


MANIFESTS = {
    "runtime": layer(
        **{
            "python/bin/python3.11": 100,
            "python/lib/python3.11/os.py": 50,
            "numpy/__init__.py": 30,
            "numpy.libs/libopenblas.so": 400,
            "numpy-2.4.6.dist-info/RECORD": 5,
            "PIL/Image.py": 7,
            "pillow.libs/libjpeg.so": 8,
            "pillow-13.0.0.dist-info/METADATA": 1,
            "sealift/__init__.py": 20,
            "boot.py": 2,
            "_cffi_backend.cpython-311-x86_64-linux-gnu.so": 9,
            "cffi/api.py": 1,
        }
    ),
    "dependencies": layer(
        **{"six.py": 3, "__pycache__/six.cpython-311.pyc": 4, "six-1.17.0.dist-info/RECORD": 1, "Flask/app.py": 6,
           "flask-3.0.dist-info/RECORD": 1}
    ),
    "application": layer(
        **{"models/cat.onnx": 500, "models/cat/weights.bin": 600, "handlers/cat/h.py": 2, "service.json": 11,
           "goldens/cat/0.json": 12}
    ),
}  # fmt: skip


def test_files_are_counted_to_the_package_that_they_came_with() -> None:
    found = {(part.layer, part.name): (part.size, part.files) for part in heaviest(MANIFESTS)}
    assert found == {
        ("runtime", "interpreter"): (150, 2),
        ("runtime", "numpy"): (435, 3),
        ("runtime", "pillow"): (16, 3),
        ("runtime", "sealift"): (22, 2),
        ("runtime", "cffi"): (10, 2),
        ("dependencies", "six"): (8, 3),
        ("dependencies", "Flask"): (7, 2),
        ("application", "model cat"): (1100, 2),
        ("application", "handler cat"): (2, 1),
        ("application", "service.json"): (11, 1),
        ("application", "goldens"): (12, 1),
    }


def test_the_heaviest_comes_first_and_nothing_is_lost() -> None:
    parts = heaviest(MANIFESTS)
    assert [part.name for part in parts[:3]] == ["model cat", "numpy", "interpreter"]
    assert sum(part.size for part in parts) == sum(
        e.size for files in MANIFESTS.values() for e in files.values()
    )
    assert sum(part.files for part in parts) == sum(len(files) for files in MANIFESTS.values())
    assert heaviest_json(parts)[0] == {"files": 2, "layer": "application", "part": "model cat", "size": 1100}


def test_a_page_shows_the_first_and_adds_the_others_up() -> None:
    many = tuple(Part("runtime", f"p{number:02}", 100 - number, 1) for number in range(SHOWN + 3))
    rows = list(shown(many))
    assert rows[:SHOWN] == list(many[:SHOWN])
    assert rows[SHOWN:] == [Part("", "3 lighter ones", sum(part.size for part in many[SHOWN:]), 3)]
    assert list(shown(many[:2])) == list(many[:2])
    assert heaviest({}) == ()
