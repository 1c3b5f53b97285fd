# SPDX-License-Identifier: Apache-2.0
"""Hostile surroundings: what the agent does when everything around it misbehaves, and how little it says."""
import json
import os
import re
import resource
import shutil
import signal
import socket
import threading
import time
from concurrent import futures

import grpc
import pytest

from node import GUIDE, PATIENCE_S, PROGRAMS, ROOT, eventually, free_port, held_ids, http_get, replicas
from test_agent import lists_sent

WATCH = '/v1beta1.DevicePlugin/ListAndWatch'
ALLOCATE = '/v1beta1.DevicePlugin/Allocate'


class FaultyKubelet:
    """Serves Registration by itself, in ways a kubelet should not. Messages stay bytes."""

    def __init__(self, node, answer=lambda kubelet, context: None):
        self.plugins, self.socket = node.plugins, node.plugins / 'kubelet.sock'
        self.answer, self.times, self.news = answer, [], threading.Condition()
        node.plugins.mkdir(parents=True, exist_ok=True)
        self.server = grpc.server(futures.ThreadPoolExecutor(8))
        self.server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(
            'v1beta1.Registration', {'Register': grpc.unary_unary_rpc_method_handler(self.register)})])
        self.server.add_insecure_port(f'unix:{self.socket}')
        self.server.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.stop(None)

    def register(self, _request, context):
        with self.news:
            self.times.append(time.monotonic())
            self.news.notify_all()
        self.answer(self, context)
        return b''

    def wait_calls(self, count):
        """Returns when the `count`th came."""
        with self.news:
            assert self.news.wait_for(lambda: len(self.times) >= count, PATIENCE_S), self.times
            return self.times[count - 1]

    def plugin(self, resource_name='gpu'):
        return grpc.insecure_channel(f'unix:{self.plugins}/gpuslice-{resource_name}.sock')

    def watch(self, channel):
        stream = channel.unary_stream(WATCH)(b'')
        return stream, next(stream)


def allocate(channel, *ids):
    """Allocate for one container; protobuf by hand: two nested length-delimited fields."""
    inner = b''.join(b'\x0a' + bytes([len(one)]) + one.encode() for one in ids)
    return channel.unary_unary(ALLOCATE)(b'\x0a' + bytes([len(inner)]) + inner, timeout=PATIENCE_S)


# --- kubelets ---

def test_a_kubelet_that_refuses_is_asked_less_and_less(node):
    def refuse(kubelet, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, f'no, said {len(kubelet.times)} times')

    with FaultyKubelet(node, refuse) as kubelet:
        agent = node.start_agent()
        assert kubelet.wait_calls(7) - agent.started > 2.5
        assert 1 <= agent.count('cannot register') <= 4  # each time for another reason
        assert agent.end() == 0


def test_a_kubelet_that_drops_every_watch_is_asked_less_and_less(node):
    with FaultyKubelet(node) as kubelet:
        agent = node.start_agent()
        for count in range(1, 8):
            called = kubelet.wait_calls(count)
            channel = kubelet.plugin()
            stream, _ = kubelet.watch(channel)
            agent.wait_line('registered with the kubelet')
            stream.cancel()
            channel.close()
        assert called - agent.started > 2.5
        assert agent.count('stopped watching') == 1


def test_a_kubelet_that_never_answers(node):
    done = threading.Event()
    with FaultyKubelet(node, lambda *_: done.wait(PATIENCE_S)) as kubelet:
        agent = node.start_agent()
        assert kubelet.wait_calls(2) - agent.started > 4.5
        agent.wait_line('cannot register.*DEADLINE')
        assert agent.end() == 0
        done.set()


