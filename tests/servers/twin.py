# SPDX-License-Identifier: MIT
"""
twin.py - a client whose stream goes to two servers at once, and what they send back must be the same bytes as it comes.

	twin.py PROTOCOL A B REQUESTS [SEED]
PROTOCOL: http, redis, memcached or echo. A, B: ports of 127.0.0.1 or paths of unix sockets. Both servers get the same bytes, in pieces that
differ, and are read at paces that differ. At random points, all of them given by SEED, a client stalls, reads slowly through a small window,
sends half of a request and waits, closes one direction, or resets. Prints the seed, what was done and the first difference. Exit status 1 if
there is one, or if a server does not answer within ESCA_TEST_PATIENCE seconds (20). The environment variable HTTP_UP is that of http-talk.py.
"""
import os
import random
import re
import select
import socket
import struct
import sys
import time

from talk import pattern
from wire import answer_end, cmd, line_end, listed_end, one_reply

PATIENCE = float(os.environ.get('ESCA_TEST_PATIENCE', 20))
DATE = re.compile(rb'(\r\n[Dd]ate: )[^\r]{29}')


def http(rng, ident):
	"""A request and the function that finds the end of its answer."""
	path = rng.choice(['0', '1', '1k', '1k', '1k', '16k', '20k', '20k', '64k', 'none'] + ['1m'] * (rng.random() < 0.1))
	up = os.environ.get('HTTP_UP')
	fields, method, body = 'Host: t\r\n', 'GET', b''
	kind = rng.random()
	if kind < 0.1:
		method = 'HEAD'
	elif kind < 0.2:
		fields += f'Range: bytes={rng.randrange(3000)}-{rng.randrange(3000, 20000)}\r\n'
	elif kind < 0.25:
		fields += 'If-Modified-Since: Sun, 02 Feb 2020 02:02:02 GMT\r\n'
	elif kind < 0.45 and up:
		body = pattern(rng.choice([0, 1, 100, 5000, 70000]), ident)
		method, path = ('PUT', f'up/{ident}.{rng.randrange(10 ** 9)}') if up == 'put' else ('POST', 'echo')
		fields += f'Content-Length: {len(body)}\r\n'
	return f'{method} /{path} HTTP/1.1\r\n{fields}\r\n'.encode() + body, lambda b, at: answer_end(b, at, method == 'HEAD')


def redis(rng, ident):
	def key(kind):
		return f'{ident}:{kind}{rng.randrange(5)}'

	n = rng.choice([1, 10, 100, 3000, 20000] + [300000] * (rng.random() < 0.1))
	return rng.choice([
		lambda: cmd('SET', key('s'), pattern(n, ident)),
		lambda: cmd('GET', key('s')),
		lambda: cmd('GET', key('s')),
		lambda: cmd('INCR', key('n')),
		lambda: cmd('APPEND', key('s'), 'more'),
		lambda: cmd('RPUSH', key('l'), *range(n % 97)),
		lambda: cmd('LRANGE', key('l'), 0, -1),
		lambda: cmd('MGET', key('s'), key('s'), key('n')),
		lambda: cmd('EVAL', "return {redis.call('INCR', KEYS[1]), ARGV[1]}", 1, key('n'), pattern(n % 1000, 'e')),
		lambda: cmd('BLPOP', key('l'), '0.01'),
		lambda: cmd('PING', rng.randrange(1000)),
		lambda: b'PING inline\r\n',
	])(), one_reply


def memcached(rng, ident):
	def key(kind=''):
		return f'{ident}:{kind}{rng.randrange(5)}'

	value = pattern(rng.choice([0, 1, 100, 3000, 20000] + [300000] * (rng.random() < 0.1)), ident)
	text, end = rng.choice([
		(lambda: f'set {key()} 5 0 {len(value)}\r\n'.encode() + value + b'\r\n', line_end),
		(lambda: f'add {key()} 0 0 {len(value)}\r\n'.encode() + value + b'\r\n', line_end),
		(lambda: f'append {key()} 0 0 4\r\nmore\r\n'.encode(), line_end),
		(lambda: f'get {key()}\r\n'.encode(), listed_end),
		(lambda: f'get {key()} {key()} {key()} {key("n")}\r\n'.encode(), listed_end),
		(lambda: f'gat 1000 {key()}\r\n'.encode(), listed_end),
		(lambda: f'set {key("n")} 0 0 2\r\n17\r\n'.encode(), line_end),
		(lambda: f'incr {key("n")} 3\r\n'.encode(), line_end),
		(lambda: f'delete {key()}\r\n'.encode(), line_end),
		(lambda: f'mg {key()} v f\r\n'.encode(), line_end),
		(lambda: f'ms {key()} {len(value)}\r\n'.encode() + value + b'\r\n', line_end),
		(lambda: b'nonsense\r\n', line_end),
	])
	return text(), end


