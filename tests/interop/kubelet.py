# SPDX-License-Identifier: Apache-2.0
"""The kubelet's half of the device plugin protocol, and the frame of a suite.

Every driver is called in the same way:

    DRIVER [--skip CASE[,CASE...]] [--update COMMAND] [--rss-mb N] DIR -- TARGET [ARGUMENT...]

It serves Registration at DIR/kubelet.sock, starts TARGET ("{dir}" in its arguments stands for DIR),
waits until that registers, and calls it at the endpoint it named. COMMAND ("{pid}" is TARGET's) makes
the target send a new list. Each case prints `ok - NAME`, `not ok - NAME` or `ok - NAME # SKIP why`.
"""
import argparse
import os
import queue
import signal
import subprocess
import sys
import time
import traceback
from concurrent import futures

import grpc

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, 'proto'))
pb, services = grpc.protos_and_services('deviceplugin/v1beta1/api.proto')

WAIT_S = 120


class Suite:
    def __init__(self, prefix):
        parser = argparse.ArgumentParser()
        parser.add_argument('--skip', default='')
        parser.add_argument('--update', default='')
        parser.add_argument('--rss-mb', type=float, default=16)
        parser.add_argument('dir')
        parser.add_argument('target', nargs='+')
        self.options = parser.parse_args()
        self.prefix, self.failed = prefix, 0
        self.skipped = set(filter(None, self.options.skip.split(',')))
        if not self.options.update:
            self.skipped.add('update')

    def case(self, name, function):
        if name in self.skipped:
            return  # no case of this target's, and so none that was skipped
        try:
            function()
            print(f'ok - {self.prefix}: {name}', flush=True)
        except Exception:
            self.failed += 1
            print(f'not ok - {self.prefix}: {name}', flush=True)
            print(traceback.format_exc(), flush=True)

    def run(self, cases):
        """Runs all cases of a dict name -> function(kubelet); the last one stops the target."""
        with Kubelet(self.options.dir) as kubelet:
            kubelet.start_target([a.replace('{dir}', self.options.dir) for a in self.options.target])
            self.case('register', kubelet.wait_for_registration)
            if self.failed:
                return 1
            for name, function in cases.items():
                self.case(name, lambda: function(kubelet))
            self.case('stop', kubelet.stop_target_cleanly)
        return 1 if self.failed else 0


class Kubelet(services.RegistrationServicer):
    def __init__(self, folder):
        self.folder, self.socket = folder, os.path.join(folder, 'kubelet.sock')
        self.requests = queue.Queue()
        self.server = self.target = self.endpoint = self.registered = None
        self.terminated = False

    def __enter__(self):
        self.serve()
        return self

    def __exit__(self, *_):
        if self.target and self.target.poll() is None:
            self.target.kill()
            self.target.wait()
        self.server.stop(None)

    def Register(self, request, context):
        self.requests.put(request)
        return pb.Empty()

    def serve(self):
        self.server = grpc.server(futures.ThreadPoolExecutor(4))
        services.add_RegistrationServicer_to_server(self, self.server)
        self.server.add_insecure_port('unix:' + self.socket)
        self.server.start()

    def restart(self):
        self.server.stop(None).wait()
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        while not self.requests.empty():
            self.requests.get()
        self.serve()
        began = time.monotonic()
        self.wait_for_registration()
        took = time.monotonic() - began
        assert took < 10, f'registered again only after {took:.1f} s'  # at once, with a busy machine's time

    def start_target(self, argv):
        self.target = subprocess.Popen(argv)

    def wait_for_registration(self):
        request = self.requests.get(timeout=WAIT_S)
        assert request.version == 'v1beta1', request
        assert request.resource_name and '/' in request.resource_name, request
        self.registered = request
        self.endpoint = os.path.join(self.folder, request.endpoint)
        assert os.path.exists(self.endpoint), self.endpoint

    def terminate(self):
        if not self.terminated:
            self.target.send_signal(signal.SIGTERM)
        self.terminated = True

    def stop_target_cleanly(self):
        self.terminate()
        status = self.target.wait(WAIT_S)
        assert status == 0, f'the target ended with status {status}'
        assert not os.path.exists(self.endpoint), f'{self.endpoint} was left behind'

    def update(self, command):
        subprocess.run(command.replace('{pid}', str(self.target.pid)), shell=True, check=True)

    def rss_mb(self):
        with open(f'/proc/{self.target.pid}/status') as status:
            return next(int(l.split()[1]) for l in status if l.startswith('VmRSS')) / 1024


def expect(condition, text=''):
    if not condition:
        raise AssertionError(text)