def test_a_kubelet_that_leaves_during_the_registration(node):
    cancelled = threading.Event()

    def leave(kubelet, context):
        context.add_callback(cancelled.set)
        kubelet.socket.unlink()
        cancelled.wait(4)  # less than the agent's own deadline

    with FaultyKubelet(node, leave):
        agent = node.start_agent()
        assert cancelled.wait(PATIENCE_S)
        agent.end()
        assert agent.count('registered with the kubelet') == 0
        assert agent.count('level=(warning|error)') == 0


def test_a_kubelet_that_watches_twice_and_keeps_one(node):
    with FaultyKubelet(node) as kubelet:
        agent = node.start_agent()
        kubelet.wait_calls(1)
        with kubelet.plugin() as one, kubelet.plugin() as other:
            first, _ = kubelet.watch(one)
            second, before = kubelet.watch(other)
            first.cancel()
            node.configure(replicas(2))
            assert next(second) != before
            assert len(kubelet.times) == 1
        kubelet.wait_calls(2)
        assert agent.alive()


def test_a_kubelet_that_flaps(node):
    agent = node.start_agent()
    agent.wait_line('resource offered')
    node.plugins.mkdir(parents=True, exist_ok=True)
    for _ in range(60):
        with socket.socket(socket.AF_UNIX) as flapping:
            flapping.bind(str(node.plugins / 'kubelet.sock'))
            flapping.listen()
            (node.plugins / 'kubelet.sock').unlink()
    node.start_kubelet()
    agent.wait_line('registered with the kubelet')
    node.wait_allocatable(16)
    assert agent.count('level=(warning|error)') <= 3


def test_a_deleted_socket_is_no_reason_to_register_twice(node):
    with FaultyKubelet(node) as kubelet:
        agent = node.start_agent()
        kubelet.wait_calls(1)
        with kubelet.plugin() as channel:
            stream, _ = kubelet.watch(channel)
            agent.wait_line('registered with the kubelet')
            mark = agent.mark()
            (node.plugins / 'gpuslice-gpu.sock').unlink()
            agent.wait_line('registered with the kubelet', mark)
            assert agent.count('stopped watching') == 0
            with pytest.raises(grpc.RpcError):
                next(stream)


