# SPDX-License-Identifier: MIT
"""
http-talk.py - dialogues with a web server over plain connections or TLS, with bodies in both directions; talk.py says how they are run.

The environment variable HTTP_UP says how the server takes bodies: "put" stores PUT /up/NAME, to be fetched again; "echo" answers POST /echo
with the body. HTTP_PREFIX goes before each path.
"""
import os
import time

from talk import dialogue, main, pattern
from wire import answers

UP = os.environ.get('HTTP_UP', '')
PREFIX = os.environ.get('HTTP_PREFIX', '')
# nginx gives it to the file, whose Last-Modified and ETag are then the same in each run.
DATED = ['Date: Sun, 02 Feb 2020 02:02:02 GMT']


def request(method, path, body=None, *fields):
	lines = [f'{method} {PREFIX}{path} HTTP/1.1', 'Host: t', 'X-Id: talk', *fields]
	if body is not None:
		lines.append(f'Content-Length: {len(body)}')
	return '\r\n'.join(lines).encode() + b'\r\n\r\n' + (body or b'')


def get(c, *paths, piece=None):
	c.send(b''.join(request('GET', p) for p in paths), piece).read(answers(*[False] * len(paths)))


def last(c, path='/1'):
	c.send(request('GET', path, None, 'Connection: close')).eof()


def up(c, name, body, piece=None, chunked=0, expect=False):
	"""Send a body and see that it arrived."""
	method, path = ('PUT', f'/up/{name}') if UP == 'put' else ('POST', '/echo')
	if chunked:
		parts = [body[i:i + chunked] for i in range(0, len(body), chunked)] + [b'']
		data = request(method, path, None, 'Transfer-Encoding: chunked', *DATED) + b''.join(b'%x\r\n%s\r\n' % (len(p), p) for p in parts)
	elif expect:
		c.send(request(method, path, None, f'Content-Length: {len(body)}', 'Expect: 100-continue', *DATED))
		c.until(b'\r\n\r\n')
		data = body
	else:
		data = request(method, path, body, *DATED)
	c.send(data, piece).read(answers(False))
	if UP == 'put':
		get(c, path)


@dialogue
def fetch(t):
	c = t.open('c')
	get(c, '/1k')
	get(c, '/20k')
	get(c, '/64k')
	get(c, '/1m')
	get(c, '/none')
	c.send(request('HEAD', '/20k')).read(answers(True))
	c.send(request('GET', '/20k', None, 'Range: bytes=5-16500')).read(answers(False))
	get(c, '/1k', piece=1)
	last(c)


@dialogue
def pipeline(t):
	c = t.open('c')
	get(c, *['/1k'] * 20)
	get(c, '/1', '/20k', '/none', '/64k', '/1k', '/0', '/16k')
	get(c, '/20k', '/1m', '/1', piece=7)
	c.send(request('GET', '/20k') + request('GET', '/1k', None, 'Connection: close') + request('GET', '/1')).eof()


@dialogue
def slow(t):
	c = t.open('c', rcvbuf=2304)
	c.stalled = True
	c.send(request('GET', '/1m') + request('GET', '/20k') + request('GET', '/1'))
	time.sleep(0.1)
	c.stalled = False
	c.slow(200000, 5000, 0.001).read(answers(False, False, False))
	last(c, '/64k')


@dialogue
def half_close(t):
	t.open('c').send(request('GET', '/20k', None, 'Connection: close')).eof()
	c = t.open('d')
	get(c, '/1k')
	if not c.end and not c.talk.address.startswith('tls:'):
		c.shut().eof()


@dialogue
def aborts(t):
	for i, n in enumerate((0, 1, 5000, 100000)):
		c = t.open(f'c{i}', rcvbuf=4096)
		c.send(request('GET', '/5m') + request('GET', '/1k'))
		while len(c.got) < n and not c.end:
			if not c.pull(min(4096, n - len(c.got))) and not c.end:
				c.wait()
		c.reset()
	last(t.open('after'))


if UP:
	@dialogue
	def upload(t):
		c = t.open('c')
		for n in (0, 1, 1000, 16384, 20001, 300000, 2000000):
			up(c, t.key(f'n{n}'), pattern(n, n))
		up(c, t.key('byte'), pattern(500, 'b'), piece=1)
		up(c, t.key('piece'), pattern(60000, 'p'), piece=1999)
		up(c, t.key('expect'), pattern(30000, 'e'), expect=True)
		last(c)

	@dialogue
	def upload_chunked(t):
		c = t.open('c')
		up(c, t.key('a'), pattern(50, 'a'), chunked=7)
		up(c, t.key('b'), pattern(400000, 'b'), chunked=9000)
		up(c, t.key('c'), pattern(3000, 'c'), chunked=100, piece=11)
		last(c)

	@dialogue
	def upload_broken(t):
		for i, n in enumerate((0, 1, 50000)):
			c = t.open(f'c{i}')
			data = request('PUT' if UP == 'put' else 'POST', f'/up/{t.key(f"x{i}")}' if UP == 'put' else '/echo', pattern(200000, 'x'))
			c.send(data[:len(data) - 200000 + n])
			time.sleep(0.02)
			# What an echo has sent by now is a matter of time.
			c.got = bytearray()
			c.reset()
		c = t.open('after')
		for i in range(3 if UP == 'put' else 0):
			get(c, f'/up/{t.key(f"x{i}")}')
		last(c)

main()
