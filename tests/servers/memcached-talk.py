# SPDX-License-Identifier: MIT
"""memcached-talk.py - dialogues with a memcached in its three protocols; talk.py says how they are run."""
import os
import select
import socket
import struct
import time

from talk import dialogue, main, pattern
from wire import line_end, listed_end, replies


def store(verb, key, value, tail=''):
	return f'{verb} {key} 5 0 {len(value)}{tail}\r\n'.encode() + value + b'\r\n'


def lines(n, end=line_end):
	return replies(n, end)


def ask(c, text, end=line_end):
	return c.send(text if isinstance(text, bytes) else text + '\r\n').read(lines(1, end))


def bye(c):
	c.send('quit\r\n').eof()


SIZES = (0, 1, 100, 1000, 16384, 65536, 300000, 900 * 1024)


@dialogue
def text(t):
	c, k = t.open('c'), t.key
	for n in SIZES:
		ask(c, store('set', k(f'v{n}'), pattern(n, n)))
		ask(c, 'get ' + k(f'v{n}'), listed_end)
	ask(c, ' '.join(['get'] + [k(f'v{n}') for n in SIZES] + [k('none')]), listed_end)
	ask(c, store('add', k('v1'), b'x'))
	ask(c, store('replace', k('none'), b'x'))
	ask(c, store('append', k('v1'), b'abc'))
	ask(c, store('prepend', k('v1'), b'xyz'))
	ask(c, 'get ' + k('v1'), listed_end)
	ask(c, store('set', k('n'), b'10'))
	for _ in range(20):
		ask(c, f'incr {k("n")} 7')
	ask(c, f'decr {k("n")} 1000')
	ask(c, f'incr {k("v0")} 1')
	ask(c, f'gat 1000 {k("v100")} {k("v1")} {k("none")}', listed_end)
	ask(c, f'touch {k("v1")} 1000')
	ask(c, f'delete {k("v1")}')
	ask(c, f'delete {k("v1")}')
	c.send(store('set', k('quiet'), b'1', ' noreply'))
	ask(c, 'get ' + k('quiet'), listed_end)
	ask(c, 'verbosity 0')
	ask(c, 'version')
	bye(c)


@dialogue
def cas(t):
	c, d, k = t.open('c'), t.open('d'), t.key
	ask(c, store('set', k('a'), b'one'))
	unique = c.secret(f'gets {k("a")}\r\n', lines(1, listed_end)).split()[4].decode()
	ask(c, store('cas', k('a'), b'two', f' {unique}'))
	ask(d, store('cas', k('a'), b'three', f' {unique}'))
	ask(d, store('cas', k('none'), b'x', f' {unique}'))
	ask(d, 'get ' + k('a'), listed_end)
	bye(c)
	bye(d)


@dialogue
def meta(t):
	c, k = t.open('c'), t.key
	for n in (0, 10, 5000, 200000):
		value = pattern(n, n)
		ask(c, f'ms {k("m")} {n} T1000 F3\r\n'.encode() + value + b'\r\n')
		ask(c, f'mg {k("m")} v s f k')
		ask(c, f'mg {k("m")} s')
	ask(c, f'mg {k("none")} v')
	ask(c, f'ma {k("count")} N0 J13 v')
	ask(c, f'ma {k("count")} D3 v')
	c.send(f'mg {k("none")} v q\r\nmg {k("m")} s q\r\nmd {k("m")} q\r\nmd {k("m")}\r\nmn\r\n').until(b'MN\r\n')
	bye(c)


def packet(op, key=b'', extras=b'', value=b'', opaque=7):
	return struct.pack('>BBHBBHIIQ', 0x80, op, len(key), len(extras), 0, 0, len(key) + len(extras) + len(value), opaque, 0) + extras + key + value


def packets(n):
	def enough(b):
		at = 0
		for _ in range(n):
			if len(b) < at + 24:
				return None
			at += 24 + struct.unpack_from('>I', b, at + 8)[0]
		return at if len(b) >= at else None
	return enough


def binary_ask(c, data, n=1):
	"""The unique number of an item is overwritten: it depends on what others do."""
	begin = c.seen
	c.send(data).read(packets(n))
	for _ in range(n):
		if c.seen < begin + 24:
			break
		c.got[begin + 16:begin + 24] = b'uniqueno'
		begin += 24 + struct.unpack_from('>I', c.got, begin + 8)[0]


@dialogue
def binary(t):
	c, k = t.open('c'), lambda name: t.key(name).encode()
	for n in SIZES:
		binary_ask(c, packet(1, k(f'b{n}'), struct.pack('>II', 5, 0), pattern(n, n)))
		binary_ask(c, packet(0, k(f'b{n}')))
	binary_ask(c, packet(0, k('none')))
	binary_ask(c, packet(5, k('n'), struct.pack('>QQI', 3, 100, 0)))
	binary_ask(c, packet(5, k('n'), struct.pack('>QQI', 3, 100, 0)))
	# Quiet gets, of which a miss says nothing, and a no-op that ends them.
	binary_ask(c, b''.join(packet(9, k(f'b{n}')) for n in SIZES) + packet(9, k('none')) + packet(10), len(SIZES) + 1)
	binary_ask(c, packet(4, k('b1')))
	binary_ask(c, packet(0x77))
	c.send(packet(7)).eof()


