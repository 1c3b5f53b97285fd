# SPDX-License-Identifier: Apache-2.0
"""List and watch through everything a server, or what stands in between, may do."""
import json
import threading
import time

import pytest

from apiserver import END, PATH, event, status


def is_watch(request):
    return request.is_watch


def is_list(request):
    return not request.is_watch


def world(probe):
    """The objects that exist according to the probe's lines."""
    things, unseen = {}, set()
    for line in probe.lines:
        if line.get('event') == 'relist':
            unseen = set(things)
        elif line.get('event') in ('ADDED', 'MODIFIED'):
            things[line['name']] = line['version']
            unseen.discard(line['name'])
        elif line.get('event') == 'DELETED':
            things.pop(line['name'], None)
        elif line.get('event') == 'synced':
            for name in unseen:
                things.pop(name, None)
            unseen = set()
    return things


def truth(server):
    return {name: thing['metadata']['resourceVersion'] for name, thing in server.objects.items()}


def check_same_world(probe, server):
    server.set('last')
    probe.next(name='last', version=str(server.version))
    assert world(probe) == truth(server)


def test_sees_what_is_there_comes_changes_and_goes(probe, server):
    server.set('old')
    probe.say('watch', PATH, 'labelSelector=a%3Db')
    probe.next(event='relist')
    probe.next(event='ADDED', name='old')
    probe.next(event='synced')
    server.set('new')
    probe.next(event='ADDED', name='new')
    server.set('new')
    probe.next(event='MODIFIED', name='new')
    server.delete('old')
    probe.next(event='DELETED', name='old')
    assert probe.reasons() == []
    first, second = server.requests
    assert first.query == {'limit': '500', 'labelSelector': 'a=b'}
    assert second.query['labelSelector'] == 'a=b' and second.query['resourceVersion'] == '101'
    assert second.query['allowWatchBookmarks'] == 'true'
    assert 240 <= int(second.query['timeoutSeconds']) <= 360
    assert second.headers['Accept'] == 'application/json'
    assert second.headers['User-Agent'].startswith('kube-probe/')


def test_a_list_comes_in_pages(probe, server):
    server.fill(1203)
    probe.say('watch', PATH)
    probe.next(event='synced')
    assert world(probe) == truth(server)
    assert [len(probe.events(e)) for e in ('relist', 'ADDED', 'synced')] == [1, 1203, 1]
    pages = [r.query.get('continue') for r in server.requests if not r.is_watch]
    assert pages == [None, server.page_token.format(500), server.page_token.format(1000)]


def test_an_empty_collection_is_synced_too(probe):
    probe.say('watch', PATH)
    probe.next(event='synced')


@pytest.mark.parametrize('in_pages', [True, False])
def test_memory_does_not_grow_with_the_number_of_objects(start, server, pod, in_pages):
    """Objects of 2 KB: 2 MB of them, then 40 MB, also where a server ignores the limit."""
    peaks = []
    server.pad = 'x' * 1900
    for count in (1000, 20000):
        server.fill(count)
        if not in_pages:
            server.fault(is_list, lambda request: (request.query.pop('limit'), server.serve_list(request)))
        probe = start(['--pod-folder', pod], {'KUBERNETES_SERVICE_HOST': '127.0.0.1',
                                              'KUBERNETES_SERVICE_PORT': str(server.port)})
        probe.say('watch', PATH)
        probe.next(event='synced')
        assert len(probe.events('ADDED')) == count
        peaks.append(probe.peak_kb())
    assert peaks[1] - peaks[0] < 2048, peaks


def test_torn_writes(probe, server):
    server.step = 7
    server.fill(30)
    probe.say('watch', PATH)
    probe.next(event='synced')
    server.set('new \N{SNOWMAN} "}]\\')
    probe.next(event='ADDED', name='new \N{SNOWMAN} "}]\\')
    check_same_world(probe, server)
    assert probe.reasons() == []


