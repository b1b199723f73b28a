# SPDX-License-Identifier: MIT
"""
python-server.py KIND PORT FOLDER - a server in Python. KIND: asyncio: HTTP with the files of the folder, POST /echo answered with the body; or
an echo of what comes, by selectors with epoll, poll or select. SIGTERM ends it with 0.
"""
import asyncio
import os
import selectors
import signal
import socket
import sys

kind, port, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]


async def answer(reader, writer):
	head = (await reader.readuntil(b'\r\n\r\n')).decode('latin-1').split('\r\n')
	method, target, version = (head[0].split(' ') + ['', ''])[:3]
	fields = {k.lower(): v for k, v in (line.split(': ', 1) for line in head[1:] if ': ' in line)}
	status, body, name = '200 OK', b'', os.path.join(folder, os.path.basename(target))
	if fields.get('expect') == '100-continue':
		writer.write(b'HTTP/1.1 100 Continue\r\n\r\n')
	if method == 'POST':
		if fields.get('transfer-encoding') == 'chunked':
			while n := int(await reader.readline(), 16):
				body += await reader.readexactly(n)
				await reader.readexactly(2)
			await reader.readline()
		else:
			body = await reader.readexactly(int(fields.get('content-length', 0)))
	elif os.path.isfile(name):
		with open(name, 'rb') as f:
			body = f.read()
	else:
		status, body = '404 Not Found', b'none\n'
	last = fields.get('connection') == 'close' or version != 'HTTP/1.1'
	# Head and body in two writes, as such servers do.
	writer.write(f'HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{"Connection: close" if last else "X-Kept: yes"}\r\n\r\n'.encode())
	if method != 'HEAD' and body:
		writer.write(body)
	await writer.drain()
	return not last


async def connection(reader, writer):
	try:
		while await answer(reader, writer):
			pass
	except (ConnectionError, asyncio.IncompleteReadError, ValueError):
		pass
	finally:
		writer.close()


async def http():
	server = await asyncio.start_server(connection, '127.0.0.1', port, backlog=500)
	over = asyncio.Event()
	for sig in signal.SIGTERM, signal.SIGINT:
		asyncio.get_running_loop().add_signal_handler(sig, over.set)
	await over.wait()
	server.close()


def echo(selector):
	signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
	listener = socket.create_server(('127.0.0.1', port), backlog=500)
	listener.setblocking(False)
	selector.register(listener, selectors.EVENT_READ, None)
	while True:
		for key, events in selector.select(1):
			sock, waiting = key.fileobj, key.data
			if sock is listener:
				new, _ = listener.accept()
				new.setblocking(False)
				selector.register(new, selectors.EVENT_READ, bytearray())
				continue
			try:
				if events & selectors.EVENT_READ:
					data = sock.recv(8192)
					if not data and not waiting:
						raise ConnectionError
					waiting += data
				if waiting:
					del waiting[:sock.send(waiting)]
				# While it owes something it reads no more.
				selector.modify(sock, selectors.EVENT_WRITE if waiting else selectors.EVENT_READ, waiting)
			except BlockingIOError:
				selector.modify(sock, selectors.EVENT_WRITE, waiting)
			except ConnectionError:
				selector.unregister(sock)
				sock.close()


if kind == 'asyncio':
	asyncio.run(http())
else:
	echo({'epoll': selectors.EpollSelector, 'poll': selectors.PollSelector, 'select': selectors.SelectSelector}[kind]())
