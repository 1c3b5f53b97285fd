# SPDX-License-Identifier: Apache-2.0
"""The environment that the demo and the tests give to our programs.

The agent takes its options from variables, too. Those of a shell that works on a real cluster (NODE_NAME, KUBECONFIG, MIG_STRATEGY ...)
would configure the agent under test, and let it write to a real Node. So only what is named here is passed on.
"""
import os
import re
import subprocess

PASSED = re.compile(r'''
    PATH | HOME | USER | LOGNAME | SHELL | PWD | TMPDIR | TZ | TERM | COLORTERM | NO_COLOR | LANG | LANGUAGE | LC_\w+
    | (ASAN|LSAN|UBSAN|TSAN)_OPTIONS | PYTHONDONTWRITEBYTECODE
    | GPUSLICE_(BUILD|SOURCE|TOOLS|SANITIZER_PRELOAD)
    ''', re.X)


def clean(**more):
    return {**{name: value for name, value in os.environ.items() if PASSED.fullmatch(name)}, **more}


def without_options(agent):
    """Our environment without the variables that this agent reads, for programs that need all the rest of it."""
    try:
        text = subprocess.run([agent, '--help'], capture_output=True, text=True, check=True, env=clean()).stdout
    except (OSError, subprocess.CalledProcessError):
        text = ''  # of another processor
    return {name: value for name, value in os.environ.items() if name not in options_of(text)}


def options_of(help_text):
    """The variables in the agent's help: [NAME, NAME] behind a flag, NAME=TEXT without one."""
    text = re.sub(r'\s+', ' ', help_text)
    listed = {name for names in re.findall(r'\[([A-Z_]+(?:, [A-Z_]+)*)\]', text) for name in names.split(', ')}
    return listed | set(re.findall(r' ([A-Z_]+)=TEXT', text))
