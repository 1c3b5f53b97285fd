# SPDX-License-Identifier: Apache-2.0
"""Nodes of a SliceProfile that real Karpenter makes and replaces, each with our real agent: while the profile changes, and while
the controller is away."""
import pytest

from api import Follower
from cluster import GPU
from controllers import HASH, SHARED, STARTUP, is_closed
from karpenter import POOL, POOLS
from machines import Machines

pytestmark = pytest.mark.timeout(600)
TYPE = 'p3.8xlarge'
BORN = {TYPE: {GPU: 0, SHARED: 0}}  # as a kubelet's Node is, before an agent registers
EACH = 9                            # slices of a pod: one for each node, of 16 as of 12


def is_going(node):
    return 'deletionTimestamp' in node['metadata'] or any(one['key'] == 'karpenter.sh/disrupted' for one in node['spec'].get('taints', []))


class Record:
    """Each change of a pool's Nodes, in the order of the watch."""

    def __init__(self, api, pool):
        self.nodes, self.came, self.went, self.closed = {}, [], [], set()
        self.going = [set()]  # which were being disrupted at the same time
        self.on_new = lambda number: None
        self.follower = Follower(api, f'/api/v1/nodes?labelSelector={POOL}={pool}', self.see, 1)

    def see(self, kind, node):
        name = node['metadata']['name']
        if kind == 'DELETED':
            self.nodes.pop(name, None)
            self.went.append(name)
        else:
            is_new = name not in self.nodes
            self.nodes[name] = node
            if is_new:
                self.came.append(name)
                self.on_new(len(self.came))
            if is_closed(node):
                self.closed.add(name)
        going = {name for name, one in self.nodes.items() if is_going(one)}
        if going != self.going[-1]:
            self.going.append(going)


class Roll:
    """A pool of so many nodes with a pod on each, of which one at a time may be disrupted."""

    def __init__(self, kept, name, n_nodes):
        self.kept, self.karpenter, self.api, self.name, self.n_nodes = kept, kept.karpenter, kept.api, name, n_nodes
        self.path = kept.create(name, [TYPE], {'timeSlicing': {'replicas': 4, 'renameByDefault': True}})
        kept.await_ready(self.path)
        kept.register(name, BORN)
        self.api.call(f'{POOLS}/{name}', 'PATCH', {'spec': {'disruption': {'budgets': [{'nodes': '1'}]}}})
        self.machines, self.record = Machines(self.karpenter, name), Record(self.api, name)
        self.karpenter.deploy(name, n_nodes, [{SHARED: EACH}])
        self.karpenter.await_running(name, n_nodes)
        self.old = list(self.record.came)
        self.old_hash = self.hash()
        assert len(self.old) == n_nodes

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.record.follower.end()
        self.machines.__exit__()

    def hash(self):
        return self.api.call(f'{POOLS}/{self.name}')['spec']['template']['metadata']['labels'][HASH]

    def change(self):
        """Three slices of each GPU instead of four."""
        self.api.call(self.path, 'PATCH', {'spec': {'timeSlicing': {'replicas': 3}}})

    def new(self):
        return self.record.came[self.n_nodes:]

    def old_overlays(self):
        return [one['metadata']['name'] for one in self.kept.overlays(self.name) if self.old_hash in one['metadata']['name']]

    def await_rolled(self):
        """Every node is of the new state, and open, and the pods run there."""
        def is_rolled():
            nodes = self.kept.nodes(self.name)
            return len(nodes) == self.n_nodes and not any(
                one['metadata']['labels'][HASH] == self.old_hash or is_closed(one) or is_going(one) for one in nodes)
        self.karpenter.await_('new nodes', is_rolled)
        self.karpenter.await_running(self.name, self.n_nodes)

    def check(self):
        """How it came to that, and that nothing is left of the old state."""
        self.karpenter.await_('no overlay of the old state', lambda: not self.old_overlays())
        self.kept.await_ready(self.path)
        assert self.hash() != self.old_hash and self.kept.overlays(self.name)
        counts = [one['status']['allocatable'] for one in self.kept.nodes(self.name)]
        assert [(one[SHARED], one[GPU]) for one in counts] == [('12', '0')] * self.n_nodes
        assert self.record.went and set(self.record.went) == set(self.old)
        assert max(map(len, self.record.going)) == 1, self.record.going  # the budget
        assert set().union(*self.record.going) == set(self.old)
        assert self.record.closed >= set(self.old) | set(self.new()), f'{STARTUP} held each node back'
        assert self.karpenter.launched(self.name) == {TYPE: 2 * self.n_nodes}


@pytest.mark.soak
def test_a_changed_profile_replaces_nodes_under_their_budget(kept):
    with Roll(kept, 'changed', 4) as roll:
        roll.change()
        roll.await_rolled()
        roll.check()
        assert all(kept.events(name, 'SlicesReady') for name in roll.new())


def test_both_controllers_are_killed_while_nodes_are_replaced(kept):
    """The first new node was opened by one, the second has only its agent; what is then left of the old state goes when they are back."""
    with Roll(kept, 'halfway', 2) as roll:
        roll.record.on_new = lambda number: number == 4 and kept.kill()
        roll.change()
        roll.await_rolled()
        first, second = roll.new()
        assert kept.events(first, 'SlicesReady') and not kept.events(first, 'NodeOpened')
        assert kept.events(second, 'NodeOpened') and not kept.events(second, 'SlicesReady')
        assert not kept.replicas and roll.old_overlays()
        kept.start()
        roll.check()


def test_nodes_open_without_a_controller(kept):
    """One node for 16 pods and one for the 17th, as the NodeOverlays say that were there before."""
    karpenter, name = kept.karpenter, 'alone'
    kept.await_ready(kept.create(name, [TYPE], {'timeSlicing': {'replicas': 4}}))
    kept.register(name, BORN)
    kept.kill()
    with Machines(karpenter, name):
        karpenter.deploy(name, 17, [{GPU: 1}])
        karpenter.await_running(name, 17)
        karpenter.settle()
    assert karpenter.launched(name) == {TYPE: 2}
    for node in kept.nodes(name):
        assert not is_closed(node) and node['status']['allocatable'][GPU] == '16'
        assert kept.events(node['metadata']['name'], 'NodeOpened') and not kept.events(node['metadata']['name'], 'SlicesReady')