def test_two_thousand_watches_leave_nothing(node):
    with FaultyKubelet(node) as kubelet:
        quarantine = os.environ.get('ASAN_OPTIONS', '') + ':quarantine_size_mb=1'
        agent = node.start_agent(ASAN_OPTIONS=quarantine)
        kubelet.wait_calls(1)

        def watches(count):
            for _ in range(count // 20):
                with kubelet.plugin() as channel:
                    for _ in range(20):
                        kubelet.watch(channel)[0].cancel()

        with kubelet.plugin() as keeper:
            stream, _ = kubelet.watch(keeper)
            watches(400)
            before = memory_kib(agent.pid)
            watches(1600)
            assert memory_kib(agent.pid) < before + 4096
            assert len(kubelet.times) == 1
            node.configure(replicas(2))
            next(stream)
        assert agent.end() == 0


def memory_kib(pid):
    with open(f'/proc/{pid}/smaps_rollup', encoding='ascii') as rollup:
        return next(int(line.split()[1]) for line in rollup if line.startswith('Pss_Anon'))


# --- the plugin folder ---

def remove(folder):
    """Renamed first: the agent recreates its socket in a directory that is being emptied."""
    shutil.rmtree(folder.rename(folder.with_name('deleted')))


def test_a_folder_made_anew_is_watched_anew(node):
    """Also when it gets the old one's inode number, as file systems like to do."""
    kubelet = node.start_kubelet()
    agent = node.start_agent()
    node.wait_allocatable(16)
    kubelet.end()
    remove(node.plugins)
    node.plugins.mkdir()
    mark = agent.mark()
    node.start_kubelet()
    agent.wait_line('registered with the kubelet', mark)
    node.wait_allocatable(16)
    mark = agent.mark()
    (node.plugins / 'gpuslice-gpu.sock').unlink()
    agent.wait_line('registered with the kubelet', mark)


def test_a_folder_replaced_by_a_file(node):
    kubelet = node.start_kubelet()
    agent = node.start_agent()
    node.wait_allocatable(16)
    kubelet.end()
    remove(node.plugins)
    node.plugins.write_text('')
    agent.wait_line('cannot register.*device-plugins')
    mark = agent.mark()
    node.plugins.unlink()
    node.start_kubelet()
    agent.wait_line('registered with the kubelet', mark)
    node.wait_allocatable(16)


def test_a_folder_in_the_way_of_the_socket(node):
    (node.plugins / 'gpuslice-gpu.sock').mkdir(parents=True)
    node.start_kubelet()
    agent = node.start_agent()
    agent.wait_line('gpuslice-gpu.sock exists and is not a socket')
    (node.plugins / 'gpuslice-gpu.sock').rmdir()
    node.wait_allocatable(16)
    assert agent.count('exists and is not a socket') == 1


def test_a_long_name_in_a_long_folder(node):
    """No socket could be called after the resource there."""
    longest = 'nvidia.com/' + 'a' * 52
    node.plugins = node.folder / ('x' * 40)
    node.start_kubelet()
    node.start_agent(replicas(4, rename=longest))
    node.wait_allocatable(16, longest)
    node.run_pods(2, resource=longest)


def test_a_path_too_long_for_a_socket(node):
    node.plugins = node.folder / ('x' * 60) / ('y' * 60)
    node.plugins.mkdir(parents=True)
    agent = node.start_agent()
    agent.wait_line('cannot register.*is longer than 107 bytes')
    assert agent.end() == 0
    assert agent.count('longer than 107') == 1


def test_the_newer_of_two_agents_serves_and_the_older_takes_over(node):
    node.start_kubelet()
    older = node.start_agent()
    node.wait_allocatable(16)
    newer = node.start_agent()
    older.wait_line('another agent serves')
    newer.wait_line('registered with the kubelet')
    node.wait_allocatable(16)
    assert older.count('registered with the kubelet') == 1
    mark = older.mark()
    assert newer.end() == 0
    older.wait_line('registered with the kubelet', mark)
    node.wait_allocatable(16)
    assert newer.count('registered with the kubelet') == 1
    assert newer.count('another agent serves') == 0


# --- the configuration ---

def test_a_configuration_folder_that_comes_back(node):
    folder = node.folder / 'etc'
    node.config = folder / 'config.yaml'
    folder.mkdir()
    node.start_kubelet()
    node.start_agent(replicas(4))
    node.wait_allocatable(16)
    for count in (2, 3):
        shutil.rmtree(folder)
        folder.mkdir()
        node.config.write_text(replicas(count))
        node.wait_allocatable(4 * count)


def test_a_configuration_whose_parent_folder_is_swapped(node):
    def fill(name, count):
        (node.folder / name / 'etc').mkdir(parents=True)
        (node.folder / name / 'etc/config.yaml').write_text(replicas(count))

    fill('now', 4)
    node.start_kubelet()
    agent = node.start_agent(None, '--config-file', node.folder / 'now/etc/config.yaml')
    node.wait_allocatable(16)
    fill('next', 2)
    os.rename(node.folder / 'now', node.folder / 'past')
    os.rename(node.folder / 'next', node.folder / 'now')
    # inotify does not report that; the next check also watches the right directory from then on.
    agent.send(signal.SIGHUP)
    node.wait_allocatable(8)
    (node.folder / 'now/etc/config.yaml').write_text(replicas(3))
    node.wait_allocatable(12)


def test_a_configuration_that_is_not_there_for_a_while(node):
    node.start_kubelet()
    agent = node.start_agent(replicas(4))
    node.wait_allocatable(16)
    node.config.unlink()
    agent.wait_line('is rejected')
    mark = agent.mark()
    node.config.mkdir()
    agent.wait_line('is rejected', mark)
    node.config.rmdir()
    elsewhere = node.folder / 'elsewhere'
    node.config.symlink_to(elsewhere / 'config.yaml')  # dangling: its folder cannot be watched yet
    elsewhere.mkdir()
    (elsewhere / 'config.yaml').write_text(replicas(2))
    node.wait_allocatable(8)


def test_a_pipe_in_place_of_the_configuration(node):
    node.start_kubelet()
    agent = node.start_agent(replicas(4))
    node.wait_allocatable(16)
    node.config.unlink()
    os.mkfifo(node.config)
    agent.wait_line('is rejected')
    assert len(node.run_pods(2)) == 2  # nobody waits for a writer
    assert agent.end() == 0


def test_a_busy_configuration_folder_hides_no_change(node):
    node.start_kubelet()
    node.start_agent(replicas(4))
    node.wait_allocatable(16)
    stop = threading.Event()

    def disturb():
        while not stop.wait(0.01):
            (node.folder / 'noise').write_text('noise')

    noise = threading.Thread(target=disturb)
    noise.start()
    try:
        node.configure(replicas(2))
        node.wait_allocatable(8)
    finally:
        stop.set()
        noise.join()


def test_renamed_back_and_forth(node):
    """Withdrawn and offered again within the half second that a withdrawal takes."""
    node.start_kubelet()
    agent = node.start_agent(replicas(4))
    node.wait_allocatable(16)
    for _ in range(4):
        for config, line in ((replicas(4, rename='nvidia.com/other'), 'offered resource=nvidia.com/other'),
                             (replicas(4), 'offered resource=nvidia.com/gpu ')):
            mark = agent.mark()
            node.configure(config)
            agent.wait_line(line.replace('offered', 'resource offered".*'), mark)
    node.wait_allocatable(16)
    node.wait_allocatable(0, 'nvidia.com/other')
    assert agent.count('resource withdrawn') == 8
    [*_, last] = [line for _, line in agent.lines if 'resource=nvidia.com/gpu ' in line + ' ' and 'msg="resource ' in line]
    assert 'offered' in last
    eventually(lambda: not (node.plugins / 'gpuslice-other.sock').exists(), 'all withdrawals end')
    assert (node.plugins / 'gpuslice-gpu.sock').is_socket()
    assert len(node.run_pods(16)) == 16
    assert agent.end() == 0


def test_a_storm_of_sighups_keeps_the_ids_of_before(node):
    with FaultyKubelet(node) as kubelet:
        agent = node.start_agent(replicas(4))
        kubelet.wait_calls(1)
        with kubelet.plugin() as channel:
            stream, first = kubelet.watch(channel)
            held = first[first.index(b'GPU-'):].split(b'::')[0].decode() + '::3'
            node.configure(replicas(2))
            next(stream)
            mark = agent.mark()
            for _ in range(100):
                agent.send(signal.SIGHUP)
            agent.wait_line('configuration applied', mark)
            agent.send(signal.SIGHUP)
            mark = agent.mark()
            agent.send(signal.SIGHUP)
            agent.wait_line('configuration applied', mark)
            assert held.split('::')[0].encode() in allocate(channel, held)
        assert agent.end() == 0


def test_a_new_list_strategy_changes_answers_and_sends_no_list(node):
    port = free_port()
    node.start_kubelet()
    agent = node.start_agent(replicas(4), '--http-address', f'127.0.0.1:{port}')
    agent.wait_line('listening for HTTP')
    node.wait_allocatable(16)
    before = lists_sent(port)
    mark = agent.mark()
    node.configure(replicas(4, 'flags: {plugin: {deviceListStrategy: cdi-cri}}'))
    agent.wait_line('configuration applied', mark)
    [pod] = node.run_pods(1)
    assert pod['containers'][0]['cdi_devices']
    assert list(node.cdi.iterdir())
    assert lists_sent(port) == before


# --- HTTP ---

def test_an_address_in_use_is_said_once_and_tried_again(node):
    with socket.socket() as holder:
        holder.bind(('127.0.0.1', 0))
        holder.listen()
        address = f'127.0.0.1:{holder.getsockname()[1]}'
        node.start_kubelet()
        agent = node.start_agent(GUIDE, '--http-address', address)
        node.wait_allocatable(16)
        agent.wait_line('cannot listen on')
        seen = set()
        eventually(lambda: seen.update(agent.children('gpuslice-http')) or len(seen) >= 3, 'three attempts', pause_s=0.01)  # none lasts
    agent.wait_line('listening for HTTP')
    assert http_get(address, '/readyz') == (200, 'ok\n')
    assert agent.count('cannot listen on') == 1
    assert agent.count('the HTTP program ended') == 1


def test_a_killed_http_program_is_replaced(node):
    port = free_port()
    agent = node.start_agent(GUIDE, '--http-address', f'127.0.0.1:{port}')
    agent.wait_line('listening for HTTP')
    for _ in range(3):
        mark = agent.mark()
        [pid] = agent.children('gpuslice-http')
        os.kill(pid, signal.SIGKILL)
        agent.wait_line('listening for HTTP', mark)
        assert http_get(f'127.0.0.1:{port}', '/healthz') == (200, 'ok\n')
    assert agent.end() == 0


# --- places to write to, and files to read ---

def test_folders_that_cannot_be_written(node):
    (node.folder / 'state').write_text('a file in the way')
    node.cdi.write_text('a file in the way')
    node.start_kubelet()
    agent = node.start_agent(GUIDE, '--device-list-strategy', 'cdi-cri')
    node.wait_allocatable(16)
    agent.wait_line('containers that request CDI devices cannot start')
    for index, left in ((0, 12), (1, 8)):
        node.sim('inject', 'xid', str(index), '79')
        node.wait_allocatable(left)
    assert agent.count('will not know which GPUs') == 1
    assert agent.end() == 0


@pytest.mark.parametrize('content', [b'gpuslice-health 2 x\n', b'\0' * 100, b'x' * (2 << 20),
                                     b'gpuslice-health'], ids=['boot', 'nul', 'huge', 'torn'])
def test_a_bad_health_file_is_forgotten(node, content):
    (node.folder / 'state').mkdir()
    (node.folder / 'state/health').write_bytes(content)
    node.start_kubelet()
    agent = node.start_agent()
    node.wait_allocatable(16)
    said = agent.count('state/health')
    assert said == (0 if content.endswith(b' x\n') else 1)


def test_out_of_file_descriptors(node):
    """Whatever cannot be opened is tried again; nothing spins and nothing dies."""
    node.start_kubelet()
    agent = node.start_agent()
    node.wait_allocatable(16)
    agent.wait_line('driver is available')
    before = resource.prlimit(agent.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, (4, before[1]))
    mark = agent.mark()
    for pid in agent.children():
        os.kill(pid, signal.SIGKILL)
    (node.plugins / 'gpuslice-gpu.sock').unlink()
    agent.wait_line('cannot', mark)
    agent.send(signal.SIGHUP)
    agent.wait_line('is rejected', mark)
    resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, before)
    agent.wait_line('registered with the kubelet', mark)
    agent.wait_line('driver is available', mark)
    node.wait_allocatable(16)
    assert agent.count('.', mark) < 20
    assert agent.end() == 0


