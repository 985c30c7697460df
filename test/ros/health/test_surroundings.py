"""The access policy and the RViz and Foxglove layouts match the topics of the node."""

from __future__ import annotations

import importlib.util
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from camera import TIMEOUT_S
from rclpy.node import Node

from dgss_ros.client.session import wait_until

pytestmark = pytest.mark.ros
CONFIG = Path(__file__).parents[3] / 'config'
KINDS = ('publish', 'subscribe', 'reply', 'request')
Graph = set[tuple[str, str]]
"""(kind, name) of each topic or service that a node may use or uses."""


def policy() -> Graph:
    """Return what config/sros2/policy.xml allows, with ~ expanded."""
    (profile,) = ElementTree.parse(CONFIG / 'sros2' / 'policy.xml').iter('profile')
    assert (profile.get('ns'), profile.get('node')) == ('/', 'dgss')
    return {
        (kind, (name.text or '').replace('~', '/dgss'))
        for group in profile
        for kind in KINDS
        if group.get(kind) == 'ALLOW'
        for name in group
    }


def graph(ros: Node) -> Graph:
    """Return what the node /dgss uses; empty while it is not discovered."""
    if ('dgss', '/') not in ros.get_node_names_and_namespaces():
        return set()
    queries = {
        'publish': ros.get_publisher_names_and_types_by_node,
        'subscribe': ros.get_subscriber_names_and_types_by_node,
        'reply': ros.get_service_names_and_types_by_node,
        'request': ros.get_client_names_and_types_by_node,
    }
    return {(kind, name) for kind, query in queries.items() for name, _ in query('dgss', '/')}


@pytest.fixture
def graphs(start_node, ros: Node, probe_bundle: Path) -> Graph:
    """Everything that the node uses, with all options that change it."""
    options = ('-p', 'output.size:=network', '-p', 'output.uncertainty:=true')
    found: Graph = set()
    for transport in ('raw', 'compressed'):
        node = start_node(
            *('-r', '~/image:=/camera/image_raw', *options),
            bundle=probe_bundle,
            image_transport=transport,
            use_sim_time=True,
        )
        # Not autostart, which makes no bond with a lifecycle manager.
        node.lifecycle.configure()
        node.lifecycle.activate()
        topic = '/camera/image_raw' + ('/compressed' if transport == 'compressed' else '')
        assert wait_until(lambda t=topic: ('subscribe', t) in graph(ros), TIMEOUT_S)
        time.sleep(0.5)  # its other endpoints are announced a little later
        found |= graph(ros)
        assert node.end(signal.SIGINT) == 0
        assert wait_until(lambda: graph(ros) == set(), TIMEOUT_S)
    return found


def test_the_policy_allows_what_the_node_does_and_nothing_else(graphs: Graph) -> None:
    allowed = policy()
    assert graphs - allowed == set(), 'the policy forbids what the node does'
    unused = allowed - graphs
    if importlib.util.find_spec('vision_msgs') is None:
        unused.discard(('publish', '/dgss/label_info'))
    if importlib.util.find_spec('bondpy') is None:
        unused -= {('publish', '/bond'), ('subscribe', '/bond')}
    assert unused == set(), 'the policy allows what the node does not do'


def test_rviz_and_foxglove_show_what_the_node_publishes() -> None:
    published = {name for kind, name in policy() if kind == 'publish'}
    for topics in (set(rviz_topics()), set(foxglove_topics())):
        assert topics
        assert topics <= published


def rviz_topics() -> Iterator[str]:
    content = yaml.safe_load((CONFIG / 'rviz' / 'segment.rviz').read_text())
    for display in content['Visualization Manager']['Displays']:
        assert display['Class'] == 'rviz_default_plugins/Image'
        assert display['Enabled']
        assert display['Topic']['Reliability Policy'] == 'Reliable'
        yield display['Topic']['Value']


def foxglove_topics() -> Iterator[str]:
    content = json.loads((CONFIG / 'foxglove' / 'segment.json').read_text())
    panels = content['configById']
    assert set(leaves(content['layout'])) == set(panels), 'every panel has its place'
    for panel in panels.values():
        for value in strings(panel):
            if value.startswith('/'):
                yield value.removesuffix('.data')


def leaves(layout: Any) -> Iterator[str]:
    if isinstance(layout, str):
        yield layout
        return
    assert layout['direction'] in ('row', 'column')
    assert 0 < layout['splitPercentage'] < 100
    yield from leaves(layout['first'])
    yield from leaves(layout['second'])


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)
