# SPDX-License-Identifier: Apache-2.0
"""The agent's pod: what each process of it may do, as doc/privileges.md tells; what those on the network
cannot open; and that its containers come and go by themselves, without a pod that notices."""
import ctypes
import http.server
import json
import os
import re
import signal
import socket
import threading
import urllib.request
from pathlib import Path

import pytest
import yaml
from agents import CHART, CONTAINERS, EXAMPLES, ROOT, SYSTEM, replicas, scrape, tree
from bed import has_ended, wait
from test_install import chart, ours  # noqa: F401
from test_restarts import eight
from test_rivals import peer, slices  # noqa: F401
from test_switching import condition_is, eight_on, go_over, keep_and_grow

NOBODY = 65534
TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token'
CHANNEL = '/run/gpuslice-channel'
CAPABILITIES = {1: 'DAC_OVERRIDE', 16: 'SYS_MODULE', 21: 'SYS_ADMIN', 27: 'MKNOD'}  # bits of a set, those of the page


def start(cluster, agent, *settings):
    agent.start(replicas(4), *settings)
    cluster.wait_allocatable(16)
    condition_is(cluster, 'True', 'AllResourcesRegistered')
    cluster.wait('each container runs', lambda: all(agent.pid(name) for name in CONTAINERS))


# --- rights ---

def rows():
    """Of the page's table: process -> (container, user, capabilities by column)."""
    text = (ROOT / 'doc/privileges.md').read_text().split('\n## In the pod\n')[1].split('\n## ')[0]
    head, _, *lines = [[cell.strip() for cell in line.strip('|').split(' | ')] for line in text.splitlines() if line.startswith('|')]
    return {line[1].strip('`'): (line[0], int(line[2]), dict(zip(head[3:6], line[3:6]))) for line in lines}


def status(pid):
    return dict(line.split(':\t', 1) for line in Path(f'/proc/{pid}/status').read_text().splitlines())


def capabilities(words):
    """As the page writes a set."""
    if words == 'all':
        return words
    return set() if words == 'none' else set(re.findall(r'`(\w+)`', words))


def held(word):
    if word == status('self')['CapBnd']:  # what this machine has, which may be less than the kernel knows
        return 'all'
    bits = int(word, 16)
    return {CAPABILITIES.get(bit, bit) for bit in range(64) if bits >> bit & 1}


VALUES = {'default': (), '`sysAdmin: true`': ('sysAdmin=true',), '`compatWithCPUManager: true`': ('compatWithCPUManager=true',)}


@pytest.mark.parametrize('column', VALUES, ids=lambda column: column.strip('`'))
def test_the_rights_of_each_process(cluster, chart, column):  # noqa: F811
    start(cluster, chart, *VALUES[column])
    expected = rows()
    seen = {}
    for container in CONTAINERS:
        for pid in tree(chart.pid(container)):
            now = status(pid)
            name = Path(os.readlink(f'/proc/{pid}/exe')).name if now['Name'] != 'gpuslice-driver' else now['Name']
            seen[name] = container
            _, user, by_column = expected[name]
            assert now['Uid'].split() == now['Gid'].split() == [str(user)] * 4, name
            assert now['Groups'].split() in ([], [str(user)]), name
            rights = capabilities(by_column[column])
            assert held(now['CapEff']) == held(now['CapPrm']) == rights, name
            assert rights == 'all' or held(now['CapBnd']) == rights, name
            assert now['CapAmb'] == '0' * 16 and now['NoNewPrivs'] == '1', name
            assert now['Seccomp'] == ('0' if container == 'agent' and 'all' in expected['gpuslice-node'][2][column] else '2'), name
    assert seen == {name: container for name, (container, _, _) in expected.items()}


def listening_inodes(pid):
    """Of TCP in the pod's network."""
    lines = [line.split() for name in ('tcp', 'tcp6') for line in Path(f'/proc/{pid}/net/{name}').read_text().splitlines()[1:]]
    return {line[9] for line in lines if line[3] == '0A'}


def sockets(pid):
    links = [os.readlink(fd) for fd in Path(f'/proc/{pid}/fd').iterdir() if fd.is_symlink()]
    return {link[8:-1] for link in links if link.startswith('socket:[')}