def echo(rng, ident):
	body = pattern(rng.choice([1, 10, 1000, 20000, 100000]), ident)
	return body, lambda b, at: at + len(body) if len(b) >= at + len(body) else None


class Difference(Exception):
	pass


class Side:
	"""One of the two servers, as one connection sees it."""

	def __init__(self, address, rng, window):
		unix = '/' in address
		self.sock = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
		if window:
			self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
		self.sock.settimeout(PATIENCE)
		self.sock.connect(address if unix else ('127.0.0.1', int(address)))
		self.sock.setblocking(False)
		self.rng, self.sent, self.got, self.end = rng, 0, bytearray(), None
		self.stalled = self.held = 0.0
		self.piece, self.gulp = 1 << 20, 1 << 16

	def push(self, out, now):
		if self.end or self.held > now or self.sent >= len(out):
			return
		most = self.rng.randint(1, self.piece)
		try:
			self.sent += self.sock.send(memoryview(out)[self.sent:self.sent + most])
		except BlockingIOError:
			return
		except (ConnectionResetError, BrokenPipeError):
			self.sent = len(out)
		if self.piece < 1 << 20:
			self.held = now + 0.001

	def pull(self, now):
		try:
			data = self.sock.recv(self.gulp)
		except BlockingIOError:
			return
		except (ConnectionResetError, BrokenPipeError):
			self.end = 'reset'
			return
		if data:
			self.got += data
			if self.gulp < 1 << 16:
				self.stalled = now + 0.001
		else:
			self.end = 'eof'


