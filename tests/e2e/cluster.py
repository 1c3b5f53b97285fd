# SPDX-License-Identifier: Apache-2.0
"""What a user of the cluster sees and does, and what the node's own records say about it."""
import json
import re
import subprocess
import time
from pathlib import Path

import grpc

import programs
from api import Follower
from bed import BedError, has_ended, wait
from daemons import PATIENCE

GPU = 'nvidia.com/gpu'
DEFAULT = 'default'


def gpus_of(ids):
    """{GPU: how many of these device ids lie on it}"""
    count = {}
    for one in ids:
        count[one.split('::')[0]] = count.get(one.split('::')[0], 0) + 1
    return count


def pod_spec(containers, **more):
    """Containers that wait; each is {resource: count} or a whole container."""
    made = [one if 'name' in one else {'name': f'main-{n}', 'resources': {'limits': one}} for n, one in enumerate(containers)]
    for one in [*made, *more.get('initContainers', ())]:
        one.setdefault('image', programs.PAUSE)
        one.setdefault('imagePullPolicy', 'Never')
    return {'terminationGracePeriodSeconds': 1, 'containers': made, **more}


class Cluster:
    def __init__(self, bed):
        self.bed, self.api = bed, bed.api
        self.node_path = f'/api/v1/nodes/{bed.node_name}'

    def kubectl(self, *arguments, stdin=None):
        return self.bed.kubectl(*arguments, stdin=stdin)

    def helm(self, *arguments):
        done = subprocess.run([programs.ROOT / 'tools/helm', *map(str, arguments), '--kubeconfig', self.bed.kubeconfig],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        return done.stdout

    # --- the node ---

    def node(self, resource=GPU):
        """(capacity, allocatable); None where the node does not have the resource."""
        status = self.api.call(self.node_path)['status']
        return tuple(None if resource not in status[part] else int(status[part][resource])
                     for part in ('capacity', 'allocatable'))

    def label_node(self, name, value):
        """None: without that label."""
        self.api.call(self.node_path, 'PATCH', {'metadata': {'labels': {name: value}}})

    def condition(self, kind):
        """(status, reason); None without."""
        conditions = self.api.call(self.node_path)['status']['conditions']
        return next(((one['status'], one['reason']) for one in conditions if one['type'] == kind), None)

    def said_by_condition(self, kind):
        """Its message; "" without."""
        conditions = self.api.call(self.node_path)['status']['conditions']
        return next((one['message'] for one in conditions if one['type'] == kind), '')

    def wait(self, what, found, timeout=30):
        """Awaits a condition; returns the seconds it took."""
        started = time.monotonic()
        wait(what, found, timeout)
        return time.monotonic() - started

    def wait_allocatable(self, count, resource=GPU, timeout=30):
        try:
            return self.wait('', lambda: (self.node(resource)[1] or 0) == count, timeout)
        except BedError:
            raise BedError(f'{resource}: {self.node(resource)}, not {count}') from None

    def wait_labels(self, wanted):
        """Written in a request of their own, after the condition or before it."""
        self.wait(f'the labels {wanted}', lambda: wanted.items() <= self.api.call(self.node_path)['metadata']['labels'].items())

    def wait_nothing(self):
        """No resource of NVIDIA's name has devices: the kubelet noticed that its plugin went."""
        def is_empty():
            allocatable = self.api.call(self.node_path)['status']['allocatable']
            return all(int(count) == 0 for name, count in allocatable.items() if name.startswith('nvidia.com/'))
        self.wait('a node without slices', is_empty)

    def stays(self, expected, look, seconds=4):
        """For two of the kubelet's status periods: what comes late would show."""
        started = time.monotonic()
        while time.monotonic() < started + seconds:
            seen = look()
            assert seen == expected, f'after {time.monotonic() - started:.2f} s: {seen}'
            time.sleep(0.1)

    def keeps(self, before, seconds=4):
        """The same processes hold the same slices. A kubelet that just started lists devices a moment later than pods."""
        try:
            wait('', lambda: self.state() == before, 10)
        except BedError:
            raise AssertionError(f'was {before}, is {self.state()}') from None
        self.stays(before, self.state, seconds)

    def settles(self, expected, resource=GPU, seconds=3, timeout=20):
        """The node shows this and goes on to; before, the kubelet may have told of a plugin that was away."""
        self.comes_to_stay(expected, lambda: self.node(resource), resource, seconds, timeout)

    @staticmethod
    def comes_to_stay(expected, look, what, seconds=3, timeout=20):
        deadline, since = time.monotonic() + timeout * PATIENCE, None
        while since is None or time.monotonic() < since + seconds:
            seen = look()
            since = (since or time.monotonic()) if seen == expected else None
            assert since or time.monotonic() < deadline, f'{what}: {seen}, not {expected} for good'
            time.sleep(0.05)

    # --- pods ---

    def pods(self, namespace=DEFAULT, phase=None):
        items = self.api.call(f'/api/v1/namespaces/{namespace}/pods')['items']
        return [pod for pod in items if 'deletionTimestamp' not in pod['metadata']
                and (phase is None or pod['status']['phase'] == phase)]

    def wait_running(self, count, namespace=DEFAULT, timeout=60):
        try:
            return self.wait('', lambda: len(self.pods(namespace, 'Running')) == count, timeout)
        except BedError:
            seen = [(pod['metadata']['name'], pod['status']['phase'], pod['status'].get('message'))
                    for pod in self.pods(namespace)]
            raise BedError(f'not {count} pods Running: {seen}') from None

    def wait_count(self, count, namespace=DEFAULT, timeout=60):
        """Also of those that end."""
        path = f'/api/v1/namespaces/{namespace}/pods'
        return self.wait(f'{count} pods', lambda: len(self.api.call(path)['items']) == count, timeout)

    def deploy(self, name, replicas, *containers, **spec):
        """A Deployment; each container is {resource: count}."""
        containers = containers or ({GPU: 1},)
        self.api.call(f'/apis/apps/v1/namespaces/{DEFAULT}/deployments', 'POST', {
            'metadata': {'name': name},
            'spec': {'replicas': replicas, 'selector': {'matchLabels': {'app': name}},
                     'template': {'metadata': {'labels': {'app': name}}, 'spec': pod_spec(containers, **spec)}}})

    def create_pod(self, name, *containers, **spec):
        self.api.call(f'/api/v1/namespaces/{DEFAULT}/pods', 'POST',
                      {'metadata': {'name': name}, 'spec': pod_spec(containers or ({GPU: 1},), **spec)})

    def delete_pod(self, name):
        self.api.call(f'/api/v1/namespaces/{DEFAULT}/pods/{name}', 'DELETE')

    def scale(self, name, count):
        self.api.call(f'/apis/apps/v1/namespaces/{DEFAULT}/deployments/{name}/scale', 'PATCH', {'spec': {'replicas': count}})

    def discard(self, namespace=DEFAULT):
        """All pods are to end."""
        for kind in (f'/apis/apps/v1/namespaces/{namespace}/deployments', f'/api/v1/namespaces/{namespace}/pods'):
            self.api.call(f'{kind}?gracePeriodSeconds=0&propagationPolicy=Background', 'DELETE')

    def clean(self, namespace=DEFAULT):
        self.discard(namespace)
        self.wait_count(0, namespace)

    def events(self, kind, name, namespace=DEFAULT):
        items = self.api.call(f'/api/v1/namespaces/{namespace}/events')['items']
        return [one for one in items if (one['involvedObject']['kind'], one['involvedObject'].get('name')) == (kind, name)]

    # --- what the node's own records say ---

    def containers(self, namespace=DEFAULT):
        """{(pod, container): (pid, environment)} of what runs, from containerd's files and /proc: tests look often, and
        asking it costs a program for each container."""
        found = {}
        for bundle in (self.bed.run / 'state/io.containerd.runtime.v2.task/k8s.io').glob('*'):
            try:
                notes = json.loads((bundle / 'config.json').read_text())['annotations']
                pid = int((bundle / 'init.pid').read_text())
                is_started = not Path(f'/proc/{pid}/comm').read_text().startswith('runc:') and not has_ended(pid)
                environment = Path(f'/proc/{pid}/environ').read_bytes().decode()
            except (OSError, ValueError):  # it comes or goes right now
                continue
            kinds = [notes[f'io.kubernetes.cri.{key}'] for key in ('container-type', 'sandbox-namespace')]
            if is_started and kinds == ['container', namespace]:
                found[notes['io.kubernetes.cri.sandbox-name'], notes['io.kubernetes.cri.container-name']] = (
                    pid, dict(one.split('=', 1) for one in environment.split('\0') if one))
        return found

    def read_logs(self, folder, start='*'):
        """What a container said since that start of it (0 is the first), or each: the kubelet's files in this folder of its logs."""
        return ''.join(path.read_text() for path in sorted((self.bed.folder / 'pod-logs').glob(f'{folder}/{start}.log')))

    def held(self, namespace=DEFAULT):
        """{pod: {container: {resource: device ids}}} from the kubelet's pod-resources service."""
        with grpc.insecure_channel('unix:///var/lib/kubelet/pod-resources/kubelet.sock') as channel:
            answer = channel.unary_unary('/v1.PodResourcesLister/List')(b'', wait_for_ready=True, timeout=20)
        found = {}
        for pod in map(fields, fields(answer).get(1, [])):
            if pod[2][0].decode() != namespace:
                continue
            here = found.setdefault(pod[1][0].decode(), {})
            for container in map(fields, pod.get(3, [])):
                resources = here.setdefault(container[1][0].decode(), {})
                for device in map(fields, container.get(2, [])):
                    resources.setdefault(device[1][0].decode(), []).extend(one.decode() for one in device.get(2, []))
        return found

    def held_ids(self, namespace=DEFAULT):
        return sorted(one for pod in self.held(namespace).values() for container in pod.values()
                      for ids in container.values() for one in ids)

    def state(self):
        """What must stay when a program restarts: the process of each container, and its devices."""
        held = self.held()
        return {(pod, name): (pid, sorted(sum(held.get(pod, {}).get(name, {}).values(), [])))
                for (pod, name), (pid, _) in self.containers().items()}

    def device_nodes(self, pid, folder='', major=195):
        """(NVIDIA's names in that folder of /dev, minor numbers of that major that the cgroup allows), of one container."""
        names = {one.name for one in Path(f'/proc/{pid}/root/dev', folder).iterdir() if one.name.startswith('nvidia')}
        group = re.search(r':devices:(.*)', Path(f'/proc/{pid}/cgroup').read_text())
        if not group:  # cgroup v2 keeps devices in a program of the kernel's
            return names, None
        allowed = Path(f'/sys/fs/cgroup/devices{group[1]}/devices.list').read_text()
        return names, {int(minor) for minor in re.findall(rf'c {major}:(\d+) rw', allowed)}


def fields(data):
    """Protobuf: {field: [bytes or number]}."""
    found, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    while at < len(data):
        key = varint()
        value = varint()
        if key & 7 == 2:
            value, at = data[at:at + value], at + value
        found.setdefault(key >> 3, []).append(value)
    return found


class Timeline:
    """Every (capacity, allocatable) that the node showed since, in order."""

    def __init__(self, cluster, resource=GPU):
        self.resource, self.seen, self.started = resource, [], time.monotonic()
        self.follower = Follower(cluster.api, f'/api/v1/nodes?fieldSelector=metadata.name={cluster.bed.node_name}', self.look)

    def look(self, _, node):
        status = node.get('status', {})
        value = tuple(status.get(part, {}).get(self.resource) for part in ('capacity', 'allocatable'))
        value = tuple(None if one is None else int(one) for one in value)
        if not self.seen or self.seen[-1][1] != value:
            self.seen.append((round(time.monotonic() - self.started, 2), value))

    def end(self, note=''):
        self.follower.end()
        self.print(note)
        return [value for _, value in self.seen]

    def print(self, note):
        print(f'TIMELINE {note} {self.resource}: ' + ', '.join(f'{t} s {c}/{a}' for t, (c, a) in self.seen), flush=True)