def test_a_machine_that_grows(node):
    """GPUs that were not there before are offered too; what was there keeps its place."""
    machines = node.folder / 'machines'
    shutil.copytree(ROOT / 'sim/machines', machines)
    machine = machines / 'this.yaml'
    shutil.copy(machines / 'p3.2xlarge.yaml', machine)
    node.machine(machine).start_kubelet()
    agent = node.start_agent()
    node.wait_allocatable(4)
    before = held_ids(node.run_pods(2))
    shutil.copy(machines / 'p3.8xlarge.yaml', machine)
    (node.folder / 'machine.state').unlink()
    for pid in agent.children():
        os.kill(pid, signal.SIGKILL)
    node.wait_allocatable(16)
    assert held_ids(node.pods()) == before
    assert agent.end() == 0


# --- ends ---

def test_a_killed_agent_leaves_what_the_next_one_removes(node):
    node.start_kubelet()
    agent = node.start_agent(GUIDE, '--device-list-strategy', 'cdi-cri')
    node.wait_allocatable(16)
    agent.end(signal.SIGKILL)
    specs = {path.name: path.read_text() for path in node.cdi.iterdir()}
    assert specs and list(node.plugins.glob('gpuslice-*'))
    node.sim('inject', 'hang', 'all')  # so that the next one never comes to offer anything
    agent = node.start_agent(GUIDE, '--driver-deadline', '20s')
    eventually(lambda: handles_sigterm(agent.pid), 'the agent heeds signals')
    assert agent.end() == 0
    assert {path.name: path.read_text() for path in node.cdi.iterdir()} == specs, 'containers may restart'
    node.sim('inject', 'unhang', 'all')
    agent = node.start_agent(GUIDE)
    agent.wait_line('every resource is registered')
    assert not list(node.cdi.iterdir())
    assert agent.end() == 0
    assert not list(node.plugins.glob('gpuslice-*'))


