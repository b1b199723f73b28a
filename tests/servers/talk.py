# SPDX-License-Identifier: MIT
"""
talk.py - dialogues with a server over raw sockets, several connections in each, every byte that comes back written down.

A program of dialogues imports this, marks functions with @dialogue and ends in main(). It is run as
	PROGRAM ADDRESS OUT COPIES [NAME...]
ADDRESS is a port of 127.0.0.1 or the path of a unix socket, with "tls:" before it for TLS. COPIES of each dialogue run at the same time,
each in a thread; with 0 one after the other, once. Each connection leaves the file OUT/DIALOGUE.COPY.CONNECTION: what was received, then
how it ended; OUT/answered makes the folder one that compare() of servers-lib.sh looks at. Exit status 1 if something hung.
"""
import os
import re
import select
import socket
import ssl
import struct
import sys
import threading
import time

DEADLINE = 20
dialogues = []


def dialogue(func):
	dialogues.append(func)
	return func


class Hang(Exception):
	pass


class Conn:
	"""One connection. Reading never stops while something is sent, unless it is told to; what was read is in self.got."""

	def __init__(self, talk, name, rcvbuf):
		self.talk, self.name = talk, name
		self.got, self.seen, self.end, self.stalled = bytearray(), 0, None, False
		address = talk.address
		tls = address.startswith('tls:')
		address = address.removeprefix('tls:')
		unix = '/' in address
		self.sock = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
		if rcvbuf:
			self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
		self.sock.settimeout(DEADLINE)
		self.sock.connect(address if unix else ('127.0.0.1', int(address)))
		if not unix:
			self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
		if tls:
			context = ssl.create_default_context()
			context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
			context.set_alpn_protocols(['http/1.1'])
			self.sock = context.wrap_socket(self.sock)
		self.sock.setblocking(False)

	def finish(self, how):
		self.end = self.end or how
		self.sock.close()

	def pull(self, most=65536):
		"""Read once. False if there is nothing to read now."""
		try:
			data = self.sock.recv(most)
		except (BlockingIOError, ssl.SSLWantReadError):
			return False
		except ssl.SSLEOFError:
			data = b''
		except (ConnectionResetError, BrokenPipeError):
			self.finish('reset by server')
			return False
		if not data:
			self.finish('eof')
			return False
		self.got += data
		return True

	def wait(self, write=False, until=None):
		limit = min(until or 1e18, self.talk.deadline)
		if self.talk.deadline < time.monotonic():
			raise Hang(f'{self.name} hangs after {len(self.got)} bytes: {bytes(self.got[-60:])!r}')
		if isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():
			return
		select.select([] if self.stalled else [self.sock], [self.sock] if write else [], [], max(0, limit - time.monotonic()))

	def send(self, data, piece=None):
		"""Send it all, in pieces of that many bytes a moment apart if asked for."""
		if isinstance(data, str):
			data = data.encode('latin-1')
		view = memoryview(data)
		while view and not self.end:
			try:
				view = view[self.sock.send(view[:piece] if piece else view):]
				if piece:
					time.sleep(0.0005)
			except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
				self.wait(write=True)
				if not self.stalled:
					self.pull()
			except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
				self.read(None)
		return self

	def read(self, enough, most=65536):
		"""Read until enough(bytes not yet seen) gives how many of them belong to the answer, or the connection ends. The answer."""
		while True:
			n = enough(self.got[self.seen:]) if enough else None
			if n is not None or self.end:
				break
			if not self.pull(most) and not self.end:
				self.wait()
		n = len(self.got) - self.seen if n is None else n
		self.seen += n
		return bytes(self.got[self.seen - n:self.seen])

	def take(self, n):
		return self.read(lambda b: n if len(b) >= n else None)

	def until(self, pattern):
		def enough(b):
			at = b.find(pattern)
			return None if at < 0 else at + len(pattern)
		return self.read(enough)

	def eof(self):
		self.read(None)
		return self

	def slow(self, total, piece, pause):
		"""Read that many bytes more, so many at a time with a pause in between."""
		want = len(self.got) + total
		while len(self.got) < want and not self.end:
			if not self.pull(min(piece, want - len(self.got))) and not self.end:
				self.wait()
			time.sleep(pause)
		return self

	def secret(self, ask, enough):
		"""What differs from run to run: asked, answered, and not written down."""
		self.send(ask)
		before = self.seen
		answer = self.read(enough)
		del self.got[before:before + len(answer)]
		self.seen = before
		return answer

	def shut(self):
		self.sock.shutdown(socket.SHUT_WR)
		return self

	def reset(self):
		self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
		self.finish('reset')

	def close(self):
		self.finish('closed')


class Talk:
	"""What a dialogue gets: open() for connections, key() for names that no other dialogue, and not the same one in another folder, uses."""

	def __init__(self, address, out, name, copy):
		self.address, self.out, self.name, self.copy = address, out, name, copy
		self.deadline, self.conns = time.monotonic() + DEADLINE, []

	def open(self, name, rcvbuf=0):
		conn = Conn(self, name, rcvbuf)
		self.conns.append(conn)
		return conn

	def key(self, name):
		return f'{os.path.basename(self.out)}.{self.name}.{self.copy}.{name}'

	def note(self, name, text):
		"""A fact that must be equal as well."""
		with open(f'{self.out}/{self.name}.{self.copy}.note-{name}', 'w', encoding='latin-1') as f:
			f.write(f'{text}\n')

	def write_down(self):
		for c in self.conns:
			c.finish('open')
			with open(f'{self.out}/{self.name}.{self.copy}.{c.name}', 'wb') as f:
				f.write(re.sub(rb'(\r\n[Dd]ate: )[^\r]*', rb'\1D', bytes(c.got)) + b'\n-- ' + c.end.encode() + b'\n')


def pattern(n, seed):
	"""n bytes that depend on the seed and on their place."""
	block = b''.join(b'%06d%-10.10s' % (i, str(seed).encode()) for i in range(min(n // 16 + 1, 65536)))
	return (block * (n // len(block) + 1))[:n]


def main():
	address, out, copies, names = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
	bad = []

	def run(func, copy):
		talk = Talk(address, out, func.__name__, copy)
		try:
			func(talk)
		except (Hang, OSError, AssertionError, ValueError) as e:
			bad.append(f'{func.__name__}.{copy}: {type(e).__name__}: {e}')
		talk.write_down()

	wanted = [d for d in dialogues if d.__name__ in names] if names else [d for d in dialogues if not getattr(d, 'special', False)]
	if names and len(wanted) != len(set(names)):
		sys.exit(f'no such dialogue among {names}')
	with open(f'{out}/answered', 'w', encoding='ascii'):
		pass
	if copies:
		threads = [threading.Thread(target=run, args=(d, c + 1)) for c in range(copies) for d in wanted]
		for t in threads:
			t.start()
		for t in threads:
			t.join()
	else:
		for d in wanted:
			run(d, 0)
	for line in bad:
		print(line, file=sys.stderr)
	sys.exit(1 if bad else 0)
