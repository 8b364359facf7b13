"""Images for tests, made from nothing but Debian's busybox-static.

Layers are lists of entries: (path, text), (path, None) for a directory, (path, ("->", target))
for a symbolic link; behind it may stand a mode, and an owner.
"""

import gzip
import hashlib
import io
import json
import pathlib
import platform
import shutil
import tarfile

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
APPLETS = ("sh", "nc", "cat", "id", "ls", "echo", "stat", "touch", "rm", "hostname", "sleep", "mount")


def busybox():
    """Its path, or None: one that needs no libraries."""
    found = shutil.which("busybox")
    if found is None or b"ld-linux" in pathlib.Path(found).read_bytes()[:4096]:
        return None
    return found


def base_layer():
    return [("bin/busybox", pathlib.Path(busybox()).read_bytes(), 0o755),
            *((f"bin/{name}", ("->", "busybox")) for name in APPLETS),
            ("etc/passwd", "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n"),
            ("etc/group", "root:x:0:\napp:x:1000:\ndisk:x:6:app\n"),
            # As images of distributions have it: leads nowhere in here.
            ("etc/resolv.conf", ("->", "../run/systemd/resolve/stub-resolv.conf")),
            ("lower", "of the base\n"), ("gone", "of the base\n")]


def tar_bytes(entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, what, *rest in entries:
            info = tarfile.TarInfo(path)
            info.uid = info.gid = rest[1] if len(rest) > 1 else 0
            data = b""
            if what is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(what, tuple):
                info.type, info.linkname = tarfile.SYMTYPE, what[1]
            else:
                data = what.encode() if isinstance(what, str) else what
                info.size, info.mode = len(data), 0o644
            if rest:
                info.mode = rest[0]
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def config_bytes(config, layers, architecture=ARCHITECTURE):
    return json.dumps({"architecture": architecture, "os": "linux", "config": config,
                       "rootfs": {"type": "layers", "diff_ids": [
                           "sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]}}).encode()


def docker_save(path, tags, config, *layers):
    """An archive as `docker save` writes it."""
    blobs = [tar_bytes(layer) for layer in layers]
    manifest = [{"Config": "config.json", "RepoTags": tags,
                 "Layers": [f"{i}/layer.tar" for i in range(len(blobs))]}]
    pathlib.Path(path).write_bytes(tar_bytes(
        [("config.json", config_bytes(config, blobs)), ("manifest.json", json.dumps(manifest)),
         *((f"{i}/layer.tar", blob) for i, blob in enumerate(blobs))]))


def oci_layout(directory, config, *layers, architecture=ARCHITECTURE):
    """A directory as skopeo writes it, with layers compressed, and an image for another machine."""
    directory = pathlib.Path(directory)
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data, kind):
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "size": len(data),
                "digest": "sha256:" + digest}

    raw = [tar_bytes(layer) for layer in layers]
    manifest = put(json.dumps({
        "schemaVersion": 2, "config": put(config_bytes(config, raw, architecture), "config.v1+json"),
        "layers": [put(gzip.compress(layer), "layer.v1.tar+gzip") for layer in raw]}).encode(),
        "manifest.v1+json")
    other = put(json.dumps({"schemaVersion": 2, "layers": []}).encode(), "manifest.v1+json")
    index = put(json.dumps({"schemaVersion": 2, "manifests": [
        {**manifest, "platform": {"os": "linux", "architecture": architecture}},
        {**other, "platform": {"os": "linux", "architecture": "m68k"}},
        {**other, "platform": {"os": "unknown", "architecture": "unknown"}}]}).encode(),
        "index.v1+json")
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [index]}))
