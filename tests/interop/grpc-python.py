#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""python grpcio (C-core) acts as the kubelet. See kubelet.py for the arguments."""
import sys
import time

import grpc

from kubelet import Suite, expect, pb, services

DEVICE_PLUGIN = '/v1beta1.DevicePlugin/'
OPTIONS = DEVICE_PLUGIN + 'GetDevicePluginOptions'
MIB = 1 << 20


def channel(kubelet, *options, **named):
    return grpc.insecure_channel('unix:' + kubelet.endpoint, options=[
        ('grpc.use_local_subchannel_pool', 1), *options], **named)


def stub(kubelet):
    return services.DevicePluginStub(channel(kubelet))


def status_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def expect_status(wanted, call):
    got = status_of(call)
    expect(got == wanted, f'wanted {wanted}, got {got}')


def raw(kubelet, path, size=0, **options):
    """A call whose request is one unknown field of `size` bytes: every target skips over it."""
    with channel(kubelet, ('grpc.max_send_message_length', -1)) as c:
        call = c.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)
        call(b'\xfa\x7f' + varint(size) + bytes(size) if size else b'', timeout=20, **options)


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def devices(kubelet, n=1):
    watch = stub(kubelet).ListAndWatch(pb.Empty(), timeout=20)
    ids = [d.ID for d in next(watch).devices if d.health == 'Healthy']
    watch.cancel()
    expect(len(ids) >= n, f'only {len(ids)} devices')
    return ids


def request_of(*ids):
    return pb.AllocateRequest(container_requests=[{'devices_ids': [i]} for i in ids])


def options(kubelet):
    stub(kubelet).GetDevicePluginOptions(pb.Empty(), timeout=5)


def watch(kubelet):
    ids = devices(kubelet)
    expect(len(set(ids)) == len(ids), 'an id comes twice')


def update(kubelet):
    stream = stub(kubelet).ListAndWatch(pb.Empty(), timeout=20)
    first = next(stream)
    kubelet.update(suite.options.update)
    expect(next(stream) != first, 'the same list again')
    kubelet.update(suite.options.update)
    expect(next(stream) == first, 'not the first list again')
    stream.cancel()


def allocate(kubelet):
    ids = devices(kubelet, 2)[:2]
    answer = stub(kubelet).Allocate(request_of(*ids), timeout=5)
    expect(len(answer.container_responses) == 2, answer)
    expect(all(c.envs or c.devices or c.cdi_devices for c in answer.container_responses), answer)


def prefer(kubelet):
    ids = devices(kubelet, 4)
    answer = stub(kubelet).GetPreferredAllocation(pb.PreferredAllocationRequest(
        container_requests=[{'available_deviceIDs': ids[:4], 'allocation_size': 2}]), timeout=5)
    chosen = answer.container_responses[0].deviceIDs
    expect(len(chosen) == 2 and set(chosen) < set(ids[:4]), answer)


def cancel(kubelet):
    one = stub(kubelet)
    streams = [one.ListAndWatch(pb.Empty()) for _ in range(20)]
    for stream in streams:
        next(stream)
    for stream in streams:
        stream.cancel()
        expect(stream.code() == grpc.StatusCode.CANCELLED)
    one.GetDevicePluginOptions(pb.Empty(), timeout=5)


def deadline_stream(kubelet):
    began = time.monotonic()
    expect_status(grpc.StatusCode.DEADLINE_EXCEEDED,
                  lambda: list(stub(kubelet).ListAndWatch(pb.Empty(), timeout=0.5)))
    expect(0.4 < time.monotonic() - began < 5)


def deadline_unary(kubelet):
    began = time.monotonic()
    expect_status(grpc.StatusCode.DEADLINE_EXCEEDED,
                  lambda: stub(kubelet).Allocate(request_of('slow'), timeout=0.3))
    expect(0.2 < time.monotonic() - began < 5)


def in_flight(kubelet):
    one, request = stub(kubelet), request_of(devices(kubelet)[0])
    calls = [one.Allocate.future(request, timeout=60) for _ in range(2000)]
    for call in calls:
        expect(len(call.result().container_responses) == 1)


def many_watches(kubelet):
    one = stub(kubelet)
    streams = [one.ListAndWatch(pb.Empty(), timeout=20) for _ in range(90)]
    lists = [next(stream) for stream in streams]
    for stream in streams:
        stream.cancel()
    expect(all(l == lists[0] for l in lists))


def large(kubelet):
    raw(kubelet, OPTIONS, 3 * MIB)


def too_large(kubelet):
    with channel(kubelet, ('grpc.max_send_message_length', -1)) as c:
        call = c.unary_unary(OPTIONS, request_serializer=bytes, response_deserializer=bytes)
        expect_status(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: call(bytes(5 * MIB), timeout=20))
        call(b'', timeout=5)


def unknown(kubelet):
    expect_status(grpc.StatusCode.UNIMPLEMENTED, lambda: raw(kubelet, DEVICE_PLUGIN + 'Nonsense'))
    expect_status(grpc.StatusCode.UNIMPLEMENTED, lambda: raw(kubelet, '/no.Service/Allocate'))


def compressed(kubelet):
    expect_status(grpc.StatusCode.UNIMPLEMENTED,
                  lambda: raw(kubelet, OPTIONS, 10000, compression=grpc.Compression.Gzip))
    raw(kubelet, OPTIONS)


def path_as_authority(kubelet):
    """Kubelets before 1.26 dial so."""
    with channel(kubelet, ('grpc.default_authority', kubelet.endpoint)) as c:
        services.DevicePluginStub(c).GetDevicePluginOptions(pb.Empty(), timeout=5)


def reconnects(kubelet):
    for _ in range(200):
        with channel(kubelet) as c:
            services.DevicePluginStub(c).GetDevicePluginOptions(pb.Empty(), timeout=5)


def restart(kubelet):
    kubelet.restart()
    options(kubelet)


def stop_with_open_watch(kubelet):
    stream = stub(kubelet).ListAndWatch(pb.Empty(), timeout=20)
    next(stream)
    kubelet.terminate()
    expect_status(grpc.StatusCode.UNAVAILABLE, lambda: list(stream))


CASES = {
    'options': options,
    'watch': watch,
    'update': update,
    'allocate': allocate,
    'prefer': prefer,
    'cancel': cancel,
    'deadline of a stream': deadline_stream,
    'slow': deadline_unary,
    '2000 calls in flight': in_flight,
    '90 watches': many_watches,
    'message of 3 MiB': large,
    'message of 5 MiB': too_large,
    'unknown method': unknown,
    'compressed request': compressed,
    'path as authority': path_as_authority,
    '200 connections': reconnects,
    'restart': restart,
    'stop with an open watch': stop_with_open_watch,
}

suite = Suite('python grpcio')
sys.exit(suite.run(CASES))
