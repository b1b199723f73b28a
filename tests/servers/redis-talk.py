# SPDX-License-Identifier: MIT
"""redis-talk.py - dialogues with a Redis; talk.py says how they are run."""
import re
import time

from talk import dialogue, main, pattern
from wire import cmd, replies


def ask(c, *words):
	return c.send(cmd(*words)).read(replies(1))


def bye(c):
	c.send(cmd('QUIT')).eof()


@dialogue
def strings(t):
	c, k = t.open('c'), t.key
	for n in (0, 1, 100, 1000, 16383, 16384, 16385, 65536, 1048576):
		ask(c, 'SET', k(f'v{n}'), pattern(n, n))
		ask(c, 'GET', k(f'v{n}'))
	for _ in range(20):
		ask(c, 'INCR', k('n'))
	ask(c, 'APPEND', k('n'), 'x')
	ask(c, 'INCR', k('n'))
	ask(c, 'MGET', k('v1'), k('none'), k('v1000'))
	ask(c, 'GETRANGE', k('v65536'), 5, 40000)
	ask(c, 'DEL', k('v1048576'), k('none'))
	ask(c, 'GET')
	ask(c, 'NONSENSE', 'x')
	bye(c)


@dialogue
def structures(t):
	c, k = t.open('c'), t.key
	for i in range(0, 600, 50):
		ask(c, 'RPUSH', k('l'), *[f'item-{j}' for j in range(i, i + 50)])
	for stop in (0, 10, 100, 599, -1):
		ask(c, 'LRANGE', k('l'), 0, stop)
	ask(c, 'ZADD', k('z'), *[x for i in range(100) for x in (i, f'm{i}')])
	ask(c, 'ZRANGE', k('z'), 0, -1, 'WITHSCORES')
	ask(c, 'HSET', k('h'), *[x for i in range(100) for x in (f'f{i}', i)])
	ask(c, 'HMGET', k('h'), 'f1', 'f99', 'none')
	ask(c, 'XADD', k('x'), '1-1', 'a', 'b')
	ask(c, 'XRANGE', k('x'), '-', '+')
	bye(c)


@dialogue
def pipelined(t):
	c, k = t.open('c'), t.key
	n = 500
	c.send(b''.join(cmd('SET', k(i % 50), pattern(i * 7, i)) + cmd('GET', k((i * 3) % 50)) for i in range(n))).read(replies(2 * n))
	c.send(b''.join(cmd('INCR', k('n')) for _ in range(3000))).read(replies(3000))
	c.send(b''.join(cmd('PING', i) for i in range(200)) + cmd('QUIT') + cmd('PING', 'after')).eof()


@dialogue
def bytewise(t):
	c, k = t.open('c'), t.key
	c.send(cmd('SET', k('a'), 'some value') + cmd('GET', k('a')) + b'PING inline\r\n', piece=1).read(replies(3))
	c.send(cmd('SET', k('b'), pattern(5000, 'b')) + cmd('GET', k('b')), piece=333).read(replies(2))
	bye(c)


@dialogue
def transaction(t):
	c, d, k = t.open('c'), t.open('d'), t.key
	for key in 'a', 'b':
		ask(c, 'MULTI')
		ask(c, 'SET', k(key), pattern(3000, key))
		ask(c, 'INCR', k('n'))
		ask(c, 'GET', k(key))
		ask(c, 'EXEC')
	ask(c, 'WATCH', k('n'))
	ask(d, 'INCR', k('n'))
	ask(c, 'MULTI')
	ask(c, 'SET', k('a'), 'lost')
	ask(c, 'EXEC')
	c.send(b''.join([cmd('MULTI')] + [cmd('LPUSH', k('l'), i) for i in range(50)] + [cmd('EXEC'), cmd('LRANGE', k('l'), 0, -1)])).read(replies(53))
	ask(c, 'MULTI')
	ask(c, 'BAD')
	ask(c, 'EXEC')
	bye(c)
	bye(d)


@dialogue
def script(t):
	c, k = t.open('c'), t.key
	for n in 1, 10, 300:
		ask(c, 'EVAL', "for i = 1, ARGV[1] do redis.call('RPUSH', KEYS[1], i * i) end return redis.call('LRANGE', KEYS[1], 0, -1)", 1, k('l'), n)
	ask(c, 'EVAL', "return string.rep(ARGV[1], 30000)", 0, '0123456789')
	ask(c, 'EVAL', "return redis.error_reply('MY no')", 0)
	ask(c, 'EVAL', "nonsense(", 0)
	bye(c)


