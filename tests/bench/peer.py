# SPDX-License-Identifier: Apache-2.0
"""The device plugin of tests/bench/go on python grpcio: peer.py SOCKET ID..."""
import os
import sys
from concurrent import futures

import grpc

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../proto'))
pb, services = grpc.protos_and_services('deviceplugin/v1beta1/api.proto')


def uuid(device):
    return device.split('::')[0]


class Plugin(services.DevicePluginServicer):
    def __init__(self, ids):
        self.known, self.total = set(ids), {}
        for device in ids:
            self.total[uuid(device)] = self.total.get(uuid(device), 0) + 1

    def Allocate(self, request, context):
        response = pb.AllocateResponse()
        for one in request.container_requests:
            unknown = [device for device in one.devices_ids if device not in self.known]
            if unknown:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f'no device {unknown[0]}')
            visible = ','.join(dict.fromkeys(map(uuid, one.devices_ids)))
            response.container_responses.add().envs['NVIDIA_VISIBLE_DEVICES'] = visible
        return response

    def GetPreferredAllocation(self, request, context):
        response = pb.PreferredAllocationResponse()
        for one in request.container_requests:
            used, candidates = dict(self.total), list(one.available_deviceIDs)
            for device in candidates:
                used[uuid(device)] -= 1
            picked = list(one.must_include_deviceIDs)
            while len(picked) < one.allocation_size and candidates:
                candidates.sort(key=lambda device: used[uuid(device)])
                used[uuid(candidates[0])] += 1
                picked.append(candidates.pop(0))
            response.container_responses.add().deviceIDs.extend(picked)
        return response


if __name__ == '__main__':
    server = grpc.server(futures.ThreadPoolExecutor(4))
    services.add_DevicePluginServicer_to_server(Plugin(sys.argv[2:]), server)
    server.add_insecure_port(f'unix:{sys.argv[1]}')
    server.start()
    print('ready', flush=True)
    server.wait_for_termination()
