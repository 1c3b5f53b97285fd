# SPDX-License-Identifier: Apache-2.0
"""Karpenter with AWS's own provider, whose AWS is the provider's fakes (go/aws).

What it decides is AWS's: which types a NodePool has and what they hold, what of that overlays change, what a NodeClaim
promises before there is a node, which image and user data a launch has. Machines do not follow from launches: `boot` makes their
Nodes."""
import base64
import json

import yaml

import programs
from karpenter import CATALOG, CLAIMS, POOL, POOLS, TYPE, Karpenter, by_kind, gpuslice, registers

EC2_CLASSES = '/apis/karpenter.k8s.aws/v1/ec2nodeclasses'
CRDS = [f'pkg/apis/crds/karpenter.{name}.yaml' for name in ('sh_nodepools', 'sh_nodeclaims', 'sh_nodeoverlays', 'k8s.aws_ec2nodeclasses')]
TYPES = 'g5.xlarge', 'g5.12xlarge', 'p3.8xlarge', 'p4d.24xlarge', 'p5.48xlarge'
CPU_TYPE = {'name': 'm5.large', 'vcpus': 2, 'memoryMiB': 8192}
CLUSTER = 'mine'


def instance_types():
    """What EC2 would say of them: as the catalog has it."""
    families = [yaml.safe_load(file.read_text()) for file in (CATALOG / 'types').glob('*.yaml')]
    return [{'name': name, 'vcpus': row['vcpus'], 'memoryMiB': int(row['memory'].removesuffix('Gi')) * 1024, 'gpu': family['gpuName'].upper(),
             'gpus': row['gpus']}
            for family in families for name, row in family['types'].items() if name in TYPES]


class AwsKarpenter(Karpenter):
    file = programs.BIN / 'aws/karpenter'
    crds = 'github.com/aws/karpenter-provider-aws', 'go/aws', CRDS

    def __init__(self, plane):
        super().__init__(plane)
        self.launches = plane.folder / 'launches.jsonl'
        self.program.variables.update(LAUNCHES_FILE_PATH=str(self.launches), CLUSTER_NAME=CLUSTER, CLUSTER_ENDPOINT=plane.address,
                                      ISOLATED_VPC='true')  # prices from the provider's table

    def prepare(self):
        (self.plane.folder / 'types.json').write_text(json.dumps([*instance_types(), CPU_TYPE]))

    def create_profile(self, how, nodes, *options, overlays=True, **more):
        """Applies what `gpuslice render karpenter` prints for a SliceProfile, as the guide says; the pool's name.
        `nodes`: {instance type: what agents register there}."""
        name = self.new_name('pool')
        profile = self.plane.folder / 'profile.yaml'
        profile.write_text(yaml.safe_dump({'apiVersion': 'gpuslice.dev/v1alpha1', 'kind': 'SliceProfile', 'metadata': {'name': name},
                                           'spec': {'instanceTypes': list(nodes), **how, **more}}))
        made = by_kind(gpuslice('render', 'karpenter', *options, profile).replace('${CLUSTER_NAME}', CLUSTER))
        (node_class,), (pool,) = made['EC2NodeClass'], made['NodePool']
        self.api.call(EC2_CLASSES, 'POST', node_class)
        self.await_condition(f'{EC2_CLASSES}/{name}', 'Ready')
        pool['spec']['template']['metadata']['annotations'].update(registers(nodes))
        self.api.call(POOLS, 'POST', pool)
        self.await_condition(f'{POOLS}/{name}', 'Ready')
        for path in self.apply_overlays(made) if overlays else ():
            self.await_condition(path, 'Ready')
        return name

    def add_type(self, pool, name):
        """As somebody may do with a pool of theirs."""
        requirements = self.api.call(f'{POOLS}/{pool}')['spec']['template']['spec']['requirements']
        next(one for one in requirements if one['key'] == TYPE)['values'].append(name)
        self.api.call(f'{POOLS}/{pool}', 'PATCH', {'spec': {'template': {'spec': {'requirements': requirements}}}})

    def is_current(self, path):
        """The provider has seen the last change, and is content."""
        found = self.api.call(path)
        return any(one['type'] == 'Ready' and one['status'] == 'True' and one.get('observedGeneration') == found['metadata']['generation']
                   for one in found['status']['conditions'])

    def launched_with(self, pool):
        """[what EC2 was asked for], for each launch of the pool: image, user data, instance types."""
        ids = {one['status']['providerID'].rpartition('/')[2] for one in self.api.call(CLAIMS)['items'] if one['metadata']['labels'].get(POOL) == pool}
        lines = [json.loads(line) for line in self.launches.read_text().splitlines()]
        return [{**config, 'userData': base64.b64decode(config['userData']).decode()}
                for line in lines if ids & set(line['instances']) for config in line['configs']]

    def settle(self):
        """A NodeClaim has its type once it is launched."""
        super().settle()
        self.await_('launches', self.are_launched)

    def are_launched(self):
        claims = self.api.call(CLAIMS)['items']
        for claim in claims:
            self.see_claim('LISTED', claim)
        return all(TYPE in one['metadata']['labels'] for one in claims)

    def boot(self, pool):
        """The machines that were launched for the pool come up: Nodes with what they have but GPUs, and what an agent registers."""
        for claim in self.claims_launched(pool):
            labels, status = claim['metadata']['labels'], claim['status']
            name = status['providerID'].rpartition('/')[2]
            capacity = {resource: count for resource, count in status['capacity'].items() if not resource.startswith('nvidia.com/')}
            made = self.node(name, {TYPE: labels[TYPE], POOL: pool, 'kubernetes.io/hostname': name}, capacity, claim['metadata']['annotations'],
                             [{'key': 'karpenter.sh/unregistered', 'effect': 'NoExecute'}, *claim['spec']['taints'], *claim['spec']['startupTaints']])
            made['spec']['providerID'] = status['providerID']
            self.api.call('/api/v1/nodes', 'POST', made)
            self.await_condition(f"{CLAIMS}/{claim['metadata']['name']}", 'Registered')

    def claims_launched(self, pool):
        def found():
            claims = [one for one in self.api.call(CLAIMS)['items'] if one['metadata']['labels'].get(POOL) == pool]
            return claims and all('providerID' in one.get('status', {}) for one in claims) and claims
        return self.await_(f'machines of {pool}', found)
