# SPDX-License-Identifier: Apache-2.0
"""The agent under test on a simulated p3.8xlarge: as the DaemonSet of our chart, or as a bare process."""
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path

import programs
from bed import STATE, BedError, has_ended, wait

ROOT = programs.ROOT
sys.path.insert(0, str(ROOT / 'tools'))
from environment import clean as clean_environment  # noqa: E402
BUILD = Path(os.environ.get('GPUSLICE_BUILD', ROOT / 'build')).resolve()
IMAGE = BUILD / 'image/gpuslice.tar'
CHART = ROOT / 'deploy/helm/gpuslice'
EXAMPLES = ROOT / 'deploy/examples'
SYSTEM = 'kube-system'
CONFIG = 'nvidia-device-plugin'  # the guide's ConfigMap and its key
KEY = 'any'
LABEL = 'gpuslice-bed'           # the node that has it gets an agent
N_GPUS = 4
CAPS_MAJOR = 508                 # a driver takes any free number
CONTAINERS = ['agent', 'nodesync', 'http']
AS_SHIPPED = 'arbiter.enabled=null'  # a setting: with the arbiter, as people get it


def replicas(count, rename='', flags='', sharing=''):
    return f'''
version: v1
{flags}
sharing:
  timeSlicing:
    {sharing}
    resources:
    - {{name: nvidia.com/gpu, replicas: {count}{rename and ", rename: " + rename}}}
'''


class Machine:
    """The simulated GPUs: a driver root with the driver's library and device nodes, which lies elsewhere for the agent
    than for the host; and the simulator's own files, with the state that can be changed."""

    def __init__(self, folder):
        self.root, self.folder = folder / 'root', folder / 'sim'
        shutil.rmtree(folder, ignore_errors=True)
        (self.folder / 'state').mkdir(parents=True)
        (self.root / 'dev').mkdir(parents=True)
        (self.root / 'usr/lib64').mkdir(parents=True)
        shutil.copy(BUILD / 'sim/nvml/libnvidia-ml.so.1', self.root / 'usr/lib64')
        shutil.copytree(ROOT / 'sim/machines', self.folder / 'machines')
        shutil.copytree(ROOT / 'share/catalog', self.folder / 'catalog')
        for name, minor in [*((f'nvidia{n}', n) for n in range(N_GPUS)), ('nvidiactl', 255)]:
            self.add_node(name, 195, minor)
        self.environment = {'GPUSLICE_MACHINE': 'p3.8xlarge', 'GPUSLICE_MACHINE_PATH': str(self.folder / 'machines'),
                            'GPUSLICE_CATALOG': str(self.folder / 'catalog'),
                            'GPUSLICE_SIM_STATE': str(self.folder / 'state/machine')}

    def add_node(self, name, major, minor):
        os.mknod(self.root / 'dev' / name, stat.S_IFCHR | 0o666, os.makedev(major, minor))

    def become(self, name):
        """Another machine, whose GPUs MIG may partition or not: with all their device nodes, and the kernel's list of
        capabilities."""
        self.environment['GPUSLICE_MACHINE'] = name
        n_gpus = len(json.loads(self.sim('state', '-o', 'json'))['gpus'])
        for n in range(N_GPUS, n_gpus):
            self.add_node(f'nvidia{n}', 195, n)
        self.environment['GPUSLICE_PROC'] = str(self.folder / 'proc')
        self.sim('proc', self.folder / 'proc')
        (self.root / 'dev/nvidia-caps').mkdir()
        for entry, minor in self.capabilities().items():
            if int(re.match(r'gpu(\d+)/', entry)[1]) < n_gpus:
                self.add_node(f'nvidia-caps/nvidia-cap{minor}', CAPS_MAJOR, minor)

    def share(self):
        """Its state, with containers of any user."""
        self.sim('state')  # the file is there
        for name in 'machine', 'machine.clients':
            (self.folder / 'state' / name).touch()
            (self.folder / 'state' / name).chmod(0o666)

    def capabilities(self):
        """{"gpu0/gi7", "gpu0/gi7/ci0" ...: the minor number of its device node}, as the kernel lists them."""
        text = (self.folder / 'proc/driver/nvidia-caps/mig-minors').read_text()
        return {entry: int(minor) for entry, minor in re.findall(r'^(gpu\S+)/access (\d+)$', text, re.M)}

    def mig_devices(self):
        """{UUID: (GPU, GPU instance, compute instance, profile)}"""
        pattern = r'GPU (\d+): GPU instance (\d+) at \S+, compute instance (\d+), (\S+), (MIG-\S+)'
        return {row[4]: (*map(int, row[:3]), row[3]) for row in re.findall(pattern, self.sim('mig', 'list'))}

    def host_root(self):
        """A second name for the driver root, for an agent that shares the host's mounts."""
        other = self.root.with_name('host-root')
        if not other.exists():
            other.symlink_to(self.root)
        return other

    @staticmethod
    def device_name(uuid):
        """The name of its device node; a GPU has the minor number of its index."""
        table = subprocess.run(
            [BUILD / 'src/gpuslice', 'plan', EXAMPLES / 'time-slicing-configmap.yaml', '--machine', 'p3.8xlarge'],
            check=True, text=True, capture_output=True).stdout
        rows = re.findall(r'^ *(\d+) .* (GPU-[0-9a-f]{8}) ', table, re.M)
        [number] = [number for number, short in rows if uuid.startswith(short)]
        return f'nvidia{number}'

    def sim(self, *arguments):
        return subprocess.run([BUILD / 'sim/nvml/gpuslice-sim', *map(str, arguments)], check=True, text=True,
                              env=clean_environment(**self.environment), capture_output=True).stdout


