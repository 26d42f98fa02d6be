"""What is believed of the processes of a machine."""

import pytest

from wherry.install.asking import is_of_service

OWN = "user.slice/user-1000.slice/user@1000.service"


@pytest.mark.parametrize(
    ("groups", "believed"),
    [
        ("0::/system.slice/docker.service\n", True),
        ("0::/machine.slice/docker.service/supervised\n", True),
        (
            "4:memory:/system.slice/docker.service\n1:name=systemd:/system.slice/docker.service",
            True,
        ),
        (f"0::/{OWN}/app.slice/docker.service\n", False),
        (f"4:memory:/{OWN}\n1:name=systemd:/{OWN}/docker.service\n", False),
        ("0::/system.slice/docker.service.d\n", False),
        ("0::/system.slice/not-docker.service\n", False),
        ("0::/\n", False),
        ("", False),
    ],
)
def test_a_daemon_is_a_service_of_the_system_and_not_of_a_person(
    groups: str, believed: bool
) -> None:
    """Root reads the path of the daemon's configuration from its command line, to write there."""
    assert is_of_service(groups, "docker.service") is believed
