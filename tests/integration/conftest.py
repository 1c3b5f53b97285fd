# SPDX-License-Identifier: Apache-2.0
"""A node for each test."""
import tempfile
from pathlib import Path

import pytest

from node import Node


def pytest_collection_modifyitems(items):
    """Of several workers none is left alone at the end with what waits longest."""
    items.sort(key=lambda item: item.get_closest_marker('waits') is None)


@pytest.fixture
def node():
    # Not tmp_path: sockets live below, and a socket's path has room for 107 characters.
    with tempfile.TemporaryDirectory(prefix='gpuslice-', ignore_cleanup_errors=True) as folder:
        made = Node(Path(folder)).machine()
        yield made
        made.end()
        print(made.said())  # shown when the test failed