@dialogue
def pipelined(t):
	c, k = t.open('c'), t.key
	n = 400
	c.send(b''.join(store('set', k(i % 40), pattern(i * 9, i)) + f'get {k((i * 3) % 40)}\r\n'.encode() for i in range(n)))
	for i in range(n):
		c.read(lines(1))
		c.read(lines(1, listed_end))
	c.send(f'incr {k("x")} 1\r\n' * 2000).read(lines(2000))
	many = ' '.join(k(i % 40) for i in range(200))
	for _ in range(5):
		ask(c, 'get ' + many, listed_end)
	c.send('version\r\n' * 100 + 'quit\r\n' + 'version\r\n').eof()


@dialogue
def bytewise(t):
	c, k = t.open('c'), t.key
	c.send(store('set', k('a'), b'some value') + f'get {k("a")}\r\n'.encode(), piece=1).read(lines(1))
	c.read(lines(1, listed_end))
	c.send(store('set', k('b'), pattern(5000, 'b')) + f'get {k("b")}\r\n'.encode(), piece=333).read(lines(1))
	c.read(lines(1, listed_end))
	bye(c)


@dialogue
def errors(t):
	c, k = t.open('c'), t.key
	ask(c, 'nonsense')
	ask(c, 'get ' + 'k' * 300, listed_end)
	ask(c, f'incr {k("none")} x')
	ask(c, f'set {k("a")} 0 0 -1')
	c.send(f'set {k("big")} 0 0 3000000\r\n'.encode() + b'x' * 3000000 + b'\r\n').read(lines(1))
	ask(c, 'get ' + k('big'), listed_end)
	c.send(f'set {k("bad")} 0 0 3\r\ntoo long\r\nversion\r\n').until(b'VERSION')
	c.send(b'\r\nquit\r\n').eof()
	c = t.open('long')
	c.send(b'x' * 5000).eof()
	t.open('none').close()


@dialogue
def half_close(t):
	c, k = t.open('c'), t.key
	c.send(store('set', k('v'), pattern(300000, 1)) + b'version\r\n').read(lines(2))
	c.shut().eof()


@dialogue
def slow(t):
	k, w = t.key, t.open('w')
	ask(w, store('set', k('big'), pattern(900000, 'big')))
	ask(w, store('set', k('mid'), pattern(20000, 'mid')))
	c = t.open('c', rcvbuf=2304)
	c.stalled = True
	c.send(f'get {k("big")}\r\n' + f'get {k("mid")}\r\nversion\r\n' * 10)
	time.sleep(0.1)
	c.stalled = False
	c.slow(300000, 9000, 0.001)
	c.read(lines(1, listed_end))
	for _ in range(10):
		c.read(lines(1, listed_end))
		c.read(lines(1))
	bye(c)
	c = t.open('d', rcvbuf=2304)
	c.stalled = True
	for _ in range(60):
		c.send(f'get {k("mid")}\r\n')
		time.sleep(0.001)
	c.stalled = False
	for _ in range(60):
		c.read(lines(1, listed_end))
	bye(c)
	bye(w)


@dialogue
def aborts(t):
	k, w = t.key, t.open('w')
	ask(w, store('set', k('big'), pattern(900000, 'big')))
	for i, n in enumerate((0, 1, 70000)):
		c = t.open(f'c{i}', rcvbuf=4096)
		c.send(f'get {k("big")}\r\n' * 3)
		c.read(lambda b, n=n: n if len(b) >= n else None, most=max(n, 1))
		del c.got[n:]
		c.seen = n
		c.reset()
		ask(w, f'touch {k("big")} 1000')
	c = t.open('half-set')
	c.send(f'set {k("cut")} 0 0 5000\r\nabc')
	c.reset()
	ask(w, 'get ' + k('cut'), listed_end)
	bye(w)


@dialogue
def crowd(t):
	"""More clients than the limit: who comes too late is told so, until another leaves."""
	conns = []
	for i in range(45):
		conns.append(t.open(f'c{i}'))
		ask(conns[-1], 'version')
	for c in conns:
		if not c.end:
			bye(c)


@dialogue
def queue(t):
	"""More clients than the limit: who comes too late waits until another leaves."""
	conns = []
	while True:
		assert len(conns) < 60
		c = t.open(f'c{len(conns)}')
		c.send('version\r\n')
		if not select.select([c.sock], [], [], 0.5 if len(conns) > 20 else 20)[0]:
			break
		c.read(lines(1))
		conns.append(c)
	bye(conns.pop(3))
	c.read(lines(1))
	bye(c)
	for c in conns:
		bye(c)


queue.special = True
crowd.special = True


@dialogue
def datagrams(t):
	port = int(os.environ['UDP_PORT'])
	c, k = t.open('c'), t.key
	ask(c, store('set', k('u'), pattern(3000, 'u')))
	said = []
	with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
		s.settimeout(10)
		for i, text in enumerate((f'get {k("u")}\r\n', 'version\r\n', f'get {k("none")}\r\n', f'incr {k("none")} 1\r\n') * 5):
			s.sendto(struct.pack('>HHHH', i, 0, 1, 0) + text.encode(), ('127.0.0.1', port))
			n = 1
			while n:
				data = s.recv(70000)
				said.append(data)
				n = struct.unpack_from('>H', data, 4)[0] - struct.unpack_from('>H', data, 2)[0] - 1
	t.note('datagrams', said)
	bye(c)


datagrams.special = True
main()
