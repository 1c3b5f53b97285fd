# SPDX-License-Identifier: Apache-2.0
"""Writes an OCI archive of one layer from plain files, as `ctr images import` takes it."""
import gzip
import hashlib
import io
import json
import tarfile

FOLDERS = ('bin', 'dev', 'etc', 'proc', 'sys', 'tmp')


def put(archive, path, data=b'', mode=0o644, kind=tarfile.REGTYPE):
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode, entry.type = len(data), mode, kind
    archive.addfile(entry, io.BytesIO(data))


def digest(data):
    return 'sha256:' + hashlib.sha256(data).hexdigest()


def layer_of(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as archive:
        for folder in FOLDERS:
            put(archive, folder, mode=0o755, kind=tarfile.DIRTYPE)
        for path, source in files.items():
            put(archive, path.lstrip('/'), source.read_bytes(), 0o755)
    return buffer.getvalue()


def write(target, name, entrypoint, files):
    """`files` maps a path in the image to a file here."""
    layer = layer_of(files)
    packed = gzip.compress(layer, 1, mtime=0)
    config = json.dumps({
        'architecture': 'amd64', 'os': 'linux', 'config': {'Entrypoint': entrypoint, 'Env': ['PATH=/bin']},
        'rootfs': {'type': 'layers', 'diff_ids': [digest(layer)]}, 'history': [{}]}).encode()
    oci = 'application/vnd.oci.image.'
    manifest = json.dumps({
        'schemaVersion': 2, 'mediaType': oci + 'manifest.v1+json',
        'config': {'mediaType': oci + 'config.v1+json', 'digest': digest(config), 'size': len(config)},
        'layers': [{'mediaType': oci + 'layer.v1.tar+gzip', 'digest': digest(packed), 'size': len(packed)}],
    }).encode()
    index = json.dumps({'schemaVersion': 2, 'manifests': [{
        'mediaType': oci + 'manifest.v1+json', 'digest': digest(manifest), 'size': len(manifest),
        'annotations': {'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name}}]}).encode()
    with tarfile.open(target, 'w') as archive:
        put(archive, 'oci-layout', b'{"imageLayoutVersion":"1.0.0"}')
        put(archive, 'index.json', index)
        for blob in (config, manifest, packed):
            put(archive, 'blobs/sha256/' + digest(blob).split(':')[1], blob)
