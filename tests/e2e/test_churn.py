# SPDX-License-Identifier: Apache-2.0
"""Pods come and go in a loop: no slice is lost, none is given twice."""
import random
import time

import pytest
from agents import replicas


def churn(cluster, agent, seconds):
    agent.start(replicas(4))
    cluster.wait_allocatable(16)
    dice, alive, n_made, n_looks = random.Random(1), [], 0, 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for _ in range(dice.randint(1, 6)):
            if len(alive) < 16 and dice.random() < 0.6:
                alive.append(f'pod-{n_made}')
                cluster.create_pod(alive[-1])
                n_made += 1
            elif alive:
                cluster.delete_pod(alive.pop(dice.randrange(len(alive))))
        running = {pod['metadata']['name'] for pod in cluster.pods(phase='Running')}
        ids = [one for (pod, _), (_, own) in cluster.state().items() if pod in running for one in own]
        assert len(ids) == len(set(ids)), 'one slice, two pods'
        assert not cluster.pods(phase='Failed')
        n_looks += 1
        time.sleep(0.1)
    for name in alive:
        cluster.delete_pod(name)
    cluster.wait_count(0)
    print(f'{n_made} pods in {seconds} s, {n_looks} looks')
    assert n_made >= seconds
    # Not one slice leaked: all 16 can be had at once.
    cluster.deploy('all', 16)
    cluster.wait_running(16)
    assert len(set(cluster.held_ids())) == 16 and cluster.node() == (16, 16)


def test_pods_come_and_go(cluster, agent):
    churn(cluster, agent, 20)


@pytest.mark.soak
@pytest.mark.timeout(500)
def test_pods_come_and_go_for_5_minutes(cluster, agent):
    churn(cluster, agent, 300)