class Pair:
	"""One client: its requests, and both answers to them."""

	def __init__(self, twin, ident):
		self.twin, self.ident, self.rng = twin, ident, random.Random(f'{twin.seed}.{ident}')
		window = self.rng.choice([0, 0, 2304, 8192])
		self.sides = [Side(a, random.Random(f'{twin.seed}.{ident}.{a}'), window) for a in twin.addresses]
		self.left = self.rng.randint(1, 40)
		self.out, self.ends, self.at, self.same = bytearray(), [], 0, 0
		self.fault, self.limit, self.over, self.shut = None, 0, False, False
		self.moved, self.since = 0, time.monotonic()

	def batch(self):
		"""The next requests, and what goes wrong with them."""
		rng, twin = self.rng, self.twin
		for _ in range(min(rng.choice([1, 1, 2, 5, 16]), self.left)):
			data, end = twin.protocol(rng, self.ident)
			self.out += data
			self.ends.append(end)
			self.left -= 1
			twin.requests += 1
		self.fault = rng.choice([None] * 12 + ['stall', 'slow', 'pieces', 'half', 'reset', 'reset'])
		if self.fault:
			twin.faults[self.fault] = twin.faults.get(self.fault, 0) + 1
		now = time.monotonic()
		for s in self.sides:
			s.piece, s.gulp = 1 << 20, 1 << 16
			if self.fault == 'stall' and s.rng.random() < 0.7:
				s.stalled = now + s.rng.uniform(0.005, 0.1)
			elif self.fault == 'slow':
				s.gulp = s.rng.choice([1000, 5000, 20000])
			elif self.fault == 'pieces':
				s.piece = s.rng.choice([1, 7, 100]) * (1 + len(self.out) // 2000)
		self.limit = self.at + rng.choice([0, 1, 500, 5000, 50000])

	def differ(self, what):
		a, b = (bytes(s.got) for s in self.sides)
		at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
		raise Difference(f'connection {self.ident}: {what}; fault {self.fault}; {len(a)} bytes {self.sides[0].end} and {len(b)} bytes '
			f'{self.sides[1].end}, first difference at {at}: {a[max(0, at - 40):at + 40]!r} and {b[max(0, at - 40):at + 40]!r}')

	def compare(self, n):
		"""The first n bytes of both."""
		a, b = (s.got[self.same:n] for s in self.sides)
		if a == b:
			self.same = n
			return
		# From where no date is cut; what is behind the last place where one may begin is looked at again.
		begin = min(self.at, self.same)
		a, b = (DATE.sub(rb'\1D', bytes(s.got[begin:n])) for s in self.sides)
		if a != b and a[:-48] != b[:-48]:
			self.differ('the answers differ')
		if a == b:
			self.same = n

	def drop(self, reset):
		for s in self.sides:
			if reset:
				s.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
			s.sock.close()
		self.over = True

	def step(self, now):
		sides, common = self.sides, min(len(s.got) for s in self.sides)
		moved = sum(s.sent + len(s.got) for s in sides)
		if moved != self.moved:
			self.moved, self.since = moved, now
		elif now - self.since > PATIENCE:
			self.differ('no answer')
		self.compare(common)
		while self.ends:
			at = self.ends[0](sides[0].got, self.at)
			if at is None or len(sides[1].got) < at:
				break
			self.at = at
			self.ends.pop(0)
		if self.fault == 'reset' and (common >= self.limit or not self.ends) and all(s.sent >= len(self.out) for s in sides):
			self.drop(True)
		elif self.fault == 'half' and not self.shut and all(s.sent >= len(self.out) for s in sides):
			self.shut = True
			for s in sides:
				try:
					s.sock.shutdown(socket.SHUT_WR)
				except OSError:
					pass
		elif all(s.end for s in sides):
			if self.shut and self.ends:
				# Some servers drop what they have not sent when they see the end: a prefix is all that can be asked for.
				self.drop(False)
				return
			self.compare(max(len(s.got) for s in sides))
			if len(sides[0].got) != len(sides[1].got) or sides[0].end != sides[1].end:
				self.differ('the ends differ')
			if self.ends:
				self.differ('both closed before all was answered')
			self.drop(False)
		elif not self.ends and not self.shut:
			if self.same < common:
				self.differ('the answers differ')
			if any(len(s.got) > self.at for s in sides):
				self.differ('more than was asked for')
			if self.left and not any(s.end for s in sides):
				self.batch()
			elif not self.left and self.rng.random() < 0.5:
				self.drop(False)
			else:
				self.fault, self.shut = 'half', True
				for s in sides:
					if not s.end:
						s.sock.shutdown(socket.SHUT_WR)


class Twin:
	def __init__(self, protocol, addresses, requests, seed):
		self.protocol, self.addresses, self.seed, self.wanted = protocol, addresses, seed, requests
		self.requests, self.faults, self.bytes = 0, {}, 0

	def run(self):
		pairs, n = [], 0
		while pairs or self.requests < self.wanted:
			while len(pairs) < 40 and self.requests < self.wanted:
				pairs.append(Pair(self, n))
				n += 1
				pairs[-1].step(time.monotonic())
			now = time.monotonic()
			owner = {}
			read, write = [], []
			for p in pairs:
				for s in p.sides:
					owner[s.sock] = p, s
					if not s.end and s.stalled <= now:
						read.append(s.sock)
					if not s.end and s.sent < len(p.out) and s.held <= now:
						write.append(s.sock)
			readable, writable, _ = select.select(read, write, [], 0.002)
			now = time.monotonic()
			for sock in writable:
				p, s = owner[sock]
				s.push(p.out, now)
			for sock in readable:
				owner[sock][1].pull(now)
			for p in pairs:
				p.step(now)
			self.bytes += sum(len(p.sides[0].got) for p in pairs if p.over)
			pairs = [p for p in pairs if not p.over]
		return n


def main():
	seed = int(sys.argv[5]) if len(sys.argv) > 5 and sys.argv[5] else random.SystemRandom().randrange(10 ** 6)
	protocol = {'http': http, 'redis': redis, 'memcached': memcached, 'echo': echo}[sys.argv[1]]
	twin = Twin(protocol, sys.argv[2:4], int(sys.argv[4]), seed)
	try:
		n = twin.run()
	except (Difference, OSError) as e:
		sys.exit(f'seed {seed}: after {twin.requests} requests: {type(e).__name__}: {e}')
	print(f'	twin {sys.argv[1]}: seed {seed}, {twin.requests} requests on {n} connections, {twin.bytes} bytes from each, faults '
		+ ', '.join(f'{k} {v}' for k, v in sorted(twin.faults.items())))


if __name__ == '__main__':
	main()
