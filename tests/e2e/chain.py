# SPDX-License-Identifier: Apache-2.0
"""Karpenter, and machines that it starts, of which one at a time is real.

Its KWOK provider makes the Node object, as a cloud starts a machine; the second kubelet of this machine plays it. Our agent is a
DaemonSet there, with the simulator's GPUs; gpuslice-controller runs in pods of its own, on the bed's node."""
import contextlib
import json
import time

from agents import CHART, IMAGE, LABEL, SYSTEM, Machine, bed_values, replicas
from api import Follower, Refused
from cluster import GPU, Cluster
from controllers import PROFILES, is_closed
from karpenter import CLAIMS, NODE_CLASS, OVERLAYS, POOL, POOLS, TYPE, Karpenter, condition, create_policy

CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
P3, ADVERTISES, CONFIG = 'p3.8xlarge', 'gpuslice.dev/advertises', 'nvidia.com/device-plugin.config'
AGENT = {LABEL: 'agent'}          # of nodes that are to have one
CONFIGS = {'default': 'version: v1\n', 'halves': replicas(2)}  # the first: whole GPUs
TOLERATES = [{'key': GPU, 'operator': 'Exists'}]  # the profile's taint
NODE_LIMIT_S = 8  # what a node has until one that is short for no lasting reason is reported


def policy(resource, operation, condition_, mutation):
    """What the API server makes of that part of capacity and allocatable."""
    group, _, name = resource.rpartition('.')
    return {'matchConstraints': {'resourceRules': [
                {'apiGroups': [group], 'apiVersions': ['v1'], 'operations': [operation], 'resources': [name]}]},
            'matchConditions': [{'name': 'of-karpenter', 'expression': condition_}],
            'mutations': [{'patchType': 'JSONPatch', 'jsonPatch': {'expression': mutation.replace('PART', part)}} for part in ('capacity', 'allocatable')],
            'failurePolicy': 'Fail', 'reinvocationPolicy': 'Never'}


# What KWOK's provider does otherwise than a cloud's. There a NodeClaim has what the overlay says (test_aws.py), and a Node begins without
# the GPUs that a device plugin advertises later.
POLICIES = {
    'overlays-count': policy(
        'karpenter.sh.nodeclaims/status', 'UPDATE', "'gpuslice.dev/profile' in object.metadata.?labels.orValue({}) && has(object.status.allocatable)",
        f"[JSONPatch{{op: 'add', path: '/status/PART/' + jsonpatch.escapeKey('{GPU}'), value: '16'}}]"),
    'born-without-gpus': policy(
        '.nodes', 'CREATE', "object.spec.?providerID.orValue('').startsWith('kwok://')",
        "object.status.PART.filter(name, name.startsWith('nvidia.com/'))"
        ".map(name, JSONPatch{op: 'remove', path: '/status/PART/' + jsonpatch.escapeKey(name)})")}


def is_true(thing, kind):
    return (condition(thing, kind) or [''])[0] == 'True'


# What happens, in the order of most runs; each may look at what happened before.
NODE_STEPS = {
    'its Node is there': lambda node, _: True,
    'closed': lambda node, _: is_closed(node),
    'the kubelet is Ready': lambda node, _: is_true(node, 'Ready'),
    'the agent offers': lambda node, _: ADVERTISES in node['metadata'].get('annotations', {}),
    'advertised': lambda node, _: node['status'].get('allocatable', {}).get(GPU) == '16',
    'opened': lambda node, before: 'closed' in before and not is_closed(node)}
CLAIM_STEPS = {
    'launched': lambda claim, _: is_true(claim, 'Launched'),
    'Initialized': lambda claim, _: is_true(claim, 'Initialized')}


class Milestones:
    """When each step of a pool's first node happened, in seconds from now on."""

    def __init__(self, api, pool):
        self.at, self.started = {}, time.monotonic()
        self.followers = [Follower(api, f'{path}?labelSelector={POOL}={pool}', self.looker(steps))
                          for path, steps in (('/api/v1/nodes', NODE_STEPS), (CLAIMS, CLAIM_STEPS))]

    def looker(self, steps):
        def look(_, thing):
            for step, is_reached in steps.items():
                if step not in self.at and is_reached(thing, self.at):
                    self.at[step] = self.now()
        return look

    def now(self):
        return time.monotonic() - self.started

    def end(self, title):
        for one in self.followers:
            one.end()
        print(f'TIME {title}: ' + ', '.join(f'{step} {at:.2f} s' for step, at in sorted(self.at.items(), key=lambda pair: pair[1])), flush=True)


