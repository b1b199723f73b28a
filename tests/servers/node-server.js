// SPDX-License-Identifier: MIT
// node-server.js PORT FOLDER [WORKERS] - an HTTP server of Node.js: files of the folder, POST /echo answered with the body, /chunked, /header-body;
// with WORKERS a cluster. SIGINT and SIGTERM: stops listening, ends what is being served, then exits with 0.
'use strict';
const cluster = require('cluster');
const fs = require('fs');
const http = require('http');
const path = require('path');
const [port, folder, workers] = process.argv.slice(2);

function serve(req, res) {
	const name = req.url.slice(1);
	if (req.method === 'POST') {
		// Chunks are as they were read: such a body is sent when it is whole.
		const length = req.headers['content-length'], parts = [];
		req.on('error', () => res.destroy());
		if (length === undefined) {
			req.on('data', (part) => parts.push(part));
			req.on('end', () => res.end(Buffer.concat(parts)));
		} else {
			res.writeHead(200, {'Content-Type': 'text/x', 'Content-Length': length});
			req.pipe(res);
		}
	} else if (name.startsWith('chunked/')) {
		// Some chunks in one go, some later.
		const n = Number(name.slice(8));
		for (let i = 0; i < n; i++)
			res.write(`chunk ${i} `.repeat(i % 50));
		setImmediate(() => res.end('last'));
	} else if (!/^[\w+-]+$/.test(name) || !fs.existsSync(path.join(folder, name)) || fs.statSync(path.join(folder, name)).isDirectory()) {
		res.writeHead(404, {'Content-Length': 5});
		res.end(req.method === 'HEAD' ? undefined : 'none\n');
	} else if (fs.statSync(path.join(folder, name)).size <= 65536) {
		const body = fs.readFileSync(path.join(folder, name));
		res.writeHead(200, {'Content-Length': body.length});
		if (req.method !== 'HEAD')
			res.write(body);
		res.end();
	} else {
		res.writeHead(200, {'Content-Length': fs.statSync(path.join(folder, name)).size});
		if (req.method === 'HEAD')
			res.end();
		else
			fs.createReadStream(path.join(folder, name)).on('error', () => res.destroy()).pipe(res);
	}
}

if (workers && cluster.isPrimary) {
	for (let i = 0; i < Number(workers); i++)
		cluster.fork();
	for (const sig of ['SIGINT', 'SIGTERM'])
		process.on(sig, () => Object.values(cluster.workers).forEach((w) => w.kill('SIGTERM')));
} else {
	const server = http.createServer({keepAliveTimeout: 60000}, serve);
	server.listen(Number(port), '127.0.0.1');
	for (const sig of ['SIGINT', 'SIGTERM'])
		process.on(sig, () => {
			server.close(() => process.exit(0));
			server.closeIdleConnections?.();
			setTimeout(() => process.exit(0), 2000).unref();
		});
}
