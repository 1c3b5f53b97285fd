#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A device plugin that behaves as NVIDIA's does, for tests of standby.

What it has in common with NVIDIA's: the socket's name (nvidia-<what follows the slash>.sock), the device
ids (<uuid>, or <uuid>::<n> when shared), registration, a full restart when kubelet.sock is recreated or
on SIGHUP, NVIDIA_VISIBLE_DEVICES in Allocate, and sockets that are unlinked when it stops and left behind
when it is killed. It does not look whether anybody else serves the resource.

    peer_plugin.py --resource nvidia.com/gpu --uuids GPU-a,GPU-b --replicas 4 [--folder DIR]

Lines on standard output tell what happens: `listening`, `registered`, `watched`, `allocated ID...`, `stopped`.
"""
import argparse
import os
import signal
import sys
import threading
from concurrent import futures
from pathlib import Path

import grpc

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'proto'))
pb, services = grpc.protos_and_services('deviceplugin/v1beta1/api.proto')

LOOK_S = 0.05  # how often kubelet.sock is looked at


def say(*words):
    print(' '.join(map(str, words)) + '\n', end='', flush=True)  # in one piece: several threads write


class Plugin(services.DevicePluginServicer):
    """The plugin of one resource, from start to stop."""

    def __init__(self, folder, resource, ids, endpoint=None):
        self.folder, self.resource, self.ids = folder, resource, ids
        self.endpoint = endpoint or f'nvidia-{resource.split("/")[-1]}.sock'
        self.socket = folder / self.endpoint
        self.socket.unlink(missing_ok=True)
        self.server = grpc.server(futures.ThreadPoolExecutor(8))
        services.add_DevicePluginServicer_to_server(self, self.server)
        self.server.add_insecure_port(f'unix:{self.socket}')
        self.server.start()
        say('listening', self.endpoint)

    def register(self):
        with grpc.insecure_channel(f'unix:{self.folder}/kubelet.sock') as channel:
            services.RegistrationStub(channel).Register(pb.RegisterRequest(
                version='v1beta1', endpoint=self.endpoint, resource_name=self.resource,
                options=self.options()), timeout=5)
        say('registered', self.resource)

    def stop(self):
        """As grpc-go's Stop does it for NVIDIA's: streams end and the socket goes at about the same time."""
        self.server.stop(0).wait()
        self.socket.unlink(missing_ok=True)
        say('stopped', self.resource)

    @staticmethod
    def options():
        return pb.DevicePluginOptions(get_preferred_allocation_available=True)

    # --- what the kubelet calls ---

    def GetDevicePluginOptions(self, request, context):
        return self.options()

    def ListAndWatch(self, request, context):
        say('watched', self.resource)
        yield pb.ListAndWatchResponse(devices=[pb.Device(ID=one, health='Healthy') for one in self.ids])
        gone = threading.Event()
        context.add_callback(gone.set)
        gone.wait()
        say('unwatched', self.resource)

    def GetPreferredAllocation(self, request, context):
        return pb.PreferredAllocationResponse(container_responses=[
            pb.ContainerPreferredAllocationResponse(deviceIDs=[
                *one.must_include_deviceIDs,
                *(set(one.available_deviceIDs) - set(one.must_include_deviceIDs))][:one.allocation_size])
            for one in request.container_requests])

    def Allocate(self, request, context):
        answer = pb.AllocateResponse()
        for one in request.container_requests:
            unknown = [each for each in one.devices_ids if each not in self.ids]
            if unknown:
                context.abort(grpc.StatusCode.UNKNOWN, f'invalid allocation request: unknown device: {unknown[0]}')
            say('allocated', *one.devices_ids)
            uuids = sorted({each.split('::')[0] for each in one.devices_ids})
            answer.container_responses.add(envs={'NVIDIA_VISIBLE_DEVICES': ','.join(uuids)})
        return answer

    def PreStartContainer(self, request, context):
        return pb.PreStartContainerResponse()


def identity(path):
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns


def serve(options, ids):
    """Until SIGTERM; a plugin for each life of the kubelet."""
    wanted = {'restart': True, 'end': False}
    signal.signal(signal.SIGHUP, lambda *_: wanted.update(restart=True))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: wanted.update(end=True))
    seen, plugin, pause = None, None, threading.Event()
    while not wanted['end']:
        now = identity(options.folder / 'kubelet.sock')
        if now and (now != seen or wanted['restart']):
            seen, wanted['restart'] = now, False
            if plugin:
                plugin.stop()
            plugin = Plugin(options.folder, options.resource, ids, options.endpoint)
            try:
                plugin.register()
            except grpc.RpcError as error:  # NVIDIA's tries everything again after 30 s
                say('failed', error.code().name)
                seen = None
        pause.wait(LOOK_S)
    if plugin:
        plugin.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--resource', default='nvidia.com/gpu')
    parser.add_argument('--ids', help='device ids, joined by commas')
    parser.add_argument('--uuids', help='GPUs, joined by commas; their ids are made with --replicas')
    parser.add_argument('--replicas', type=int, default=1)
    parser.add_argument('--folder', type=Path, default=Path('/var/lib/kubelet/device-plugins'))
    parser.add_argument('--endpoint', help="a socket's name, for a plugin that nobody takes for NVIDIA's")
    options = parser.parse_args()
    if bool(options.ids) == bool(options.uuids):
        parser.error('give either --ids or --uuids')
    ids = options.ids.split(',') if options.ids else options.uuids.split(',')
    if options.uuids and options.replicas > 1:
        ids = [f'{uuid}::{n}' for uuid in ids for n in range(options.replicas)]
    serve(options, ids)


if __name__ == '__main__':
    main()