def stage_at_once(_node, start):
    return start()


def stage_hang(node, start):
    node.sim('inject', 'hang', 'all')
    agent = start('--driver-deadline', '20s')
    agent.wait_line('listening for HTTP')
    return agent


def stage_withdrawal(node, start):
    node.start_kubelet()
    agent = start()
    node.wait_allocatable(16)
    node.configure(replicas(4, rename='nvidia.com/other'))
    agent.wait_line('resource offered.*other')
    return agent


def stage_kubelet_dead(node, start):
    kubelet = node.start_kubelet()
    agent = start()
    node.wait_allocatable(16)
    kubelet.end(signal.SIGKILL)
    agent.wait_line('waiting for the kubelet')
    return agent


@pytest.mark.parametrize('stage', [stage_at_once, stage_hang, stage_withdrawal, stage_kubelet_dead])
def test_sigterm_at_any_time(node, stage):
    port = free_port()
    agent = stage(node, lambda *more: node.start_agent(GUIDE, '--http-address', f'127.0.0.1:{port}', *more))
    family = agent.children()
    if stage is stage_at_once:
        eventually(lambda: handles_sigterm(agent.pid), 'the agent heeds signals')
    assert agent.end() == 0
    assert not [name for name in node.plugins.glob('gpuslice-*')]
    for pid in family:
        assert not os.path.exists(f'/proc/{pid}'), 'a helper outlived the agent'