def test_one_container_has_the_token_and_one_a_port(cluster, chart):  # noqa: F811
    start(cluster, chart)
    roots = {name: Path(f'/proc/{chart.pid(name)}/root') for name in CONTAINERS}
    assert [name for name, root in roots.items() if (root / TOKEN[1:]).exists()] == ['nodesync']
    serving = {name for name in CONTAINERS for pid in tree(chart.pid(name)) if sockets(pid) & listening_inodes(pid)}
    assert serving == {'http'}
    # And no process of one sees those of another.
    for name, root in roots.items():
        inside = {(one / 'comm').read_text().strip() for one in (root / 'proc').iterdir() if one.name.isdigit()}
        assert inside == {status(pid)['Name'] for pid in tree(chart.pid(name))}


def connect(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


ROLES = ['nodesync', 'http', 'probe']


def any_of(try_it, roles):
    """Succeeds if it does for the socket of one of the roles."""
    refused = OSError()
    for role in roles:
        try:
            return try_it(f'{CHANNEL}/{role}/agent.sock')
        except OSError as error:
            refused = error
    raise refused


TRIES = {
    "the kubelet's socket": lambda: connect('/var/lib/kubelet/device-plugins/kubelet.sock'),
    'what the agent keeps': lambda: os.listdir('/run/gpuslice'),
    'the grants': lambda: os.listdir('/var/lib/gpuslice'),
    'pod-resources': lambda: connect('/var/lib/kubelet/pod-resources/kubelet.sock'),
    "a socket in the agent's place": lambda: any_of(os.unlink, ROLES),
    'a file beside it': lambda: any_of(lambda path: open(path + '.x', 'w'), ROLES),
    'the root file system': lambda: open('/x', 'w'),
    'a program': lambda: open('/usr/bin/gpuslice-http', 'a'),
    'a GPU': lambda: os.open('/dev/nvidia0', os.O_RDWR),
    'the token': lambda: open(TOKEN).read(),
    'to be root': lambda: os.setuid(0),
    'a mount': lambda: call('mount', b'none', b'/tmp', b'tmpfs', 0, None),
    "the agent's socket for http": lambda: any_of(connect, ['http']),
    "the agent's socket for nodesync": lambda: any_of(connect, ['nodesync']),
    "the agent's socket for probes": lambda: any_of(connect, ['probe']),
}
MAY = {'http': {"the agent's socket for http"}, 'nodesync': {"the agent's socket for nodesync", 'the token'}}


def call(name, *arguments):
    if getattr(LIBC, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)


LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS = 0x20000


def within(pid, pipe):
    """In a child: as that process, in its file systems. The image has no program that could do this."""
    namespace = os.open(f'/proc/{pid}/ns/mnt', os.O_RDONLY)
    call('setns', namespace, CLONE_NEWNS)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)  # takes the capabilities along
    done = []
    for what, try_it in TRIES.items():
        try:
            try_it()
            done.append(what)
        except OSError:
            pass
    os.write(pipe, json.dumps(done).encode())


@pytest.mark.parametrize('container', MAY)
def test_what_it_must_not_open(cluster, chart, container):  # noqa: F811
    start(cluster, chart)
    pid = chart.pid(container)
    ours_, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            within(pid, theirs)
        finally:
            os._exit(0)
    os.close(theirs)
    os.waitpid(child, 0)
    with open(ours_) as answer:
        assert set(json.load(answer)) == MAY[container]


# --- life ---

def restarts(chart):  # noqa: F811
    return {one['name']: one['restartCount'] for one in chart.pod()['status']['containerStatuses']}


def pids(chart):  # noqa: F811
    return {name: chart.pid(name) for name in CONTAINERS}


def metrics(chart):  # noqa: F811
    """What Prometheus gets; nothing while nobody serves."""
    try:
        with urllib.request.urlopen(f"http://{chart.pod()['status']['podIP']}:19400/metrics", timeout=5) as answer:
            return answer.read().decode()
    except (OSError, KeyError):  # it is not up, or the Node's pod has no address yet
        return ''


def is_connected(chart):  # noqa: F811
    return '\ngpuslice_cluster_connected 1\n' in metrics(chart)


def ready(chart):  # noqa: F811
    return {one['name']: one['ready'] for one in chart.pod()['status'].get('containerStatuses', [])}


