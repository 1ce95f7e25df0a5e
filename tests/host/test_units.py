"""The units' texts: what systemd reads, and addresses it can listen on."""

from __future__ import annotations

import configparser

import pytest

from sealift.errors import HostError
from sealift.host.units import SERVICE_TEXT, SOCKET_TEXT, address_text


def parsed(text: str) -> configparser.ConfigParser:
    """A unit file as options, case kept; a key that stands twice is an error."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


def listens_on(host: str, port: int = 8000) -> str:
    return parsed(address_text("fraud", host, port))["Socket"]["ListenStream"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "127.0.0.1:8000"),
        ("0.0.0.0", "0.0.0.0:8000"),
        ("10.1.2.3", "10.1.2.3:8000"),
        ("localhost", "127.0.0.1:8000"),
        ("::", "[::]:8000"),
        ("0:0:0:0:0:0:0:1", "[::1]:8000"),
    ],
)
def test_an_address_is_written_as_systemd_reads_it(host: str, expected: str) -> None:
    assert listens_on(host) == expected


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_is_not_fixed_is_refused_with_the_command_that_sets_one(port: int) -> None:
    with pytest.raises(HostError, match="needs a fixed one") as error:
        address_text("fraud", "127.0.0.1", port)
    assert error.value.next_step == "sealift config set fraud port=8000"


@pytest.mark.parametrize("host", ["", "a" * 70])
def test_a_host_without_an_address_is_refused(host: str) -> None:
    with pytest.raises(HostError, match="is no address of this machine"):
        address_text("fraud", host, 8000)


def test_nothing_stops_systemd_from_trying_again() -> None:
    assert parsed(SERVICE_TEXT)["Unit"]["StartLimitIntervalSec"] == "0"
    assert parsed(SERVICE_TEXT)["Service"]["Restart"] == "always"
    assert parsed(SOCKET_TEXT)["Socket"]["TriggerLimitIntervalSec"] == "0"


def test_the_service_runs_the_prefix_s_own_command() -> None:
    assert parsed(SERVICE_TEXT)["Service"]["ExecStart"] == "/opt/sealift/bin/sealift serve %i"


def test_no_line_is_longer_than_a_terminal_shows() -> None:
    assert max(map(len, (SERVICE_TEXT + SOCKET_TEXT).splitlines())) <= 120


def test_a_grpc_port_is_a_second_address_behind_http_s() -> None:
    """`serve.notify.inherited_listeners` tells the two apart by their order."""
    lines = address_text("fraud", "127.0.0.1", 8000, 8001).splitlines()
    assert lines[-2:] == ["ListenStream=127.0.0.1:8000", "ListenStream=127.0.0.1:8001"]


@pytest.mark.parametrize(
    ("port", "said"), [(0, "needs a fixed one"), (8000, "HTTP and gRPC need one each")], ids=["any", "same"]
)
def test_an_impossible_grpc_port_is_refused(port: int, said: str) -> None:
    with pytest.raises(HostError, match=said) as error:
        address_text("fraud", "127.0.0.1", 8000, port)
    assert error.value.next_step == "sealift config set fraud grpc_port=8001"
