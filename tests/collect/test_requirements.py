from pathlib import Path

import pytest

from sealift.collect.requirements import Demands, read_requirements
from sealift.collect.tags import markers_of
from sealift.errors import UsageError
from sealift.target.target import Target

TARGET = Target(platform="linux-aarch64", python="3.12", glibc="2.28")


def read(file: Path, *, provided: frozenset[str] = frozenset(), frozen: bool = False) -> Demands:
    return read_requirements(file, markers_of(TARGET), provided=provided, frozen=frozen)


def lines(demands: Demands) -> list[str]:
    return [demand.line() for demand in demands.demands]


def test_nested_files_comments_and_continued_lines_become_plain_demands(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(
        "\ufeff# head\n\nAlpha >=1 ,<2  # why\n-r sub/more.txt\n--constraint=limits.txt\nbeta[x]==1 \\\n"
        "  --hash=sha256:aa \\\n  --hash sha256:bb\n",
        encoding="utf-8",
    )
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "more.txt").write_text("-r../requirements.txt\ngamma\n")
    (tmp_path / "limits.txt").write_text("delta<3\n")
    demands = read(tmp_path / "requirements.txt")
    assert lines(demands) == ["Alpha<2,>=1", "gamma", "beta[x]==1 --hash=sha256:aa --hash=sha256:bb"]
    assert [demand.origin for demand in demands.demands] == [
        "requirements.txt line 3",
        "more.txt line 2",
        "requirements.txt line 6",
    ]
    assert [demand.line() for demand in demands.constraints] == ["delta<3"]


def test_markers_are_decided_for_the_target(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text(
        'a; python_version<"3.12"\nb; platform_machine=="aarch64"\nc; sys_platform=="win32"\n'
    )
    assert lines(read(tmp_path / "r.txt")) == ["b"]


def test_index_options_are_handed_on_and_local_link_folders_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INDEX_TOKEN", "s3")
    (tmp_path / "links").mkdir()
    (tmp_path / "r.txt").write_text(
        "--extra-index-url https://u:${INDEX_TOKEN}@index.example/simple\n-f links\n--pre\n--only-binary=:all:\n"
    )
    assert read(tmp_path / "r.txt").options == [
        "--extra-index-url https://u:s3@index.example/simple",
        f"--find-links {tmp_path / 'links'}",
        "--pre",
    ]


def test_what_pip_freeze_writes_and_no_box_can_have_is_refused_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "freeze.txt").write_text(
        "# Editable install with no version control (mine==1.0)\n"
        "-e /home/me/mine\n"
        "numpy @ file:///croot/numpy_123/work\n"
        "torch==2.2.0+cu121\n"
        "tool @ git+https://forge.example/tool@abc\n"
        "six==1.17.0\n"
        "not a line\n"
        "--no-binary six\n"
    )
    with pytest.raises(UsageError) as caught:
        read(tmp_path / "freeze.txt", frozen=True)
    assert [problem.rpartition(" line ")[2][0] for problem in caught.value.problems] == list("234578")
    said = "\n".join(caught.value.problems)
    assert "pip wheel --no-deps /home/me/mine -w vendor/" in said
    assert "write numpy==VERSION" in said
    assert "torch==2.2.0+cu121: a local version, which no index serves" in said
    assert "comes from git+https, not from an index" in said
    assert "not a requirement" in said
    assert "the option --no-binary is not supported here" in said
    assert "vendor/*.whl" in str(caught.value.next_step)


def test_a_local_wheel_answers_for_a_line_that_nothing_else_could(tmp_path: Path) -> None:
    (tmp_path / "freeze.txt").write_text("Torch==2.2.0+cu121\nsix==1.17.0\n")
    assert lines(read(tmp_path / "freeze.txt", provided=frozenset({"torch"}), frozen=True)) == ["six==1.17.0"]


def test_a_local_version_in_plain_requirements_is_left_to_pip(tmp_path: Path) -> None:
    """There an --extra-index-url may stand beside it."""
    (tmp_path / "r.txt").write_text("torch==2.2.0+cu121\n")
    assert lines(read(tmp_path / "r.txt")) == ["torch==2.2.0+cu121"]


def test_named_wheel_files_are_taken_and_folders_are_not(tmp_path: Path) -> None:
    (tmp_path / "vendor").mkdir()
    wheel = tmp_path / "vendor" / "a-1-py3-none-any.whl"
    wheel.touch()
    (tmp_path / "r.txt").write_text(f"./vendor/a-1-py3-none-any.whl\na @ {wheel.as_uri()}\n")
    assert read(tmp_path / "r.txt").wheels == [wheel, wheel]
    (tmp_path / "bad.txt").write_text(".\n./vendor\nmissing.whl\n")
    with pytest.raises(UsageError) as caught:
        read(tmp_path / "bad.txt")
    assert len(caught.value.problems) == 3
    assert "does not exist" in caught.value.problems[2]


def test_a_missing_nested_file_names_who_asked_for_it(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("-r gone.txt\n")
    with pytest.raises(UsageError) as caught:
        read(tmp_path / "r.txt")
    assert f"{tmp_path / 'gone.txt'} (named in r.txt): not readable" in caught.value.problems[0]


def test_sealift_itself_is_left_out_with_a_note(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("sealift==0.1\nsix\n")
    demands = read(tmp_path / "r.txt")
    assert lines(demands) == ["six"]
    assert demands.notes == ["r.txt line 1: sealift is left out; its box side always travels"]


def test_only_exact_and_hashed_demands_make_pins(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("a==1.0 --hash=sha256:AB\n")
    pins = read(tmp_path / "r.txt").pins()
    assert pins is not None
    assert [pin.line() for pin in pins] == ["a==1.0 --hash=sha256:ab"]
    for text in (
        "a==1.0\n",
        "a>=1.0 --hash=sha256:ab\n",
        "a==1.* --hash=sha256:ab\n",
        "a==1 --hash=md5:ab\n",
    ):
        (tmp_path / "r.txt").write_text(text)
        assert read(tmp_path / "r.txt").pins() is None