@pytest.mark.parametrize('container', CONTAINERS)
def test_one_container_is_killed(cluster, chart, container):  # noqa: F811
    """The kubelet starts it again; the two others run on and find it, and what the Node shows stays."""
    before = eight(cluster, chart)
    condition_is(cluster, 'True', 'AllResourcesRegistered')
    cluster.wait('the labels', lambda: 'nvidia.com/gpu.count' in ours(cluster.api.call(cluster.node_path)))
    shown, running = ours(cluster.api.call(cluster.node_path)), pids(chart)
    chart.mark()
    chart.kill(container)
    assert ours(cluster.api.call(cluster.node_path)) == shown
    cluster.wait('another process', lambda: chart.pid(container) not in (None, running[container]), 60)
    cluster.wait('each talks to the others', lambda: is_connected(chart), 60)
    now = pids(chart)
    assert {name for name in CONTAINERS if now[name] != running[name]} == {container}
    assert ours(cluster.api.call(cluster.node_path)) == shown
    # What happens is written by the three together.
    chart.sim('inject', 'xid', 0, 79)
    cluster.wait('an event', lambda: any(one['reason'] == 'GPUUnhealthy' and one['message'] for one in
                                         cluster.events('Node', cluster.bed.node_name)))
    chart.sim('inject', 'reset', 0)
    keep_and_grow(cluster, before, 9)


def test_nobody_who_asks_by_http_stops_the_agent(cluster, chart):  # noqa: F811
    """The container that serves HTTP hangs, with many clients: the agent's probes do not ask it."""
    start(cluster, chart)
    cluster.wait('it serves', lambda: metrics(chart))
    cluster.wait('each is ready', lambda: ready(chart) == {name: True for name in CONTAINERS}, 60)
    pid, address = chart.pid('http'), chart.pod()['status']['podIP']
    os.kill(pid, signal.SIGSTOP)
    clients = [socket.create_connection((address, 19400), timeout=5) for _ in range(100)]
    try:
        for part in ('probe', 'probe-ready'):
            said = cluster.kubectl('-n', SYSTEM, 'exec', chart.pod()['metadata']['name'], '-c', 'agent', '--',
                                   '/usr/bin/gpuslice-node', f'--part={part}')
            assert said == 'ok\n'
        assert ready(chart) == {name: True for name in CONTAINERS}
    finally:
        for client in clients:
            client.close()
        os.kill(pid, signal.SIGCONT)
    assert restarts(chart) == {name: 0 for name in CONTAINERS}
    cluster.wait('it serves again', lambda: is_connected(chart))


@pytest.mark.soak
@pytest.mark.timeout(400)
def test_an_agent_that_hangs_is_restarted(cluster, chart):  # noqa: F811
    before = eight(cluster, chart)
    hung = chart.pid()
    os.kill(hung, signal.SIGSTOP)
    wait('the end', lambda: has_ended(hung), 200)
    chart.resume()
    assert restarts(chart)['agent'] == 1 and restarts(chart)['nodesync'] == restarts(chart)['http'] == 0
    keep_and_grow(cluster, before, 9)


def test_readiness_by_resources(cluster, chart, peer):  # noqa: F811
    """readinessPath: /readyz, asked by an exec probe: a pod is Ready while what it offers is registered."""
    def is_ready():
        return [one['status'] for one in chart.pod()['status']['conditions'] if one['type'] == 'Ready'] == ['True']

    def reasons():
        return [one['message'] for one in cluster.events('Pod', chart.pod()['metadata']['name'], SYSTEM) if one['reason'] == 'Unhealthy']
    start(cluster, chart, 'readinessPath=/readyz')
    cluster.wait('Ready', is_ready)
    peer.start(slices(chart))
    condition_is(cluster, 'False', 'ForeignDevicePlugin')
    cluster.wait('it says why', lambda: any('nvidia.com/gpu' in one for one in reasons()))
    cluster.wait('not Ready', lambda: not is_ready())
    peer.end(signal.SIGTERM)
    cluster.wait('Ready again', is_ready)
    assert restarts(chart) == {name: 0 for name in CONTAINERS}


