from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from packaging.metadata import RawMetadata

from sealift.collect.licences import licence_of
from sealift.collect.wheel import read_wheel

MIT_TEXT = "Permission is hereby granted, free of charge, to any person"
BSD3_TEXT = (
    "Redistribution and use in source and binary forms, with or without modification, are permitted. "
    "Neither the name of the copyright holder"
)


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        ({"license_expression": "mit or apache-2.0"}, "MIT OR Apache-2.0"),
        ({"license_expression": "MIT", "license": "BSD-3-Clause"}, "MIT"),
        ({"license": "Apache 2.0"}, "Apache-2.0"),
        ({"license": "Apache License, Version 2.0"}, "Apache-2.0"),
        ({"license": "bsd-3-clause"}, "BSD-3-Clause"),
        ({"license": "3-Clause BSD License"}, "BSD-3-Clause"),
        ({"license": "BSD"}, None),
        ({"license": "Proprietary, ask us"}, None),
        ({"classifiers": ["License :: OSI Approved :: MIT License"]}, "MIT"),
        ({"classifiers": ["License :: OSI Approved", "License :: OSI Approved :: BSD License"]}, None),
        (
            {
                "classifiers": [
                    "License :: OSI Approved :: MIT License",
                    "License :: OSI Approved :: Apache Software License",
                ]
            },
            "Apache-2.0 OR MIT",
        ),
        ({"license": f"Copyright (c) us\n\n{BSD3_TEXT}"}, "BSD-3-Clause"),
        ({"license": f"{BSD3_TEXT}\n\nBundled: GNU GENERAL PUBLIC LICENSE\n Version 3"}, "BSD-3-Clause"),
        ({"license": "UNKNOWN"}, None),
        ({}, None),
    ],
)
def test_the_licence_that_metadata_states_is_normalised(metadata: object, licence: str | None) -> None:
    assert licence_of(cast("RawMetadata", metadata)) == licence


def test_licence_files_speak_where_metadata_is_silent() -> None:
    assert licence_of({}, ["Apache License\n  Version 2.0, January 2004"]) == "Apache-2.0"


def test_licence_files_that_disagree_name_no_licence() -> None:
    assert licence_of({}, [MIT_TEXT, BSD3_TEXT]) is None


def test_the_texts_in_a_wheel_are_listed(tmp_path: Path, make_wheel: Callable[..., Path]) -> None:
    files = {
        "a.py": "",
        "a/LICENSE": "not in dist-info",
        "a-1.0.dist-info/licenses/LICENSE": MIT_TEXT,
        "a-1.0.dist-info/licenses/vendored/odd.txt": "",
        "a-1.0.dist-info/NOTICE.md": "",
    }
    wheel = make_wheel(tmp_path, "a", files=files, metadata=["License-File: vendored/odd.txt"])
    found = read_wheel(wheel).wheel
    assert found.licence == "MIT"
    assert found.licence_files == (
        "a-1.0.dist-info/NOTICE.md",
        "a-1.0.dist-info/licenses/LICENSE",
        "a-1.0.dist-info/licenses/vendored/odd.txt",
    )
