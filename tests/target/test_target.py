import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealift.errors import MalformedBundle
from sealift.target.target import Target, version_key

TARGET = Target(platform="linux-x86_64", python="3.11", glibc="2.31", cpu=("avx2",), kernel="5.4")
VERSIONS = st.tuples(st.integers(0, 99), st.integers(0, 99)).map(lambda pair: f"{pair[0]}.{pair[1]}")


@given(
    st.builds(
        Target,
        platform=st.sampled_from(["linux-x86_64", "linux-aarch64"]),
        python=VERSIONS,
        glibc=VERSIONS,
        implementation=st.text(),
        interpreter=st.text(),
        cpu=st.lists(st.text()).map(tuple),
        kernel=st.none() | VERSIONS,
        cuda=st.none() | VERSIONS,
    )
)
def test_a_target_survives_the_way_through_json(target: Target) -> None:
    assert Target.from_json(json.loads(json.dumps(target.to_json()))) == target


def test_all_faults_of_a_document_are_named_at_once() -> None:
    document = TARGET.to_json() | {
        "cpu": "avx2",
        "glibc": 2.31,
        "colour": "red",
        "platform": "windows-x86_64",
    }
    del document["kernel"]
    with pytest.raises(MalformedBundle) as caught:
        Target.from_json(document)
    assert caught.value.problems == (
        "kernel: missing",
        "colour: unknown field",
        "platform: expected linux-x86_64 or linux-aarch64, got 'windows-x86_64'",
        "glibc: expected a version like 2.31, got 2.31",
        "cpu: expected a list of texts, got 'avx2'",
    )


@pytest.mark.parametrize("value", ["2", "2.x", "", "2..3", "٢.٣", None, 2])
def test_a_version_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(MalformedBundle):
        Target.from_json(TARGET.to_json() | {"glibc": value})


def test_versions_are_compared_as_numbers() -> None:
    assert version_key("2.9") < version_key("2.31") < version_key("2.31.1")
    assert version_key("5.4.0-150-generic") == (5, 4, 0, 150)
    assert version_key("6.1+deb") == (6, 1)