def test_several_events_in_one_write(watching, server):
    lines = b''.join(event('ADDED', {'metadata': {'name': f'n{i}', 'resourceVersion': str(200 + i)}})
                     for i in range(100))
    server.order(lines)
    watching.next(event='ADDED', name='n99')
    assert len(watching.events('ADDED')) == 100


def test_a_watch_that_ended_goes_on_where_it_was(watching, server):
    server.set('a')
    watching.next(name='a')
    seen = server.version
    server.fault(is_watch, lambda request: (server.set('meanwhile'), server.serve_watch(request)))
    server.order(END)
    watching.next(event='ADDED', name='meanwhile')
    again = server.await_requests(2, is_watch)[1]
    assert again.query['resourceVersion'] == str(seen)
    check_same_world(watching, server)
    assert len(watching.events('relist')) == 1 and watching.reasons() == []


def test_a_bookmark_moves_the_place_to_go_on_from(watching, server):
    version = server.bookmark()
    server.order(END)
    again = server.await_requests(2, is_watch)[1]
    assert again.query['resourceVersion'] == str(version)
    server.set('x')
    watching.next(event='ADDED', name='x')
    assert len(watching.lines) == 3  # relist, synced, ADDED: a bookmark is no event


def test_watches_that_end_at_once_are_no_hot_loop(probe, server):
    def end_at_once(request):
        request.begin()
        request.end()
    server.fault(is_watch, end_at_once, stays=True)
    began = time.monotonic()
    probe.say('watch', PATH)
    server.await_requests(5, is_watch)
    assert time.monotonic() - began > 0.3  # the four waits between them are 3.75 s on average
    server.heal()
    check_same_world(probe, server)
    assert len(probe.events('relist')) == 1


def gone_by_http(server):
    server.fault(is_watch, lambda request: request.reply(410, status(410, 'Expired', 'too old')))
    server.order(END)


def gone_by_event(server):
    server.order(event('ERROR', status(410, 'Expired', 'too old resource version')))


@pytest.mark.parametrize('expire', [gone_by_http, gone_by_event])
def test_gone_means_listing_anew(watching, server, expire):
    server.set('stays')
    server.set('goes')
    watching.next(name='goes')
    server.fault(is_list, lambda request: (server.delete('goes'), server.serve_list(request)))
    expire(server)
    watching.next(event='relist')
    watching.next(event='ADDED', name='stays')
    watching.next(event='synced')
    check_same_world(watching, server)
    assert watching.reasons() == []


def test_a_page_that_expired_means_a_list_in_one_answer(probe, server):
    server.fill(700)
    server.fault(lambda request: 'continue' in request.query,
                 lambda request: request.reply(410, status(410, 'Expired', 'The provided continue '
                                                           'parameter is too old')))
    probe.say('watch', PATH)
    probe.next(event='synced')
    lists = server.await_requests(3, is_list)
    assert 'limit' not in lists[2].query and 'continue' not in lists[2].query
    assert len(probe.events('relist')) == 2
    check_same_world(probe, server)


@pytest.mark.parametrize('half', [b'', b'{"type":"ADDED","object":{"metadata":{"na'])
def test_a_connection_reset_within_an_event(watching, server, half):
    server.set('a')
    watching.next(name='a')
    if half:
        server.order(half)
    server.order(lambda request: request.reset())
    server.await_requests(2, is_watch)
    check_same_world(watching, server)
    assert len(watching.events('relist')) == 1 and watching.reasons() == []


def test_an_answer_that_ends_within_an_event(watching, server):
    server.order(b'{"type":"ADDED","object":{"metadata":')
    server.order(END)
    server.await_requests(2, is_watch)
    check_same_world(watching, server)
    assert watching.reasons() == []


def test_a_reset_within_a_list(probe, server):
    was_seen = threading.Event()

    def half(request):
        request.begin()
        request.piece(b'{"items":[{"metadata":{"name":"half","resourceVersion":"1"}},{"meta')
        was_seen.wait(30)
        request.reset()
    server.set('whole')
    server.fault(is_list, half)
    probe.say('watch', PATH)
    probe.next(name='half')
    was_seen.set()
    probe.next(event='synced')
    assert world(probe) == truth(server)  # "half" was not in the list that was complete
    assert len(probe.events('relist')) == 2


