# SPDX-License-Identifier: Apache-2.0
"""Real Karpenter against a control plane, and what it launches.

Its KWOK provider makes Node objects where another would start machines, and kwok plays their kubelets. That provider ignores
overlays: its Node offers the whole GPUs of its type, or what the first pods asked for. So a policy in the API server stands for
the agents: a Node is born with what an agent would register there, and no second launch can be blamed on one that came late.
"""
import contextlib
import json
import os
import signal
import subprocess
import threading
import urllib.request
from collections import Counter
from pathlib import Path

import yaml

import programs
from api import Follower, Refused
from bed import Program
from cluster import GPU, Cluster

BUILD = Path(os.environ.get('GPUSLICE_BUILD', programs.ROOT / 'build')).resolve()
CATALOG = programs.ROOT / 'share/catalog'
POOLS, CLAIMS, OVERLAYS = '/apis/karpenter.sh/v1/nodepools', '/apis/karpenter.sh/v1/nodeclaims', '/apis/karpenter.sh/v1alpha1/nodeoverlays'
CLASSES = '/apis/karpenter.kwok.sh/v1alpha1/kwoknodeclasses'
POOL, TYPE = 'karpenter.sh/nodepool', 'node.kubernetes.io/instance-type'
NEXT = os.environ.get('KARPENTER') == 'next'  # the newest, which another Go builds
PARTS = ['karpenter', *['karpenter-next'] * NEXT]
NODE_CLASS = {'group': 'karpenter.kwok.sh', 'kind': 'KWOKNodeClass', 'name': 'default'}
CRDS = 'kwok/charts/crds', 'kwok/apis/crds/karpenter.kwok.sh_kwoknodeclasses.yaml'
STAGES = ('node/fast/node-initialize', 'node/heartbeat-with-lease/node-heartbeat-with-lease', 'pod/fast/pod-ready',
          'pod/fast/pod-complete', 'pod/fast/pod-delete')

REGISTERS = 'example.com/registers-'  # and an instance type: an annotation of its Nodes
AGENTS = {
    'matchConstraints': {'resourceRules': [
        {'apiGroups': [''], 'apiVersions': ['v1'], 'operations': ['CREATE'], 'resources': ['nodes']}]},
    'matchConditions': [{'name': 'has-an-agent', 'expression': f'has(object.metadata.annotations) && has(object.metadata.labels) && '
                         f"'{TYPE}' in object.metadata.labels && "
                         f"('{REGISTERS}' + object.metadata.labels['{TYPE}']) in object.metadata.annotations"}],
    'variables': [{'name': 'registered', 'expression':
                   f"object.metadata.annotations['{REGISTERS}' + object.metadata.labels['{TYPE}']].split(',')"}],
    'mutations': [{'patchType': 'JSONPatch', 'jsonPatch': {'expression':
                   "variables.registered.map(one, JSONPatch{op: 'add', value: one.split('=')[1], "
                   f"path: '/status/{part}/' + jsonpatch.escapeKey(one.split('=')[0])}})"}} for part in ('capacity', 'allocatable')],
    'failurePolicy': 'Fail', 'reinvocationPolicy': 'Never'}

TYPES = 'g5.xlarge', 'g5.12xlarge', 'p3.8xlarge', 'p4d.24xlarge'


def instance_types():
    """KWOK's file of them: what the catalog knows of those above."""
    prices = yaml.safe_load((CATALOG / 'prices.yaml').read_text())['hourly']
    families = [yaml.safe_load(file.read_text()) for file in (CATALOG / 'types').glob('*.yaml')]
    return [instance_type(name, family, row, prices[name])
            for family in families for name, row in family['types'].items() if name in TYPES]


