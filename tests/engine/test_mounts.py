"""What is mounted where: Docker's rules for -v, --mount, --tmpfs and VOLUME."""

from pathlib import Path

import pytest

from wherry.engine import InvalidRequest
from wherry.engine.config import HostConfig, ImageOptions, MountRequest, TmpfsOptions, VolumeOptions
from wherry.engine.containers.image_mounts import image_mount
from wherry.engine.containers.mounts import plan_mounts
from wherry.engine.record import Mounted


def one(host: HostConfig) -> Mounted:
    (mount,) = plan_mounts(host, ())
    return mount


def test_a_path_makes_a_bind_mount_whose_source_is_made() -> None:
    mount = one(HostConfig(binds=["/host/../path:/data/:ro"]))
    assert (mount.type, mount.source, mount.destination) == ("bind", "/path", "/data")
    assert mount.read_only
    assert mount.create_source
    point = mount.point(mount.source)
    assert (point.mode, point.rw, point.propagation) == ("ro", False, "rprivate")


def test_a_name_makes_a_volume() -> None:
    mount = one(HostConfig(binds=["data:/data:nocopy"]))
    assert (mount.type, mount.name, mount.copy) == ("volume", "data", False)


def test_mount_does_not_make_a_missing_source() -> None:
    mount = one(HostConfig(mounts=[MountRequest(type="bind", source="/a", target="/b")]))
    assert not mount.create_source


def test_a_volume_mount_without_a_source_is_anonymous() -> None:
    request = MountRequest(type="volume", target="/b", volume_options=VolumeOptions(no_copy=True))
    mount = one(HostConfig(mounts=[request]))
    assert (mount.type, mount.name, mount.copy) == ("volume", "", False)


def test_tmpfs_has_its_options() -> None:
    request = MountRequest(
        type="tmpfs", target="/tmp", tmpfs_options=TmpfsOptions(size_bytes=4096, mode=0o1777)
    )
    assert {"size=4096", "mode=1777", "nosuid"} < set(one(HostConfig(mounts=[request])).options)
    assert "size=64m" in one(HostConfig(tmpfs={"/run": "rw,size=64m"})).options
    request.tmpfs_options = TmpfsOptions(options=[["exec"], ["uid", "7"]])
    assert one(HostConfig(mounts=[request])).options[-2:] == ["exec", "uid=7"]


def test_an_image_is_mounted_read_only() -> None:
    options = ImageOptions(subpath="a/b")
    request = MountRequest(type="image", source="data:1", target="/b", image_options=options)
    mount = one(HostConfig(mounts=[request]))
    assert (mount.name, mount.read_only, mount.subpath) == ("data:1", True, "a/b")
    point = mount.point("")
    assert (point.type, point.name, point.rw) == ("image", "data:1", False)


@pytest.mark.parametrize(("mounts", "kind"), [(True, "bind"), (False, "overlay")])
def test_a_guest_is_handed_no_folder_of_a_layer_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounts: bool, kind: str
) -> None:
    """Which may have device nodes in it, and no mount that does not honour them."""
    monkeypatch.setattr("wherry.engine.containers.image_mounts.may_make_namespaces", lambda: mounts)
    mount = Mounted(type="image", name="i", destination="/m", layers=[str(tmp_path)])
    assert image_mount(mount, unprivileged=False).type == kind


def test_volumes_of_the_image_give_way_to_what_is_asked() -> None:
    planned = plan_mounts(HostConfig(binds=["name:/data"]), ["/data", "/data/inner"])
    assert [(mount.destination, mount.name) for mount in planned] == [
        ("/data", "name"),
        ("/data/inner", ""),
    ]


@pytest.mark.parametrize(
    ("bind", "reason"),
    [
        ("/a:b", "mount path must be absolute"),
        ("/a:/", "destination can't be '/'"),
        ("/a:/b/..", "destination can't be '/'"),
        ("/a:/b:maybe", "invalid mode: maybe"),
        ("/a:/b:ro,rw", "invalid mode"),
        ("/a:/b:ro:x", "invalid volume specification"),
        (":/b", "invalid volume specification"),
        ("../a:/b", "includes invalid characters for a local volume name"),
        ("name:/b:rshared", "propagation is for bind mounts"),
        ("/a\0:/b", "NUL"),
    ],
)
def test_binds_that_make_no_sense(bind: str, reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        plan_mounts(HostConfig(binds=[bind]), ())
    assert reason in caught.value.message


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (MountRequest(type="bind", target="/b"), "field Source must not be empty"),
        (MountRequest(type="bind", source="a", target="/b"), "mount path must be absolute"),
        (MountRequest(type="tmpfs", source="/a", target="/b"), "field Source must not be"),
        (MountRequest(type="npipe", target="/b"), "mount type unknown: 'npipe'"),
        (
            MountRequest(type="bind", source="/a", target="/b", volume_options=VolumeOptions()),
            "field VolumeOptions must not be specified",
        ),
        (MountRequest(type="image", target="/b"), "field Source must not be empty"),
        (
            MountRequest(
                type="image", source="a", target="/b", image_options=ImageOptions(subpath="a/../..")
            ),
            "it must lie in the image",
        ),
        (
            MountRequest(type="volume", target="/b", volume_options=VolumeOptions(subpath="a")),
            "anonymous volumes",
        ),
        (
            MountRequest(
                type="volume", source="vol", target="/b", volume_options=VolumeOptions(subpath="/a")
            ),
            "it must lie in the volume",
        ),
        (
            MountRequest(
                type="tmpfs", target="/b", tmpfs_options=TmpfsOptions(options=[["lowerdir", "/"]])
            ),
            "invalid option 'lowerdir=/'",
        ),
    ],
)
def test_mounts_that_make_no_sense(request_: MountRequest, reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        plan_mounts(HostConfig(mounts=[request_]), ())
    assert reason in caught.value.message


def test_two_mounts_on_one_place_are_refused() -> None:
    host = HostConfig(binds=["/a:/x"], tmpfs={"/x": ""})
    with pytest.raises(InvalidRequest, match="Duplicate mount point: /x"):
        plan_mounts(host, ())