@pytest.mark.parametrize('seconds', [10, pytest.param(70, marks=pytest.mark.soak)])
def test_a_stranger_has_our_port(cluster, chart, seconds):  # noqa: F811
    """In the host's network, with our port taken by a program that answers 404: slices stay, and no container is killed."""
    class Stranger(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

    with http.server.ThreadingHTTPServer(('', 19400), Stranger) as stranger:
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        chart.start(replicas(4), 'devicePlugin.enableHostNetwork=true')
        cluster.wait_allocatable(16)
        chart.wait_line('cannot serve HTTP yet.*19400')
        cluster.deploy('demo', 8)
        cluster.wait_running(8)
        before = cluster.state()
        agent = chart.pod()['spec']['containers'][0]
        assert 'exec' in agent['livenessProbe'] and not [one for one in chart.pod()['spec']['containers'] if 'ports' in one]
        # A probe gives up after twice its period, which is 70 s.
        cluster.stays({name: 0 for name in CONTAINERS}, lambda: restarts(chart), seconds=seconds)
        assert cluster.node() == (16, 16) and cluster.state() == before
        stranger.shutdown()
    cluster.wait('metrics once the port is free', lambda: 'gpuslice_' in scrape('127.0.0.1:19400'), timeout=60)
    assert restarts(chart) == {name: 0 for name in CONTAINERS}


def test_without_access_to_the_api_server(cluster, chart):  # noqa: F811
    """nodesync.enabled: false: slices all the same, and nothing of ours on the Node."""
    chart.start(replicas(4), 'nodesync.enabled=false')
    cluster.wait_allocatable(16)
    cluster.deploy('demo', 8)
    cluster.wait_running(8)
    before = cluster.state()
    assert chart.pid('nodesync') is None and chart.pid('http')
    assert not ours(cluster.api.call(cluster.node_path))
    keep_and_grow(cluster, before, 9)


# --- over from the earlier chart, of one container, and back ---

def as_one_container(objects):
    """What the chart rendered before the agent's pod had three."""
    [daemonset] = [one for one in objects if one['kind'] == 'DaemonSet']
    [account] = [one for one in objects if one['kind'] == 'ServiceAccount']
    account['automountServiceAccountToken'] = True
    spec = daemonset['spec']['template']['spec']
    del daemonset['spec']['template']['metadata']['annotations'], spec['automountServiceAccountToken']
    agent = spec['containers'][0]
    spec['containers'] = [agent]
    spec['volumes'] = [one for one in spec['volumes'] if one['name'] not in ('channel-nodesync', 'channel-http', 'channel-probe', 'api-access')]
    agent['volumeMounts'] = [one for one in agent['volumeMounts'] if not one['name'].startswith('channel-')]
    agent['env'] = [one if one['name'] != 'GPUSLICE_CHANNEL_DIR' else {'name': 'GPUSLICE_HTTP_ADDRESS', 'value': ':9400'}
                    for one in agent['env']]
    agent['ports'] = [{'name': 'http', 'containerPort': 9400, 'protocol': 'TCP'}]
    del agent['startupProbe']
    agent['livenessProbe'] = {'httpGet': {'path': '/healthz', 'port': 'http'}, 'periodSeconds': 10, 'timeoutSeconds': 5}
    agent['readinessProbe'] = {'httpGet': {'path': '/healthz', 'port': 'http'}, 'periodSeconds': 5, 'timeoutSeconds': 5}
    return objects


@pytest.fixture
def earlier(cluster, chart, tmp_path):  # noqa: F811
    """Its folder; the values are in it."""
    chart.write_values({'gpuslice-bed': 'agent'})
    text = cluster.helm('template', 'nvdp', CHART, '--namespace', SYSTEM, '--no-hooks', '-f', EXAMPLES / 'nvdp-values.yaml',
                        '-f', chart.values, '--set', 'config.name=nvidia-device-plugin,arbiter.enabled=false')
    (tmp_path / 'templates').mkdir()
    (tmp_path / 'Chart.yaml').write_text((CHART / 'Chart.yaml').read_text())
    (tmp_path / 'all.yaml').write_text(yaml.safe_dump_all(as_one_container([one for one in yaml.safe_load_all(text) if one])))
    (tmp_path / 'templates/all.yaml').write_text('{{ .Files.Get "all.yaml" }}\n')
    return tmp_path


def test_from_one_container_and_back(cluster, chart, earlier):  # noqa: F811
    """An upgrade from the earlier chart, `helm rollback`, and over again: pods run on, and what the Node shows is kept."""
    chart.retire()
    chart.configure(replicas(4))
    cluster.helm('install', 'nvdp', earlier, '--namespace', SYSTEM)
    chart.come()

    def names():
        return [one['name'] for one in chart.pod()['spec']['containers']]
    assert names() == ['agent']
    before = eight_on(cluster)
    condition_is(cluster, 'True', 'AllResourcesRegistered')
    shown = ours(cluster.api.call(cluster.node_path))
    for count, over in enumerate([lambda: chart.install(), lambda: cluster.helm('rollback', 'nvdp', '1', '--namespace', SYSTEM),
                                  lambda: chart.install('logLevel=debug')], 9):
        before = go_over(cluster, chart, over, before, count)
        assert set(ours(cluster.api.call(cluster.node_path))) == set(shown)
        assert names() == (['agent'] if count == 10 else CONTAINERS)
