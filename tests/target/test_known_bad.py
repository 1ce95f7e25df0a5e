import pytest

from sealift.target.known_bad import bad_combinations, known_bad
from sealift.target.target import Target

OLD = Target(platform="linux-x86_64", python="3.11", glibc="2.17")


def test_the_pair_that_crashes_on_import_is_known() -> None:
    (problem,) = known_bad(OLD, {"onnxruntime": "1.16.3", "numpy": "2.2.6", "pillow": "11.0"})
    assert problem.startswith("onnxruntime 1.16.3 with numpy 2.2.6 (glibc 2.17): ")
    assert "numpy<2" in problem


@pytest.mark.parametrize(
    "packages",
    [
        {"onnxruntime": "1.16.3", "numpy": "1.26.4"},
        {"onnxruntime": "1.19.0", "numpy": "2.0.0"},
        {"onnxruntime": "1.16.3"},
        {"numpy": "2.2.6"},
        {},
    ],
)
def test_neighbours_of_a_bad_pair_are_not_accused(packages: dict[str, str]) -> None:
    assert known_bad(OLD, packages) == ()


@pytest.mark.parametrize(
    ("package", "fails", "works"),
    [
        ("simplejpeg", "1.7.3", "1.7.4"),
        ("opencv-python-headless", "4.10.0.82", "4.10.0.84"),
        ("pandas", "2.2.1", "2.2.2"),
        ("h5py", "3.10.0", "3.11.0"),
    ],
)
def test_wheels_built_for_numpy_1_are_bad_with_numpy_2_only(package: str, fails: str, works: str) -> None:
    (bad,) = bad_combinations(OLD, {package: fails, "numpy": "2.4.6"})
    assert bad.instead == "numpy<2"
    assert known_bad(OLD, {package: fails, "numpy": "1.26.4"}) == ()
    assert known_bad(OLD, {package: works, "numpy": "2.4.6"}) == ()