def handles_sigterm(pid):
    with open(f'/proc/{pid}/status', encoding='ascii') as status:
        caught = next(line for line in status if line.startswith('SigCgt'))
    return int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1)


def test_all_gpus_lost_and_back(node):
    node.start_kubelet()
    agent = node.start_agent()
    node.wait_allocatable(16)
    before = held_ids(node.run_pods(4))
    node.sim('inject', 'lost', 'all')
    node.wait_allocatable(0)
    assert node.node()['capacity']['nvidia.com/gpu'] == 16
    node.sim('inject', 'back', 'all')
    node.wait_allocatable(16)
    assert held_ids(node.pods()) == before
    assert agent.count('level=(warning|error)') < 20


def test_an_xid_storm_is_counted_and_not_repeated(node):
    port = free_port()
    node.start_kubelet()
    agent = node.start_agent(GUIDE, '--http-address', f'127.0.0.1:{port}')
    agent.wait_line('listening for HTTP')
    node.wait_allocatable(16)
    for _ in range(40):
        node.sim('inject', 'xid', '0', '31')
    node.sim('inject', 'xid', '1', '79')
    node.wait_allocatable(12)
    assert 'gpuslice_xid_events_total 41' in http_get(f'127.0.0.1:{port}', '/metrics')[1]
    assert agent.count('reported an XID.*xid=31') < 10


