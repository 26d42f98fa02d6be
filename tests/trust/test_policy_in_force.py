"""Which policy is in force, as files come, change and go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.trust.pairs import public

from wherry.engine.errors import Forbidden
from wherry.engine.trust.policies import Policies, policy_files

ACCEPT, REJECT = "insecureAcceptAnything", "reject" + " " * 16


def write(file: Path, kind: str) -> None:
    """A policy of always the same length."""
    file.write_text(json.dumps({"default": [{"type": kind.strip()}]}) + " " * kind.count(" "))


def kind(policies: Policies) -> str:
    policy = policies.current()
    return "none" if policy is None else type(policy.default[0]).__name__


def test_a_persons_own_policy_comes_before_the_machines(tmp_path: Path) -> None:
    own, machines = tmp_path / "own.json", tmp_path / "machines.json"
    policies = Policies([own, machines])
    assert kind(policies) == "none"
    write(machines, ACCEPT)
    assert kind(policies) == "Accept"
    write(own, REJECT)
    assert kind(policies) == "Reject"
    own.unlink()
    assert kind(policies) == "Accept"
    machines.unlink()
    assert kind(policies) == "none"


def test_a_change_counts_at_once_however_small_and_soon(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    policies = Policies([file])
    for _ in range(20):
        write(file, ACCEPT)
        assert kind(policies) == "Accept"
        write(file, REJECT)
        assert kind(policies) == "Reject"


def test_what_one_policy_let_in_stands_until_it_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, key = tmp_path / "policy.json", tmp_path / "key.pub"
    key.write_bytes(public().pem)
    signed = {"type": "sigstoreSigned", "keyPath": str(key)}
    policies = Policies([file])
    assert policies.stands("") and policies.stands("another")  # nobody asks for anything
    file.write_text(json.dumps({"default": [signed]}))
    assert not policies.stands("")
    policy = policies.current()
    assert policy and not policies.stands(policy.fingerprint)  # too young to tell
    monkeypatch.setattr("wherry.engine.trust.policies._SETTLED", 0)
    assert policies.stands(policy.fingerprint)
    assert not policies.stands("") and not policies.stands("another")
    assert not Policies([file]).stands(policy.fingerprint)
    key.write_bytes(public(name="other").pem)
    assert not policies.stands(policy.fingerprint)
    other = policies.current()
    assert other and other.fingerprint != policy.fingerprint
    key.write_bytes(public().pem)
    again = policies.current()
    assert again and again.fingerprint == policy.fingerprint
    file.write_text("{")
    assert not policies.stands(policy.fingerprint)


@pytest.mark.parametrize("how", ["a broken link", "a folder", "a broken file"])
def test_a_policy_that_is_there_and_cannot_be_read_forbids_everything(
    tmp_path: Path, how: str
) -> None:
    own, machines = tmp_path / "own.json", tmp_path / "machines.json"
    write(machines, ACCEPT)
    if how == "a broken link":
        own.symlink_to("nowhere")
    elif how == "a folder":
        own.mkdir()
    else:
        own.write_text("{")
    policies = Policies([own, machines])
    for _ in range(2):
        with pytest.raises(Forbidden, match=r"no image may be used.*own\.json"):
            policies.current()


def test_the_files_are_where_people_keep_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/ann")
    machines = Path("/etc/wherry/policy.json")
    assert policy_files() == [Path("/home/ann/.config/wherry/policy.json"), machines]
    monkeypatch.setenv("XDG_CONFIG_HOME", "/conf")
    assert policy_files() == [Path("/conf/wherry/policy.json"), machines]
