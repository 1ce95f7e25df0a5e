"""uv's ways to say where packages come from, and what pip is told of them."""

from pathlib import Path

import pytest

from sealift.collect.index_settings import index_settings
from sealift.errors import UsageError


def test_nothing_said_leaves_pip_to_itself(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    assert index_settings(tmp_path, {"PIP_INDEX_URL": "https://elsewhere.example/"}).arguments == ()


def test_the_environment_comes_before_the_files(tmp_path: Path) -> None:
    (tmp_path / "uv.toml").write_text(
        '[[index]]\nname = "mirror"\nurl = "https://mirror.example/simple"\ndefault = true\n'
        '[[index]]\nname = "more"\nurl = "https://more.example/simple"\n'
    )
    settings = index_settings(tmp_path, {"UV_DEFAULT_INDEX": "https://first.example/simple"})
    assert settings.arguments == (
        *("--index-url", "https://first.example/simple"),
        *("--extra-index-url", "https://more.example/simple"),
    )
    assert settings.told_by == ("UV_DEFAULT_INDEX", str(tmp_path / "uv.toml"))


def test_every_variable_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {
        "UV_INDEX_URL": "https://old.example/simple",
        "UV_INDEX": "inside=https://one.example/simple https://two.example/simple",
        "UV_EXTRA_INDEX_URL": "https://three.example/simple",
        "UV_FIND_LINKS": "wheels,https://page.example/links.html",
        "UV_INSECURE_HOST": "two.example",
        "UV_NO_INDEX": "true",
        "UV_INDEX_INSIDE_USERNAME": "me",
        "UV_INDEX_INSIDE_PASSWORD": "s3/cret",
    }
    assert index_settings(tmp_path, environ).arguments == (
        "--no-index",
        *("--index-url", "https://old.example/simple"),
        *("--extra-index-url", "https://me:s3%2Fcret@one.example/simple"),
        *("--extra-index-url", "https://two.example/simple"),
        *("--extra-index-url", "https://three.example/simple"),
        *("--find-links", str(tmp_path / "wheels")),
        *("--find-links", "https://page.example/links.html"),
        *("--trusted-host", "two.example"),
    )


def test_an_explicit_index_is_asked_for_its_own_packages_alone(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[[tool.uv.index]]\nname = "cpu"\nurl = "https://cpu.example/whl"\nexplicit = true\n'
        '[[tool.uv.index]]\nname = "unused"\nurl = "https://unused.example/whl"\nexplicit = true\n'
        '[tool.uv.sources]\nTorch_X = [{ index = "cpu" }]\nother = { path = "../other" }\n'
    )
    assert index_settings(tmp_path, {}).arguments == ("--find-links", "https://cpu.example/whl/torch-x/")


def test_paths_count_from_the_file_and_a_parent_folder_counts(tmp_path: Path) -> None:
    (tmp_path / "uv.toml").write_text(
        'find-links = ["wheels"]\nno-index = true\n[pip]\nindex-url = "simple"\n'
    )
    below = tmp_path / "services" / "one"
    below.mkdir(parents=True)
    assert index_settings(below, {}).arguments == (
        "--no-index",
        *("--index-url", (tmp_path / "simple").as_uri()),
        *("--find-links", str(tmp_path / "wheels")),
    )
    assert index_settings(below, {"UV_NO_CONFIG": "1"}).arguments == ()


def test_the_users_own_file_comes_last(tmp_path: Path) -> None:
    (tmp_path / "config" / "uv").mkdir(parents=True)
    (tmp_path / "config" / "uv" / "uv.toml").write_text('index-url = "https://user.example/simple"\n')
    project = tmp_path / "project"
    project.mkdir()
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    assert index_settings(project, environ).arguments == ("--index-url", "https://user.example/simple")
    (project / "uv.toml").write_text('index-url = "https://project.example/simple"\n')
    assert index_settings(project, environ).arguments == ("--index-url", "https://project.example/simple")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "uv.toml").write_text("[[index]\n")
    with pytest.raises(UsageError, match=r"uv\.toml, which may say where packages come from, cannot be read"):
        index_settings(tmp_path, {})
