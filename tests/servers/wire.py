# SPDX-License-Identifier: MIT
"""wire.py - where a reply ends, in the protocols that the tests speak."""


# Redis

def cmd(*words):
	words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
	return b'*%d\r\n' % len(words) + b''.join(b'$%d\r\n%s\r\n' % (len(w), w) for w in words)


def one_reply(b, at):
	"""Where the reply that begins at `at` ends, None if it is not all there."""
	eol = b.find(b'\r\n', at)
	if eol < 0:
		return None
	kind, n = b[at:at + 1], b[at + 1:eol]
	at = eol + 2
	if kind == b'$':
		if int(n) < 0:
			return at
		return at + int(n) + 2 if len(b) >= at + int(n) + 2 else None
	if kind in b'*~>':
		for _ in range(max(int(n), 0)):
			at = one_reply(b, at)
			if at is None:
				return None
	return at


def replies(n, end=one_reply):
	"""Are there n answers, the end of each of which `end` finds?"""
	def enough(b):
		at = 0
		for _ in range(n):
			at = end(b, at)
			if at is None:
				return None
		return at
	return enough


# HTTP

def answer_end(b, at, head):
	"""Where the answer that begins at `at` ends, None if it is not all there."""
	eoh = b.find(b'\r\n\r\n', at)
	if eoh < 0:
		return None
	lines = bytes(b[at:eoh]).lower().split(b'\r\n')
	status, fields, at = int(lines[0].split()[1]), dict(line.split(b': ', 1) for line in lines[1:]), eoh + 4
	if status // 100 == 1:
		return answer_end(b, at, head)
	if head or status in (204, 304):
		return at
	if fields.get(b'transfer-encoding') == b'chunked':
		while True:
			eol = b.find(b'\r\n', at)
			if eol < 0:
				return None
			n = int(bytes(b[at:eol]), 16)
			at = eol + 2 + n + 2
			if len(b) < at:
				return None
			if not n:
				return at
	at += int(fields.get(b'content-length', 0))
	return at if len(b) >= at else None


def answers(*heads):
	def enough(b):
		at = 0
		for head in heads:
			at = answer_end(b, at, head)
			if at is None:
				return None
		return at
	return enough


# memcached, its text protocol. A reply to get, gat and meta get may have a value; stats and get have several lines.

def line_end(b, at):
	"""One line, with the data block that its head announces."""
	eol = b.find(b'\r\n', at)
	if eol < 0:
		return None
	words = bytes(b[at:eol]).split()
	n = int(words[3]) if words[:1] == [b'VALUE'] else int(words[1]) if words[:1] == [b'VA'] else -1
	at = eol + 2 + (n + 2 if n >= 0 else 0)
	return at if len(b) >= at else None


def listed_end(b, at):
	"""Lines up to one that is END or an error."""
	while True:
		begin = at
		at = line_end(b, at)
		if at is None:
			return None
		if bytes(b[begin:begin + 5]) in (b'END\r\n', b'ERROR', b'CLIEN', b'SERVE'):
			return at