def test_nonsense_on_our_socket_is_counted(node):
    address = f'127.0.0.1:{free_port()}'
    node.start_kubelet()
    agent = node.start_agent(GUIDE, '--http-address', address)
    node.wait_allocatable(16)
    agent.wait_line('listening for HTTP')
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(node.plugins / 'gpuslice-gpu.sock'))
        client.sendall(b'GET / HTTP/1.1\r\n\r\n')
        while client.recv(4096):
            pass
    wanted = 'gpuslice_protocol_errors_total{resource="nvidia.com/gpu"} 1'
    eventually(lambda: wanted in http_get(address, '/metrics')[1], wanted)
    assert agent.alive()


# --- the log ---

def redirect(node, path):
    """The agent's standard error goes to path."""
    script = node.folder / 'redirected'
    script.write_text(f'#!/bin/sh\nexec {PROGRAMS["gpuslice-node"]} "$@" 2>{path}\n')
    script.chmod(0o755)
    node.programs['gpuslice-node'] = script


def read_lines(pipe):
    """What lies in it now."""
    got = b''
    try:
        while data := os.read(pipe, 65536):
            got += data
    except BlockingIOError:
        pass
    return got.decode().splitlines()


def serves(address):
    try:
        return http_get(address, '/readyz')[0] == 200
    except OSError:
        return False


def test_a_log_that_nobody_reads_stops_nothing(node):
    """Its pipe is full: the kubelet, HTTP and the driver's helper are served, and later the number of lost lines is logged."""
    fifo, address = node.folder / 'log', f'127.0.0.1:{free_port()}'
    os.mkfifo(fifo)
    redirect(node, fifo)
    pipe = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    node.start_kubelet()
    agent = node.start_agent(GUIDE, '--http-address', address)
    node.wait_allocatable(16)
    eventually(lambda: serves(address), 'HTTP is served')
    try:
        while True:
            os.write(pipe, b'x' * 4095 + b'\n')
    except BlockingIOError:
        pass
    agent.send(signal.SIGHUP)
    eventually(lambda: 'gpuslice_config_reloads_total 1' in http_get(address, '/metrics')[1], 'the file is read again')
    for pid in agent.children('gpuslice-driver'):
        os.kill(pid, signal.SIGKILL)
    assert http_get(address, '/healthz') == (200, 'ok\n')
    node.run_pods(1)

    read_lines(pipe)
    lines = []
    agent.send(signal.SIGHUP)
    eventually(lambda: lines.extend(read_lines(pipe)) or any('configuration applied' in line for line in lines), 'the log goes on')
    [lost] = [line for line in lines if 'lines of the log were lost' in line]
    assert int(re.search(r'lines=(\d+)$', lost).group(1)) >= 1
    assert lines.index(lost) == 0
    assert agent.end() == 0


def test_a_json_log_is_json(node):
    """Also with a file name that is not UTF-8, and with messages from before the agent runs."""
    config = os.fsencode(node.folder) + b'/c\xff.yaml'
    with open(config, 'w', encoding='ascii') as file:
        file.write(GUIDE)
    agent = node.start_agent(None, '--config-file', os.fsdecode(config), '--log-format', 'json', '--imex-required')
    agent.wait_line('resource offered')
    mark = agent.mark()
    agent.send(signal.SIGHUP)
    agent.wait_line('configuration applied', mark)
    agent.end()
    lines = [json.loads(line) for _, line in agent.lines if line != '(end of output)']
    assert any(line.get('file', '').endswith('/c?.yaml') for line in lines)
    assert any('imex' in line['msg'] for line in lines)