class Chain(Karpenter):
    """Karpenter beside the bed's node, and the machines that it starts: one of them at a time is real."""

    def __init__(self, bed):
        super().__init__(bed)
        self.bed, self.second, self.machine, self.installed = bed, bed.second, Machine(bed.shared / 'chain'), None

    def up(self):
        self.program.end()
        self.program.log.unlink(missing_ok=True)
        self.bed.import_images(IMAGE)
        self.create_kinds()
        self.prepare()
        for name, spec in POLICIES.items():
            create_policy(self.api, name, spec)
        trial = self.node('trial', {}, {'cpu': '1', GPU: '4'})
        trial['spec']['providerID'] = 'kwok://trial'
        self.await_('the policies', lambda: GPU not in self.api.call('/api/v1/nodes?dryRun=All', 'POST', trial)['status']['allocatable'])
        self.start()
        self.follower = Follower(self.api, CLAIMS, self.see_claim, 10)
        return self

    def down(self):
        """The cluster is as before. Nobody waits for Karpenter, which takes its time to drain nodes that are gone."""
        if self.installed is not None:
            self.cluster.helm('uninstall', 'chain', '--namespace', SYSTEM, '--no-hooks')
        super().down()
        self.forget(CLAIMS, '')
        self.forget('/api/v1/nodes', f'labelSelector={POOL}')
        for name in POLICIES:
            for kind in 'ies', 'ybindings':
                self.delete(f'/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolic{kind}/{name}')
        for name in self.kinds():
            self.delete(f'{CRDS}/{name}')
        self.await_('no CRD', lambda: not self.kinds())

    def kinds(self):
        names = [one['metadata']['name'] for one in self.api.call(CRDS)['items']]
        return [one for one in names if one.endswith(('.karpenter.sh', 'karpenter.kwok.sh', '.gpuslice.dev'))]

    def delete(self, path):
        try:
            self.api.call(path, 'DELETE')
        except Refused as refused:
            if refused.status != 404:
                raise

    # --- the chart ---

    def install(self, controller):
        """With the controller, or only with the agents and the kind."""
        if self.installed is controller:
            return
        values = self.bed.folder / 'chain.json'
        values.write_text(json.dumps({
            **bed_values(self.machine, {**AGENT, TYPE: P3}), 'config': {'map': CONFIGS}, 'sliceProfiles': {'enabled': True},
            'arbiter': {'enabled': False},  # the way from a profile to a slice is the subject
            'controller': {'enabled': controller, 'profiles': controller, 'nodeLimitSeconds': NODE_LIMIT_S}}))
        self.cluster.helm('upgrade', '-i', 'chain', CHART, '--namespace', SYSTEM, '-f', values)
        self.plane.await_kinds()
        self.installed = controller

    def logs(self, folder):
        """Of the release's pods on one node."""
        return '\n'.join(f'--- {path.parent.parent.name} {path.parent.name}:\n{path.read_text(errors="replace")[-6000:]}'
                         for path in sorted((folder / 'pod-logs').glob(f'{SYSTEM}_chain-*/*/*.log')))

    # --- what is made ---

    def create_profile(self, labels=AGENT):
        """Four slices of each GPU of a p3.8xlarge; the profile's path, and its name and the pool's."""
        name = self.new_name('chain')
        self.api.call(PROFILES, 'POST', {'apiVersion': 'gpuslice.dev/v1alpha1', 'kind': 'SliceProfile', 'metadata': {'name': name}, 'spec': {
            'instanceTypes': [P3], 'timeSlicing': {'replicas': 4}, 'nodePool': 'create', 'nodeClass': NODE_CLASS, 'labels': labels,
            'consolidateAfter': 'Never'}})
        return f'{PROFILES}/{name}', name

    def create_ready_profile(self, labels=AGENT):
        path, name = self.create_profile(labels)
        self.await_condition(path, 'Ready')
        return path, name

    def deploy_slices(self, pool, n_pods):
        self.deploy(pool, n_pods, [{GPU: 1}], tolerations=TOLERATES)

    def boot(self, pool):
        """The pool's first machine comes up: the node, as a cluster's user sees it."""
        node = self.await_(f'a Node of {pool}', lambda: self.nodes(pool))[0]
        self.second.become(node['metadata']['name'], node['spec']['providerID'])
        return Cluster(self.second)

    def nodes(self, pool):
        return self.api.call(f'/api/v1/nodes?labelSelector={POOL}={pool}')['items']

    def clear(self):
        """Everything of a test ends, and its machine. Its Node goes by and by: the next test has others."""
        self.delete(PROFILES)
        self.discard()
        self.await_('no pods', self.has_discarded)
        self.second.down()
        for path in POOLS, OVERLAYS, CLAIMS:
            self.delete(path)
        for node in self.api.call(f'/api/v1/nodes?labelSelector={POOL}')['items']:  # nobody is there to end a pod
            name = node['metadata']['name']
            self.delete(f'/api/v1/namespaces/{SYSTEM}/pods?fieldSelector=spec.nodeName={name}&gracePeriodSeconds=0')

    def forget(self, path, which):
        """These objects go, and no finalizer keeps them."""
        self.delete(f'{path}?{which}')
        for one in self.api.call(f'{path}?{which}')['items']:
            with contextlib.suppress(Refused):  # it has just gone
                self.api.call(f"{path}/{one['metadata']['name']}", 'PATCH', {'metadata': {'finalizers': None}})

    # --- what comes of it ---

    def reported(self, profile, pool, reason):
        """{where it is reported: the sentence}"""
        names = {one['metadata']['name'] for one in (*self.nodes(pool), *self.claims(pool))}
        events = self.api.call(f'/api/v1/events?fieldSelector=reason={reason}')['items']
        found = {one['involvedObject']['kind']: one['message'] for one in events if one['involvedObject']['name'] in names}
        seen = condition(self.api.call(profile), 'NodesAsPromised')
        return {**found, **({'SliceProfile': seen[2]} if seen and seen[:2] == ('False', reason) else {})}