@dialogue
def pubsub(t):
	subs, pub, k = [t.open(f's{i}') for i in range(5)], t.open('p'), t.key
	for i, s in enumerate(subs):
		ask(s, 'SUBSCRIBE', k('ch'))
		if i % 2:
			ask(s, 'PSUBSCRIBE', k('c*'))
	for i in range(50):
		ask(pub, 'PUBLISH', k('ch'), pattern(i * 100, i))
	pub.send(b''.join(cmd('PUBLISH', k('ch'), i) for i in range(200))).read(replies(200))
	for i, s in enumerate(subs):
		s.read(replies(250 * (1 + i % 2)))
		ask(s, 'UNSUBSCRIBE', k('ch'))
		bye(s)
	bye(pub)


def ident(c):
	return c.secret(cmd('CLIENT', 'ID'), replies(1)).decode()[1:-2]


def blocked(b, client):
	"""Wait until Redis says that this client is."""
	for _ in range(1000):
		if re.search(rb' flags=[^ ]*b', b.secret(cmd('CLIENT', 'LIST', 'ID', client), replies(1))):
			return
		time.sleep(0.005)
	raise ValueError('a client that asked to be blocked is not')


@dialogue
def blocking(t):
	a, b, c, k = t.open('a'), t.open('b'), t.open('c'), t.key
	a_id, c_id = ident(a), ident(c)
	for i in range(20):
		a.send(cmd('BLPOP', k('l'), 0))
		if i % 4 == 0:
			time.sleep(0.01)
		ask(b, 'RPUSH', k('l'), pattern(i * 50, i))
		a.read(replies(1))
	a.send(cmd('XREAD', 'COUNT', 1, 'BLOCK', 0, 'STREAMS', k('x'), '0-0'))
	ask(b, 'XADD', k('x'), '1-1', 'f', 'v')
	a.read(replies(1))
	ask(a, 'BLPOP', k('none'), '0.02')
	ask(c, 'BRPOPLPUSH', k('none'), k('dst'), '0.03')
	# One push, pipelined, serves those that wait and leaves the rest.
	a.send(cmd('BLPOP', k('q1'), 0))
	c.send(cmd('BLPOP', k('q2'), 0))
	blocked(b, a_id)
	blocked(b, c_id)
	b.send(cmd('RPUSH', k('q1'), 1, 2, 3) + cmd('RPUSH', k('q2'), 4) + cmd('LRANGE', k('q1'), 0, -1)).read(replies(3))
	a.read(replies(1))
	c.read(replies(1))
	# A client that goes while it waits takes nothing.
	c.send(cmd('BLPOP', k('q3'), 0))
	blocked(b, c_id)
	c.reset()
	while c_id.encode() in b.secret(cmd('CLIENT', 'LIST', 'ID', c_id), replies(1)):
		time.sleep(0.005)
	ask(b, 'RPUSH', k('q3'), 'kept')
	ask(b, 'LPOP', k('q3'))
	bye(a)
	bye(b)


@dialogue
def killed(t):
	a, b = t.open('a'), t.open('b')
	ask(b, 'CLIENT', 'KILL', 'ID', ident(a))
	a.eof()
	b.send(cmd('PING', 'before') + cmd('CLIENT', 'KILL', 'ID', ident(b), 'SKIPME', 'no') + cmd('PING', 'after')).eof()


@dialogue
def protocol(t):
	for i, bad in enumerate((b'*1\r\n%3\r\n', b'*-5\r\n*x\r\n', b'*1\r\n$999999999999\r\n')):
		c = t.open(f'c{i}')
		c.send(cmd('PING', 'x') + bad).eof()
	c = t.open('empty')
	c.send(b'\r\n\r\n*0\r\n').send(cmd('PING')).read(replies(1))
	bye(c)
	t.open('none').close()


@dialogue
def half_close(t):
	c, k = t.open('c'), t.key
	c.send(cmd('SET', k('v'), pattern(300000, 1)) + cmd('PING', 'x')).read(replies(2))
	c.shut().eof()


@dialogue
def slow(t):
	k = t.key
	w = t.open('w')
	ask(w, 'SET', k('big'), pattern(1048576, 'big'))
	ask(w, 'SET', k('mid'), pattern(20000, 'mid'))
	ask(w, 'SET', k('small'), pattern(12000, 'small'))
	c = t.open('c', rcvbuf=2304)
	c.stalled = True
	c.send(cmd('GET', k('big')) + b''.join(cmd('GET', k('mid')) + cmd('INCR', k('n')) for _ in range(10)))
	time.sleep(0.1)
	c.stalled = False
	c.slow(300000, 9000, 0.001)
	c.read(replies(21))
	bye(c)
	c = t.open('d', rcvbuf=2304)
	for _ in range(5):
		c.send(cmd('GET', k('mid')))
		c.slow(15000, 1000, 0.0005).read(replies(1))
	bye(c)
	# Each answer alone, until the socket is full and beyond.
	c = t.open('e', rcvbuf=2304)
	c.stalled = True
	for _ in range(80):
		c.send(cmd('GET', k('small')) + cmd('INCR', k('n')))
		time.sleep(0.001)
	c.stalled = False
	c.read(replies(160))
	bye(c)
	bye(w)


