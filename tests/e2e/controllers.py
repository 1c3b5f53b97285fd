# SPDX-License-Identifier: Apache-2.0
"""gpuslice-controller beside a Karpenter: its replicas, and the SliceProfiles that they keep."""
import contextlib
import signal
import subprocess

import pki
import programs
from cluster import GPU
from karpenter import BUILD, NODE_CLASS, OVERLAYS, POOLS, condition, registers

PROFILES = '/apis/gpuslice.dev/v1alpha1/sliceprofiles'
CRD = programs.ROOT / 'deploy/helm/gpuslice/sliceprofiles.yaml'
SHARED, STARTUP = 'nvidia.com/gpu.shared', 'gpuslice.dev/not-ready'
PROFILE, HASH = 'gpuslice.dev/profile', 'gpuslice.dev/profile-hash'
RENAMED = {'timeSlicing': {'replicas': 4, 'renameByDefault': True}}
WHOLE = {'p3.8xlarge': {GPU: 0, SHARED: 16}}
MAPS, SLICED = '/api/v1/namespaces/default/configmaps', {'gpuslice.dev/slice-profile': 'true'}
NAMESPACE, LEASE = 'default', 'gpuslice-controller'
LEASE_S = 6  # beside a burst the API server may not answer within a second, and who leads is to go on leading


class Controller:
    """Two replicas, of which one leads, and the profiles of a Karpenter."""

    def __init__(self, karpenter):
        self.karpenter, self.api, self.folder = karpenter, karpenter.api, karpenter.plane.folder
        self.log, self.replicas = self.folder / 'controller.log', []
        self.config = self.folder / 'controller.kubeconfig'
        self.log.unlink(missing_ok=True)
        pki.kubeconfig(self.config, karpenter.plane.address, karpenter.plane.pki / 'ca.crt', 'admin-token')

    def run(self, identity, mode='keep'):
        with open(self.log, 'a') as out:
            return subprocess.Popen(
                [BUILD / 'src/gpuslice-controller', f'--kubeconfig={self.config}', f'--namespace={NAMESPACE}', f'--lease={LEASE}',
                 f'--identity={identity}', f'--lease-duration={LEASE_S}', f'--profiles={mode}'], stderr=out)

    def start(self):
        """Nothing, while they run."""
        if not any(one.poll() is None for one in self.replicas):
            self.replicas = [self.run('a'), self.run('b')]

    def end(self, number=signal.SIGTERM):
        for one in self.replicas:
            one.send_signal(number)
        for one in self.replicas:
            one.wait(30)
        self.replicas = []

    def kill(self):
        """Both at once: nobody gives the Lease up."""
        self.end(signal.SIGKILL)

    # --- profiles ---

    def create(self, name, types, how, **more):
        self.api.call(PROFILES, 'POST', {'apiVersion': 'gpuslice.dev/v1alpha1', 'kind': 'SliceProfile', 'metadata': {'name': name}, 'spec': {
            'instanceTypes': list(types), **how, 'taints': [], 'consolidateAfter': 'Never', 'nodeClass': NODE_CLASS, **more}})
        return f'{PROFILES}/{name}'

    def create_map(self, name, data, types):
        """What the guide's reader does to a ConfigMap; the path of the SliceProfile that each key is to be."""
        self.api.call(MAPS, 'POST', {'metadata': {'name': name, 'labels': SLICED, 'annotations': {
            'gpuslice.dev/instance-types': types, 'gpuslice.dev/node-class': '{kind}.{group}/{name}'.format(**NODE_CLASS),
            'gpuslice.dev/consolidate-after': 'Never'}}, 'data': data})
        return [f'{PROFILES}/{name}-{key}' for key in data]

    def await_reason(self, path, reason):
        """The condition's sentence."""
        def found():
            ready = condition(self.api.call(path), 'Ready')
            return ready and ready[1] == reason and ready[2]
        return self.karpenter.await_(f'{path}: {reason}', found)

    def await_ready(self, path):
        """For the present content of the profile."""
        def found():
            one = self.api.call(path)
            return one.get('status', {}).get('observedGeneration') == one['metadata']['generation'] and condition(one, 'Ready')[:2] == ('True', 'Kept')
        self.karpenter.await_(f'{path}: Kept', found)

    def overlays(self, profile):
        return self.api.call(f'{OVERLAYS}?labelSelector={PROFILE}={profile}')['items']

    def register(self, pool, nodes):
        """What agents make of its nodes. Also a part of the pool that is the administrator's."""
        self.api.call(f'{POOLS}/{pool}', 'PATCH', {'spec': {'template': {'metadata': {'annotations': registers(nodes)}}}})

    def nodes(self, profile):
        return self.api.call(f'/api/v1/nodes?labelSelector={PROFILE}={profile}')['items']

    def events(self, name, reason):
        return [one['message'] for one in self.api.call(f'/api/v1/events?fieldSelector=involvedObject.name={name},reason={reason}')['items']]


@contextlib.contextmanager
def beside(karpenter):
    karpenter.plane.kubectl('apply', '--server-side', '-f', CRD)
    karpenter.plane.await_kinds()
    made = Controller(karpenter)
    made.start()
    try:
        yield made
    finally:
        made.end()
        print('--- controller:\n' + made.log.read_text())


def is_closed(node):
    return any(one['key'] == STARTUP for one in node['spec'].get('taints', []))