def garbage(request):
    request.begin()
    request.piece(b'\x00\xff<<<not json>>>')
    request.end()


def wrong_types(request):
    request.reply(200, {'metadata': {'resourceVersion': 7}, 'items': []})


def html(request):
    request.reply(200, b'<html>Welcome to the hotel</html>')


@pytest.mark.parametrize('answer', [garbage, wrong_types, html])
def test_a_list_that_makes_no_sense(probe, server, answer):
    server.set('a')
    server.fault(is_list, answer)
    probe.say('watch', PATH)
    probe.next(event='trouble')
    probe.next(event='trouble', reason=None)
    check_same_world(probe, server)


@pytest.mark.parametrize('line', [
    b'garbage\n', b'{"type":"ADDED"}\n', b'{"type":"ADDED","object":[]}\n', b'{"type":7,"object":{}}\n',
    b'{"type":"ADDED","object":{"metadata":{}}}\n', b'{"type":"EXPLODED","object":{"metadata":'
    b'{"resourceVersion":"200"}}}\n', b'[]\n', b'{"type":"ADDED","object":{"a":}}\n'])
def test_events_that_make_no_sense_mean_listing_anew(watching, server, line):
    server.set('a')
    server.order(line)
    watching.next(event='trouble')
    watching.next(event='synced')
    server.await_watches()
    check_same_world(watching, server)
    assert len(watching.events('relist')) == 2
    reasons = watching.reasons()
    assert len(reasons) == 2 and reasons[1] is None and PATH in reasons[0], reasons


def test_a_proxy_that_answers_for_the_server(probe, server):
    server.fault(is_list, lambda request: request.reply(502, b'<html>\n<h1>Bad Gateway</h1></html>'))
    probe.say('watch', PATH)
    assert probe.next(event='trouble')['reason'] == \
        f'GET {PATH}: the response is HTTP 502: <html> <h1>Bad Gateway</h1></html>'
    probe.next(event='synced')
    probe.next(event='trouble', reason=None)
    assert len(probe.reasons()) == 2


def test_waits_as_long_as_the_server_asks(probe, server):
    times = []

    def too_many(request):
        times.append(time.monotonic())
        request.reply(429, status(429, 'TooManyRequests', 'slow down'), Retry_After=1)
    server.fault(is_list, too_many)
    probe.say('watch', PATH)
    assert 'slow down' in probe.next(event='trouble')['reason']
    probe.next(event='synced')
    assert time.monotonic() - times[0] >= 1


@pytest.mark.parametrize('code,reason,words', [
    (403, 'Forbidden', ['GET /api/v1/things', 'RBAC', 'cannot list']),
    (401, 'Unauthorized', ['GET /api/v1/things', 'token', '401'])])
def test_what_may_not_be_seen_is_said_once(probe, server, code, reason, words):
    server.fault(is_list, lambda request: request.reply(code, status(code, reason, 'x cannot list things')),
                 stays=True)
    probe.say('watch', PATH)
    said = probe.next(event='trouble')['reason']
    assert all(word in said for word in words), said
    server.await_requests(3)
    server.heal()
    probe.next(event='synced')
    probe.next(event='trouble', reason=None)
    assert probe.reasons() == [said, None]


def test_other_errors_of_a_watch_are_tried_again_before_a_list(watching, server):
    server.set('a')
    watching.next(name='a')
    server.fault(is_watch, lambda request: request.reply(500, status(500, 'InternalError', 'no leader')))
    server.order(event('ERROR', status(500, 'InternalError', 'etcdserver: leader changed')))
    assert 'leader changed' in watching.next(event='trouble')['reason']
    assert 'no leader' in watching.next(event='trouble')['reason']
    server.await_watches()
    check_same_world(watching, server)
    assert watching.reasons()[2:] == [None]
    assert len(watching.events('relist')) == 1


