#!/bin/bash
# SPDX-License-Identifier: MIT
# twin-self.sh - twin.py itself: two equal servers are found equal, and each kind of difference between two is found and named with its seed.
# shellcheck disable=SC2034
needs="/usr/bin/python3:python3"
# shellcheck source=tests/servers/servers-lib.sh
. "$top_srcdir/tests/servers/servers-lib.sh"

cat >"$dir/echo.py" <<'END'
import asyncio, sys
flaw, port = sys.argv[1], int(sys.argv[2])
count = 0


async def serve(reader, writer):
	global count
	try:
		while data := await reader.read(50000):
			before, count = count, count + len(data)
			if before // 1000000 < count // 1000000:
				if flaw == 'flip':
					data = data[:-1] + bytes([data[-1] ^ 1])
				elif flaw == 'lose':
					data = data[:-1]
				elif flaw == 'double':
					data += data[-1:]
				elif flaw == 'close':
					break
				elif flaw == 'hang':
					continue
			writer.write(data)
			await writer.drain()
	except ConnectionError:
		pass
	writer.close()


async def main():
	async with await asyncio.start_server(serve, '127.0.0.1', port, backlog=500) as server:
		await server.serve_forever()

asyncio.run(main())
END

start() # FLAW
{
	run=$dir/$1
	mkdir -p "$run"
	port=$(free_port) || exit 1
	launch vanilla 'listens $port' /usr/bin/python3 "$dir/echo.py" "$1" "$port"
}

twin() # PORT PORT SEED
{
	ESCA_TEST_PATIENCE=3 PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$top_srcdir/tests/servers/twin.py" echo "$1" "$2" 500 "$3" >"$dir/said" 2>&1
}

start none
right=$port
keep
start none-too
twin "$right" "$port" 7 || fail "two equal servers are found to differ: $(cat "$dir/said")"
grep -q 'seed 7' "$dir/said" || fail "the seed is not printed"
stop TERM
for flaw in flip lose double close hang; do
	start "$flaw"
	twin "$right" "$port" 11 && fail "$flaw is not found"
	grep -q '^seed 11: .*Difference' "$dir/said" || fail "$flaw: not said how they differ: $(cat "$dir/said")"
	echo "$flaw: $(cut -c1-120 "$dir/said")"
	stop TERM
done
take_up
stop TERM
done_testing
