# SPDX-License-Identifier: Apache-2.0
"""peer_plugin.py as the DaemonSet of a Helm release, in place of NVIDIA's."""
import re
import sys
from datetime import datetime
from pathlib import Path

import programs
from agents import SYSTEM
from bed import wait

HERE = Path(__file__).resolve().parent
CHART = HERE / 'peer-chart'


def matches(log, pattern):
    """[(seconds of the wall clock, text)] of the matching lines of a container's open log."""
    lines = [line.rstrip('\n').split(' ', 3) for line in log.read().splitlines()]
    return [(datetime.fromisoformat(line[0][:26]).timestamp(), line[3]) for line in lines if len(line) == 4 and re.search(pattern, line[3])]


class PeerChart:
    def __init__(self, cluster, ids, release='nvidia'):
        self.cluster, self.ids, self.release = cluster, ids, release

    def install(self):
        """Returns when the kubelet watches it."""
        command = [sys.executable, '-B', str(HERE / 'peer_plugin.py'), '--ids', '\\,'.join(self.ids)]
        folders = ['/usr', '/lib', '/lib64', str(programs.ROOT), sys.prefix]
        settings = [f'image={programs.PAUSE}', f"command={{{','.join(command)}}}", f"folders={{{','.join(folders)}}}"]
        self.cluster.helm('upgrade', '-i', self.release, CHART, '--namespace', SYSTEM,
                          *(word for one in settings for word in ('--set', one)))
        wait('the peer is watched', self.is_watched, 30)

    def is_watched(self):
        try:
            return self.count('watched')
        except (ValueError, OSError):  # no pod yet, or no log
            return False

    def uninstall(self):
        self.cluster.helm('uninstall', self.release, '--namespace', SYSTEM)

    def is_installed(self):
        path = f'/apis/apps/v1/namespaces/{SYSTEM}/daemonsets/{self.release}-nvidia-device-plugin'
        return self.cluster.api.find(path)

    def pod_name(self):
        """The one that lives."""
        [name] = [pod['metadata']['name'] for pod in self.cluster.pods(SYSTEM) if 'nvidia-device-plugin' in pod['metadata']['name']]
        return name

    def log(self):
        """Of the pod that lives, opened: the kubelet removes it together with the pod."""
        [path] = (self.cluster.bed.folder / 'pod-logs').glob(f'{SYSTEM}_{self.pod_name()}_*/*/0.log')
        return open(path)

    def count(self, word):
        with self.log() as log:
            return len(matches(log, f'^{word}'))