def test_a_version_the_server_never_had(watching, server):
    """After an etcd was restored from a copy, versions are lower than those already seen."""
    server.set('a')
    watching.next(name='a')
    old = str(server.version)
    server.fault(lambda request: request.query.get('resourceVersion') == old,
                 lambda request: request.reply(504, status(504, 'Timeout', 'Too large resource version')),
                 stays=True)
    server.set('b')
    watching.next(name='b')
    server.faults[0] = (lambda request: request.query.get('resourceVersion') == str(server.version),
                        *server.faults[0][1:])
    server.order(END)
    watching.next(event='trouble')
    watching.next(event='relist')
    server.heal()
    watching.next(event='trouble', reason=None)
    check_same_world(watching, server)


def test_a_silent_watch_is_left_for_a_new_connection(start, server, pod):
    probe = start(['--pod-folder', pod, '--idle-ms', '700'],
                  {'KUBERNETES_SERVICE_HOST': '127.0.0.1', 'KUBERNETES_SERVICE_PORT': str(server.port)})
    probe.say('watch', PATH)
    first, second = server.await_requests(2, is_watch)
    assert first.client_address != second.client_address
    check_same_world(probe, server)
    assert len(probe.events('relist')) == 1 and probe.reasons() == []


def test_a_server_that_goes_and_comes(watching, server):
    server.set('a')
    watching.next(name='a')
    server.stop()
    server.set('b')
    said = watching.next(event='trouble')['reason']
    assert 'refused' in said or 'Could' in said or 'connect' in said, said
    server.start()
    watching.next(event='trouble', reason=None)
    check_same_world(watching, server)
    assert len(watching.events('relist')) == 1


def test_breaks_that_no_new_try_cures_are_told_once(watching, server):
    def break_at_once(request):
        request.begin()
        request.reset()
    server.fault(is_watch, break_at_once, stays=True)
    server.order(END)
    watching.next(event='trouble')
    server.await_requests(5, is_watch)
    assert len(watching.reasons()) == 1
    server.heal()
    check_same_world(watching, server)
    assert watching.reasons()[1:] == [None]


@pytest.mark.parametrize('in_list', [True, False])
def test_an_object_above_the_bound_is_named_as_the_reason(watching, server, in_list):
    server.pad = 'x' * (5 << 20)
    if in_list:
        server.fault(is_watch, lambda request: request.reply(410, status(410, 'Expired', 'gone')))
        server.order(END)
        server.await_requests(2, is_watch)
    server.set('monster')
    said = watching.next(event='trouble')['reason']
    assert '4 MiB' in said and PATH in said
    server.pad = ''
    server.set('monster')
    watching.next(event='trouble', reason=None)
    check_same_world(watching, server)


def test_a_watch_may_be_freed_from_within_its_events(probe, server):
    server.set('a')
    server.set('b')
    server.set('c')
    probe.say('unwatch-at', 'b')
    probe.say('watch', PATH)
    probe.next(event='ADDED', name='b')
    assert probe.ask('get', PATH)['status'] == 200
    assert not probe.events('synced') and len(probe.events('ADDED')) == 2
    probe.say('watch', PATH)
    probe.next(event='ADDED', name='b')
    probe.say('unwatch-at', 'd')
    probe.say('watch', PATH)
    probe.next(event='synced')
    server.await_watches()
    server.set('d')
    probe.next(event='ADDED', name='d')
    server.set('e')
    probe.say('unwatch')
    probe.next(event='unwatched')
    assert not [line for line in probe.lines if line.get('name') == 'e']


def test_all_over_one_connection_while_nothing_is_wrong(watching, server):
    """HTTP/1.1 needs a second one beside a watch; nothing more."""
    for _ in range(5):
        assert watching.ask('get', PATH)['status'] == 200
    assert len({request.client_address for request in server.requests}) <= 2


def test_events_are_valid_json_for_the_caller_only(watching, server):
    """A line may be as large as the bound allows."""
    server.pad = 'x' * (3 << 20)
    server.set('large')
    assert watching.next(event='ADDED', name='large')['size'] > 3 << 20
    assert json.dumps(watching.reasons()) == '[]'