def scrape(address):
    """What Prometheus gets; nothing while nobody serves."""
    try:
        with urllib.request.urlopen(f'http://{address}/metrics', timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return ''


class BareAgent:
    """As a process of the node, without chart, image and pod."""

    def __init__(self, cluster, folder):
        self.cluster, self.folder, self.process, self.since = cluster, folder, None, 0
        self.machine, self.http_address = None, ''
        self.log, self.config = folder / 'agent.log', folder / 'config.yaml'

    def reset(self):
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        self.machine = Machine(self.folder / 'machine')
        self.since, self.http_address = 0, ''

    def configure(self, text):
        """Taken as a ConfigMap volume swaps its files: whole or not at all."""
        new = self.config.with_suffix('.new')
        new.write_text(text)
        new.rename(self.config)

    def start(self, config=None):
        if config:
            self.configure(config)
        self.resume()

    def resume(self):
        self.mark()
        with open(self.log, 'a') as log:
            self.process = subprocess.Popen(
                [BUILD / 'src/gpuslice-node', '--config-file', self.config, '--state-dir', self.folder / 'state',
                 '--grant-dir', self.folder / 'grants',
                 '--driver-root', self.machine.host_root(), '--container-driver-root', self.machine.root,
                 '--http-address', self.http_address], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=clean_environment(**self.machine.environment))

    def serve_metrics(self):
        """From the next start on."""
        with socket.create_server(('127.0.0.1', 0)) as free:
            self.http_address = '127.0.0.1:{}'.format(free.getsockname()[1])

    def metrics(self):
        return scrape(self.http_address)

    def kill(self):
        """At once, and it stays away until resume()."""
        self.process.kill()
        self.process.wait()

    def leave(self):
        """In good order, until come()."""
        self.stop()

    def come(self):
        self.resume()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(10)

    remove = stop

    def upgrade(self):
        """As a DaemonSet's rolling update does it: the old one ends, then the new one starts."""
        self.stop()
        self.resume()

    def sim(self, *arguments):
        return self.machine.sim(*arguments)

    def mark(self):
        self.since = len(self.log.read_text()) if self.log.exists() else 0

    def said(self):
        return self.log.read_text()[self.since:] if self.log.exists() else ''

    def wait_line(self, pattern, timeout=30):
        try:
            wait('', lambda: re.search(pattern, self.said()), timeout)
        except BedError:
            raise BedError(f'the agent never said {pattern!r}:\n{self.said()}') from None

    def pids(self):
        return tree(self.process.pid)

    def failed_pods(self):
        return []

    def is_process(self):
        return True


def tree(root):
    """A process and all below it."""
    parents = {}
    for one in Path('/proc').iterdir():
        if one.name.isdigit():
            try:
                parents.setdefault(int((one / 'stat').read_text().rpartition(')')[2].split()[1]), []).append(int(one.name))
            except OSError:
                pass
    found = [root]
    for pid in found:
        found += parents.get(pid, [])
    return found


def image_reference():
    """Name and tag inside the archive."""
    with tarfile.open(IMAGE) as archive:
        index = json.load(archive.extractfile('index.json'))
    notes = index['manifests'][0]['annotations']
    return notes['io.containerd.image.name'].rsplit(':', 1)


def bed_values(machine, node_selector):
    """Chart values besides the guide's: where the image is, and the simulated machine's parts."""
    repository, tag = image_reference()
    return {
        'image': {'repository': repository, 'tag': tag, 'pullPolicy': 'Never'},
        'nodeSelector': node_selector or {},
        'nvidiaDriverRoot': str(machine.root),
        'extraEnv': [{'name': name, 'value': value} for name, value in machine.environment.items()],
        'extraVolumes': [{'name': 'machine', 'hostPath': {'path': str(machine.folder), 'type': 'Directory'}}],
        'extraVolumeMounts': [{'name': 'machine', 'mountPath': str(machine.folder)}],
    }


class ChartAgent:
    """As people run it: the DaemonSet of our chart, installed by the guide's command. One release serves all tests; each has
    a pod of its own, which comes and goes with a label of the node."""

    def __init__(self, cluster, folder):
        self.cluster, self.folder, self.api = cluster, folder, cluster.api
        self.machine_folder, self.machine = folder / 'machine', None
        self.values, self.marks, self.revision, self.settings = folder / 'values.json', {}, 0, None
        self.pods_path = f'/api/v1/namespaces/{SYSTEM}/pods'

    # --- the release ---

    def install(self, *settings):
        """The guide's command: `helm upgrade -i nvdp ...`; `settings` go to --set. Without a setting of the arbiter's there is none: where the
        agent is the subject, two pods more would come and go with each test."""
        self.write_values({LABEL: 'agent'})
        self.settings = settings, dict(self.machine.environment)
        alone = () if any(one.startswith('arbiter.') for one in settings) else ('arbiter.enabled=false',)
        words = [word for one in (f'config.name={CONFIG}', *settings, *alone) for word in ('--set', one)]
        return self.cluster.helm('upgrade', '-i', 'nvdp', CHART, '--namespace', SYSTEM,
                                 '-f', EXAMPLES / 'nvdp-values.yaml', '-f', self.values, *words)

    def write_values(self, node_selector):
        self.values.write_text(json.dumps(bed_values(self.machine, node_selector)))
        return self.values

    def installed(self):
        return self.api.call(f'/api/v1/namespaces/{SYSTEM}/secrets?labelSelector=owner%3Dhelm,name%3Dnvdp')['items']

    def retire(self):
        """helm uninstall, and the ConfigMap goes too."""
        if self.installed():
            self.cluster.helm('uninstall', 'nvdp', '--namespace', SYSTEM)
        path = f'/api/v1/namespaces/{SYSTEM}/configmaps/{CONFIG}'
        if self.api.find(path):
            self.api.call(path, 'DELETE')
        wait('no agent', lambda: not self.agents(), 30)

    def agents(self):
        return self.api.call(f'{self.pods_path}?labelSelector=app.kubernetes.io/instance=nvdp')['items']

    def configure(self, text, key=KEY):
        """Edits the ConfigMap; the kubelet brings it into the pod."""
        path = f'/api/v1/namespaces/{SYSTEM}/configmaps'
        if self.api.find(f'{path}/{CONFIG}'):
            self.api.call(f'{path}/{CONFIG}', 'PATCH', {'data': {key: text}})
        else:
            self.api.call(path, 'POST', {'metadata': {'name': CONFIG}, 'data': {key: text}})

    # --- the pod of one test ---

    def reset(self):
        self.machine = Machine(self.machine_folder)
        (STATE / 'health').unlink(missing_ok=True)  # other GPUs, though with the same UUIDs
        self.mark()  # the kubelet keeps the logs of an earlier test's pod for a while

    def start(self, config=None, *settings):
        """`settings`: the test's own values of the chart."""
        if config:
            self.configure(config)
        if (settings, self.machine.environment) != self.settings or not self.installed():
            self.install(*settings)
        self.come()

    def wait_pod(self, other_than=None):
        def is_another():
            pod = self.pod()
            return pod and pod['metadata']['uid'] != other_than and self.pid()
        try:
            wait('', is_another, 30)
        except BedError:
            states = [one['status'].get('containerStatuses', one['status']) for one in self.agents()]
            raise BedError(f'no agent runs: {json.dumps(states, indent=1)}\n{self.said()}') from None

    def pod(self):
        """The one that lives; None without. The release's other pods are the arbiter's."""
        return next((one for one in self.agents() if 'deletionTimestamp' not in one['metadata']
                     and one['spec']['containers'][0]['name'] == 'agent'
                     and one['status']['phase'] not in ('Failed', 'Succeeded')), None)

    def pid(self, container='agent'):
        """Of a container's first process; None when it does not run."""
        pod = self.pod()
        own = self.cluster.containers(SYSTEM).get((pod['metadata']['name'], container)) if pod else None
        return own and own[0]

    def kill(self, container='agent'):
        """At once; the kubelet starts it again."""
        pid = self.pid(container)
        os.kill(pid, signal.SIGKILL)
        wait('the end', lambda: has_ended(pid), 10)

    def resume(self):
        wait('the agent again', self.pid, 60)

    def leave(self):
        self.cluster.label_node(LABEL, None)
        wait('no agent', lambda: not self.agents(), 30)

    def come(self):
        self.cluster.label_node(LABEL, 'agent')
        self.wait_pod()

    remove = leave

    def upgrade(self):
        """helm upgrade with another pod template: a rolling update."""
        before = self.pod()['metadata']['uid']
        self.revision += 1
        self.install(f'podAnnotations.revision=r{self.revision}')
        self.wait_pod(before)

    def failed_pods(self):
        return [one for one in self.api.call(self.pods_path)['items'] if one['status']['phase'] == 'Failed']

    def sim(self, *arguments):
        return self.machine.sim(*arguments)

    # --- what it serves, which it always does ---

    def serve_metrics(self):
        pass

    def metrics(self):
        pod = self.pod()
        return scrape(f"{pod['status'].get('podIP')}:19400") if pod else ''

    # --- its log, from the kubelet's files ---

    def logs(self, container='*'):
        folder = self.cluster.bed.folder / 'pod-logs'
        return sorted(folder.glob(f'{SYSTEM}_nvdp-*/{container}/*.log'), key=lambda path: path.stat().st_mtime)

    def mark(self):
        self.marks = {path: path.stat().st_size for path in self.logs()}

    def said(self):
        lines = []
        for path in self.logs():
            with open(path, 'rb') as log:
                log.seek(self.marks.get(path, 0))
                text = log.read().decode(errors='replace')
            lines += [line.split(' ', 3) for line in text.splitlines() if line.count(' ') > 2]
        return '\n'.join(line[3] for line in sorted(lines, key=lambda line: line[0]))  # by the runtime's clock

    wait_line = BareAgent.wait_line

    def pids(self):
        """The agent's first, then those of the containers beside it."""
        return [pid for name in CONTAINERS for pid in tree(self.pid(name))]

    def is_process(self):
        return False
