# SPDX-License-Identifier: Apache-2.0
"""A second node on this machine, for a test in which machines come and go.

A kubelet's folder of device plugins has a fixed place, and so have those of our agent: so its containerd and kubelet run in a mount
namespace where other folders are in those places. Their pods are in cgroups of their own, else each kubelet would end the
other's. Network and bridge are the bed's."""
import json

import yaml

import pki
import programs
from daemons import BedError, Program, end_all, processes, quiet, wait
from realnode import CDI, CGROUPS, GRANTS, KUBELET_ROOT, STATE, RealNode

GROUP = 'gpuslice-second'
OWN = {KUBELET_ROOT: 'kubelet', STATE: 'state', GRANTS: 'grants', CDI: 'cdi'}  # place: folder


class SecondNode(RealNode):
    health_port = 10348

    def __init__(self, bed):
        self.bed, self.api, self.node_name = bed, bed.api, ''
        self.folder = bed.folder / 'second'
        self.define_node(self.folder, self.folder / 'run', bed.major)
        places = [word for place, name in OWN.items() for word in (self.folder / name, place)]
        # Nothing that is mounted there is seen by others; and it is shared, as every mount is under systemd.
        self.space = Program(self.folder, 'space', 'sleep', 'infinity', prefix=[
            'unshare', '--mount', '--propagation', 'slave', 'sh', '-ec',
            'mount --make-rshared /; while [ "$1" != -- ]; do mkdir -p "$2"; mount --bind "$1" "$2"; shift 2; done; shift; exec "$@"',
            'sh', *places, '--'])
        self.kubelet = self.define_kubelet(self.folder / 'kubelet.json', self.folder / 'node.kubeconfig')

    def up(self, *images):
        """The machine runs, with containerd and these images. Nobody knows it yet."""
        self.down()
        for name in OWN.values():
            (self.folder / name).mkdir(parents=True)
        (self.folder / 'cni').mkdir()
        for name in 'containerd.toml', 'containerd2.toml':
            (self.folder / name).write_text(self.settings(name))
        (self.folder / 'cni/10-bridge.conflist').write_text((self.bed.folder / 'cni/10-bridge.conflist').read_text())
        self.make_cgroups()
        self.space.start()
        self.await_('its mounts', lambda: self.space.pid, 10)
        self.enter(self.containerd)
        self.start_containerd()
        self.import_images(programs.PAUSE_IMAGE, *images)
        return self

    def enter(self, program):
        program.prefix = ['nsenter', f'--mount=/proc/{self.space.pid}/ns/mnt', '--']

    def become(self, name, provider_id):
        """The kubelet starts, and finds its Node there. It has that node's rights and no others. Not by a certificate or token of its own: names
        of KWOK's nodes are longer than a certificate's may be, and the API server has read its tokens."""
        self.node_name = name
        pki.kubeconfig(self.folder / 'node.kubeconfig', self.bed.address, self.bed.pki / 'ca.crt', 'admin-token',
                       **{'as': f'system:node:{name}', 'as-groups': ['system:nodes']})
        settings = yaml.safe_load(self.settings('kubelet.yaml', bed=self.bed.folder))
        settings.update(port=10350, healthzPort=self.health_port, cgroupRoot=f'/{GROUP}', podLogsDir=str(self.folder / 'pod-logs'),
                        providerID=provider_id)
        (self.folder / 'kubelet.json').write_text(json.dumps(settings))
        self.kubelet = self.define_kubelet(self.folder / 'kubelet.json', self.folder / 'node.kubeconfig')
        self.enter(self.kubelet)
        self.start_kubelet()

    def down(self):
        """As when the machine is taken away. Also what a run that died left of it."""
        self.kubelet.kill()
        end_all(processes(self.kubelet.argv[1]))  # of an earlier name
        self.containerd.kill()
        self.end_containers()
        self.space.kill()
        for group in self.cgroups():
            quiet('find', group, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', ';')
        quiet('rm', '-rf', '--one-file-system', *(self.folder / name for name in (*OWN.values(), 'run', 'cni', 'containerd-root', 'pod-logs')))

    def await_(self, what, found, timeout=60):
        """As wait(), and says which program died meanwhile."""
        try:
            return wait(what, found, timeout)
        except BedError as error:
            died = [one for one in (self.space, self.containerd, self.kubelet) if one.pidfile.exists() and not one.pid]
            raise BedError(f'{error}' + ''.join(f'\n{one.name} has ended:\n{one.tail()}' for one in died)) from error

    def kubectl(self, *arguments, stdin=None):
        return self.bed.kubectl(*arguments, stdin=stdin)

    # --- cgroups, version 1 ---

    @staticmethod
    def cgroups():
        return [group for group in CGROUPS.glob(f'*/{GROUP}') if not group.parent.is_symlink()]

    @staticmethod
    def make_cgroups():
        for hierarchy in CGROUPS.glob('*/cgroup.procs'):
            group = hierarchy.with_name(GROUP)
            group.mkdir(exist_ok=True)
            for name in 'cpuset.cpus', 'cpuset.mems':
                if (group / name).exists():
                    (group / name).write_text((group.parent / name).read_text())