def instance_type(name, family, row, price):
    labels = {'topology.kubernetes.io/zone': 'us-east-1a', 'karpenter.k8s.aws/instance-gpu-name': family['gpuName']}
    return {'name': name, 'architecture': 'amd64', 'operatingSystems': ['linux'],
            'resources': {'cpu': str(row['vcpus']), 'memory': row['memory'], 'ephemeral-storage': '100Gi', 'pods': str(row['pods']),
                          GPU: str(row['gpus'])},
            'offerings': [{'Price': price, 'Available': True, 'Requirements': [
                requirement(*pair) for pair in {**labels, 'karpenter.sh/capacity-type': kind}.items()]} for kind in ('on-demand', 'spot')]}


def render(folder, *objects, startup_taint=False):
    """What `gpuslice render karpenter` makes of SliceProfiles: objects by their kinds."""
    path = folder / 'profiles.yaml'
    path.write_text(yaml.safe_dump_all(objects))
    return by_kind(gpuslice('render', 'karpenter', *[] if startup_taint else ['--no-startup-taint'], path))


def gpuslice(*words):
    done = subprocess.run([BUILD / 'src/gpuslice', *words], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr  # warnings are none of ours
    return done.stdout


def by_kind(text):
    found = {}
    for one in yaml.safe_load_all(text):
        found.setdefault(one['kind'], []).append(one)
    return found


def requirement(key, *values):
    return {'key': key, 'operator': 'In', 'values': list(values)}


def registers(nodes):
    """Annotations of Nodes, by which they are born with what agents register there."""
    return {REGISTERS + kind: ','.join(f'{resource}={count}' for resource, count in capacity.items()) for kind, capacity in nodes.items()}


def condition(thing, kind):
    """(status, reason, message); None without."""
    return next(((one['status'], one['reason'], one['message']) for one in thing.get('status', {}).get('conditions', ())
                 if one['type'] == kind), None)


def module_folder(name, below):
    return Path(subprocess.check_output([programs.ROOT / 'tools/go', 'list', '-m', '-f', '{{.Dir}}', name],
                                        cwd=programs.HERE / below, text=True, stdin=subprocess.DEVNULL).strip())


def create_policy(api, name, spec):
    """A MutatingAdmissionPolicy, bound."""
    group = '/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolic'
    for kind, one in {'ies': spec, 'ybindings': {'policyName': name}}.items():
        api.call(f'{group}{kind}', 'POST', {'metadata': {'name': name}, 'spec': one})


class Karpenter:
    """On a control plane with controllers and scheduler, on the two ports after its own."""
    file = programs.BIN / ('next/karpenter' if NEXT else 'karpenter')
    crds = 'sigs.k8s.io/karpenter', 'go/karpenter' if NEXT else 'go', CRDS  # module, the folder that pins it, files

    def __init__(self, plane):
        self.plane, self.api, self.cluster, folder = plane, plane.api, Cluster(plane), plane.folder
        self.api.patience = 120  # a thousand pods are deleted in one call
        self.patience = 200
        self.health = plane.ports()[-1] + 2
        self.kwok = Program(folder, 'kwok', programs.BIN / 'kwok', f'--kubeconfig={plane.kubeconfig}', f'--config={folder}/stages.yaml',
                            '--manage-all-nodes=false', '--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake',
                            '--node-lease-duration-seconds=40', '--cidr=10.0.0.0/24', '--node-ip=127.0.0.1')
        self.program = Program(folder, 'karpenter', self.file, variables={
            'KUBECONFIG': str(plane.kubeconfig), 'DISABLE_LEADER_ELECTION': 'true', 'SYSTEM_NAMESPACE': 'kube-system',
            'KARPENTER_SERVICE': 'karpenter', 'INSTANCE_TYPES_FILE_PATH': str(folder / 'types.json'),
            'METRICS_PORT': str(self.health - 1), 'HEALTH_PROBE_PORT': str(self.health),
            'DISABLE_CLUSTER_STATE_OBSERVABILITY': 'true'})
        self.lock, self.launched_claims, self.number = threading.Lock(), {}, 0
        self.n_read, self.rejections = 0, {}  # of Karpenter's log
        self.follower = None

    def up(self):
        for one in self.kwok, self.program:
            one.end()
            one.log.unlink(missing_ok=True)
        self.plane.programs[:0] = [self.program, self.kwok]
        self.create_kinds()
        kwok = module_folder('sigs.k8s.io/kwok', 'go')
        stages = [(kwok / f'kustomize/stage/{name}.yaml').read_text() for name in STAGES]
        (self.plane.folder / 'stages.yaml').write_text('\n---\n'.join(stages))
        self.prepare()
        self.kwok.start()
        self.start()
        self.follower = Follower(self.api, CLAIMS, self.see_claim, 10)
        self.create_agents()
        return self

    def create_kinds(self):
        module = module_folder(*self.crds[:2])
        self.plane.kubectl('apply', '--server-side', *(word for path in self.crds[2] for word in ('-f', module / path)))
        self.plane.await_kinds()

    def prepare(self):
        """What there is to be had."""
        (self.plane.folder / 'types.json').write_text(json.dumps(instance_types()))
        self.api.call(CLASSES, 'POST', {'apiVersion': 'karpenter.kwok.sh/v1alpha1', 'kind': 'KWOKNodeClass', 'metadata': {'name': 'default'}})

    def start(self, overlays=True):
        """With or without the feature gate of NodeOverlay."""
        self.program.end()
        self.program.variables['FEATURE_GATES'] = f'NodeOverlay={str(overlays).lower()}'
        self.program.start()
        self.await_('Karpenter', self.is_ready)

    def await_(self, what, found):
        """For long: on a busy machine a burst takes a minute."""
        return self.plane.await_(what, found, self.patience)

    def is_ready(self):
        with contextlib.suppress(OSError), urllib.request.urlopen(f'http://127.0.0.1:{self.health}/readyz', timeout=5) as answer:
            return answer.status == 200

    @contextlib.contextmanager
    def paused(self):
        """It sees at once what happened meanwhile."""
        self.program.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.program.signal(signal.SIGCONT)

    def down(self):
        if self.follower:
            self.follower.ended.set()
        self.program.end()
        self.kwok.end()

    # --- what an administrator makes ---

    def new_name(self, word):
        """Of this test alone: what others left may still be going."""
        self.number += 1
        return f'{word}-{self.number}'

    def create_pool(self, nodes):
        """A NodePool that knows nothing of slices, ready; its name. `nodes`: {instance type: what agents register there}."""
        name = self.new_name('pool')
        self.apply_pool({'apiVersion': 'karpenter.sh/v1', 'kind': 'NodePool', 'metadata': {'name': name}, 'spec': {
            'template': {'metadata': {}, 'spec': {
                'nodeClassRef': NODE_CLASS, 'expireAfter': 'Never',
                'requirements': [requirement(TYPE, *nodes), requirement('karpenter.sh/capacity-type', 'on-demand')]}},
            'disruption': {'consolidationPolicy': 'WhenEmpty', 'consolidateAfter': 'Never'}}}, nodes)
        return name

    def apply_pool(self, pool, nodes):
        """A NodePool as it is, but for the class of its nodes."""
        template = pool['spec']['template']
        template['spec']['nodeClassRef'] = NODE_CLASS
        template['metadata']['annotations'] = registers(nodes)
        self.api.call(POOLS, 'POST', pool)
        self.await_condition(f"{POOLS}/{pool['metadata']['name']}", 'Ready')

    def create_profile(self, how, nodes, startup_taint=False, strangers=()):
        """The objects of a SliceProfile, as `gpuslice render karpenter` prints them; the pool's name and the overlays' paths. strangers: overlays
        of the pool that are there before, (instance type, capacity, weight) each."""
        name = self.new_name('pool')
        made = render(self.plane.folder, {
            'apiVersion': 'gpuslice.dev/v1alpha1', 'kind': 'SliceProfile', 'metadata': {'name': name}, 'spec': {
                'instanceTypes': list(nodes), 'taints': [], 'consolidateAfter': 'Never', 'nodeClass': NODE_CLASS, **how}},
            startup_taint=startup_taint)
        pool, = made['NodePool']
        self.apply_pool(pool, nodes)
        for stranger in strangers:
            self.await_condition(self.create_overlay(name, *stranger), 'Ready')
        return name, self.apply_overlays(made)

    def create_placeholders(self, how, nodes, slices):
        """The same without overlays, as `gpuslice render placeholders` prints them; the pool's name and the Deployments'."""
        name, path = self.new_name('pool'), self.plane.folder / 'profiles.yaml'
        path.write_text(yaml.safe_dump({
            'apiVersion': 'gpuslice.dev/v1alpha1', 'kind': 'SliceProfile', 'metadata': {'name': name}, 'spec': {
                'instanceTypes': list(nodes), **how, 'taints': [], 'consolidateAfter': 'Never', 'nodeClass': NODE_CLASS}}))
        made = by_kind(gpuslice('render', 'placeholders', '--slices', str(slices), '--no-startup-taint', path))
        pool, = made['NodePool']
        self.apply_pool(pool, nodes)
        self.api.call('/apis/scheduling.k8s.io/v1/priorityclasses', 'POST', made['PriorityClass'][0])
        return name, [self.api.call('/apis/apps/v1/namespaces/default/deployments', 'POST', one)['metadata']['name'] for one in made['Deployment']]

    def apply_overlays(self, made):
        """Not awaited; their paths."""
        return [f"{OVERLAYS}/{self.api.call(OVERLAYS, 'POST', one)['metadata']['name']}" for one in made['NodeOverlay']]

    def create_overlay(self, pool, instance_type, capacity, weight=None, name=None):
        """Not awaited; its path."""
        name = name or self.new_name('overlay')
        self.api.call(OVERLAYS, 'POST', {
            'apiVersion': 'karpenter.sh/v1alpha1', 'kind': 'NodeOverlay', 'metadata': {'name': name}, 'spec': {
                'requirements': [requirement(POOL, pool), requirement(TYPE, instance_type)],
                'capacity': {resource: str(count) for resource, count in capacity.items()},
                **({} if weight is None else {'weight': weight})}})
        return f'{OVERLAYS}/{name}'

    def await_condition(self, path, kind, wanted='True'):
        """What it says besides: (reason, message)."""
        def found():
            seen = condition(self.api.call(path), kind)
            return seen and seen[0] == wanted and seen
        return self.await_(f'{path}: {kind}={wanted}', found)[1:]

    def clean(self):
        """The pods are gone; the nodes go by and by, and take no pods of others: those ask for their pool."""
        for path in POOLS, OVERLAYS:
            self.api.call(path, 'DELETE')
        self.discard()
        self.await_('no pods', self.has_discarded)

    def has_discarded(self):
        left = self.api.call('/api/v1/namespaces/default/pods')['items']
        if any('deletionTimestamp' not in one['metadata'] for one in left):
            self.discard()
        return not left

    def discard(self):
        """A call that deletes a thousand of them is broken off after a minute, by an answer or without one."""
        with contextlib.suppress(Refused, OSError):
            self.cluster.discard()

    @staticmethod
    def node(name, labels, capacity, annotations=None, taints=()):
        return {'metadata': {'name': name, 'labels': labels, 'annotations': {'kwok.x-k8s.io/node': 'fake', **(annotations or {})}},
                'spec': {'taints': list(taints)}, 'status': {'capacity': capacity, 'allocatable': capacity}}

    def create_node(self, name, labels, capacity, taints=()):
        """One that Karpenter does not know."""
        self.api.call('/api/v1/nodes', 'POST', self.node(name, labels, capacity, taints=taints))

    # --- agents ---

    def create_agents(self):
        create_policy(self.api, 'agents', AGENTS)
        trial = self.node('trial', {TYPE: 'trial'}, {'cpu': '1'}, {f'{REGISTERS}trial': f'{GPU}=7'})
        self.await_('the agents', lambda: self.api.call('/api/v1/nodes?dryRun=All', 'POST', trial)[
            'status']['allocatable'].get(GPU) == '7')

    def remove_taint(self, pool, key):
        """From every node of the pool, and also one that comes late: Karpenter sets it when it registers the node."""
        def is_gone():
            nodes = self.api.call(f'/api/v1/nodes?labelSelector={POOL}={pool}')['items']
            for node in nodes:
                taints = node['spec'].get('taints', [])
                if any(one['key'] == key for one in taints):
                    with contextlib.suppress(Refused):  # it has changed meanwhile
                        self.api.call(f"/api/v1/nodes/{node['metadata']['name']}", 'PATCH', {
                            'metadata': {'resourceVersion': node['metadata']['resourceVersion']},
                            'spec': {'taints': [one for one in taints if one['key'] != key]}})
                    return False
            return nodes
        self.await_('no taint', is_gone)

    # --- what comes of it ---

    def see_claim(self, _, claim):
        with self.lock:
            self.launched_claims[claim['metadata']['name']] = claim

    def claims(self, pool):
        """All NodeClaims that this pool ever had."""
        with self.lock:
            return [one for one in self.launched_claims.values() if one['metadata']['labels'][POOL] == pool]

    def launched(self, pool):
        """{instance type: nodes}, of all that were ever launched."""
        return dict(Counter(one['metadata']['labels'].get(TYPE) for one in self.claims(pool)))

    def rejection(self, pod):
        """Why Karpenter launches nothing for a pod; None as long as it did not say so. By its log: events come late in a burst."""
        with open(self.program.log, 'rb') as log:
            log.seek(self.n_read)
            for line in log:
                if not line.endswith(b'\n'):  # it is being written
                    break
                self.n_read += len(line)
                said = json.loads(line) if b'could not schedule pod' in line else {}
                if said:
                    self.rejections[said['Pod']['name']] = said['error']
        return self.rejections.get(pod)

    def await_rejection(self, pod):
        return self.await_(f"Karpenter's opinion of {pod}", lambda: self.rejection(pod))

    def settle(self):
        """Karpenter decided about every pod that there was, for it did about one that came last."""
        name = self.new_name('last')
        self.cluster.create_pod(name, {'example.com/nowhere': 1})
        self.await_rejection(name)
        self.cluster.delete_pod(name)
        for claim in self.api.call(CLAIMS)['items']:
            self.see_claim('LISTED', claim)

    def complaints(self, pool, reason):
        """What Karpenter's events of this reason say about the pool's NodeClaims."""
        events = self.api.call(f'/api/v1/events?fieldSelector=involvedObject.kind=NodeClaim,reason={reason}')['items']
        names = {one['metadata']['name'] for one in self.claims(pool)}
        return [one['message'] for one in events if one['involvedObject']['name'] in names]

    # --- pods ---

    def deploy(self, pool, n_pods, containers, name=None, **spec):
        """Pods in one burst; each container is {resource: count}."""
        self.cluster.deploy(name or pool, n_pods, *containers, nodeSelector={POOL: pool}, **spec)

    def pods(self, name):
        return self.api.call(f'/api/v1/namespaces/default/pods?labelSelector=app={name}')['items']

    def await_unschedulable(self, name, count):
        """The scheduler has seen them all; it does not wait for Karpenter."""
        self.await_(f'{count} pods of {name} without a node', lambda: count == sum(
            any(one['type'] == 'PodScheduled' and one['status'] == 'False' for one in pod['status'].get('conditions', ()))
            for pod in self.pods(name)))

    def n_running(self, name):
        status = self.api.call(f'/apis/apps/v1/namespaces/default/deployments/{name}')['status']
        return status.get('readyReplicas', 0)

    def await_running(self, name, count):
        self.await_(f'{count} pods of {name}', lambda: self.n_running(name) == count)