@dialogue
def herd(t):
	"""
	Clients that are all there when Redis comes back from its sleep, and read nothing for long: answered in turns of several
	events, they fill their sockets. So few that the main thread writes to all of them, as it does below two for each I/O thread.
	"""
	k = t.key
	w = t.open('w')
	ask(w, 'SET', k('small'), pattern(12000, 'small'))
	conns = [t.open(f'c{i}', rcvbuf=2304) for i in range(5)]
	for c in conns:
		c.stalled = True
	# Whose request comes first is chance: nothing is written, or the append-only files would differ.
	for i in range(30):
		w.send(cmd('DEBUG', 'SLEEP', '0.01'))
		for c in conns:
			c.send(cmd('GET', k('small')) + cmd('PING', i))
		w.read(replies(1))
	for c in conns:
		c.stalled = False
		c.read(replies(60))
		bye(c)
	bye(w)


@dialogue
def aborts(t):
	k = t.key
	w = t.open('w')
	ask(w, 'SET', k('big'), pattern(1048576, 'big'))
	for i, n in enumerate((0, 1, 70000)):
		c = t.open(f'c{i}', rcvbuf=4096)
		c.send(cmd('GET', k('big')) * 3 + cmd('SET', k(f'set{i}'), 'done'))
		c.read(lambda b, n=n: n if len(b) >= n else None, most=max(n, 1))
		del c.got[n:]
		c.seen = n
		# What it asked is done although its answers find nobody.
		for _ in range(200):
			if w.secret(cmd('EXISTS', k(f'set{i}')), replies(1)) == b':1\r\n':
				break
			time.sleep(0.01)
		c.reset()
		ask(w, 'GET', k(f'set{i}'))
	bye(w)


@dialogue
def limited(t):
	"""More than the hard limit of 8 MiB (the test's configuration) for one that does not read: closed, and what it got is a prefix."""
	k = t.key
	w = t.open('w')
	value = pattern(1048576, 'big')
	ask(w, 'SET', k('big'), value)
	c = t.open('c', rcvbuf=4096)
	c.stalled = True
	c.send(cmd('GET', k('big')) * 64)
	name = c.sock.getsockname()
	listed = 1
	# A unix socket has no name to look for: wait until it is over.
	for _ in range(300):
		if not name:
			break
		listed = b'addr=%s:%d ' % (name[0].encode(), name[1]) in w.secret(cmd('CLIENT', 'LIST'), replies(1))
		if not listed:
			break
		time.sleep(0.01)
	c.stalled = False
	c.eof()
	whole = (b'$1048576\r\n' + value + b'\r\n') * 64
	t.note('limited', f'listed {bool(listed) and bool(name)} prefix {whole.startswith(bytes(c.got))} all {len(c.got) == len(whole)}')
	c.got, c.end = bytearray(), 'as noted'
	ask(w, 'PING', 'still')
	bye(w)


@dialogue
def crowd(t):
	"""With `maxclients 10`: the next ones are told so."""
	conns = [t.open(f'c{i}') for i in range(10)]
	for c in conns:
		ask(c, 'PING', c.name)
	for i in range(3):
		t.open(f'late{i}').eof()
	bye(conns[3])
	c = t.open('last')
	ask(c, 'PING', 'last')
	bye(c)


crowd.special = True


@dialogue
def digest(t):
	c = t.open('c')
	ask(c, 'DBSIZE')
	ask(c, 'DEBUG', 'DIGEST')
	bye(c)


digest.special = True


@dialogue
def saves(t):
	"""Snapshots and rewrites end well."""
	c = t.open('c')

	def settled():
		info = c.secret(cmd('INFO', 'persistence'), replies(1))
		return b'rdb_bgsave_in_progress:0' in info and b'aof_rewrite_in_progress:0' in info and b'aof_rewrite_scheduled:0' in info and info

	for what in ('BGSAVE',), ('BGREWRITEAOF',), ('BGSAVE', 'SCHEDULE'), ('BGREWRITEAOF',):
		for _ in range(1500):
			if settled():
				break
			time.sleep(0.01)
		c.secret(cmd(*what), replies(1))
		time.sleep(0.05)
	for _ in range(1500):
		if settled():
			break
		time.sleep(0.01)
	info = settled().decode()
	t.note('saves', [line for line in info.split('\r\n') if line.split(':')[0] in (
		'rdb_last_bgsave_status', 'aof_last_bgrewrite_status', 'aof_last_write_status')])
	bye(c)


saves.special = True


@dialogue
def replicated(t):
	"""Everything so far has arrived at the replica."""
	c = t.open('c')
	ask(c, 'SET', 'last', 'x')
	ask(c, 'WAIT', 1, 10000)
	bye(c)


replicated.special = True
main()
