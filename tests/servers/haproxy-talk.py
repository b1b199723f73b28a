# SPDX-License-Identifier: MIT
"""haproxy-talk.py - dialogues with the control socket of a haproxy; talk.py says how they are run."""
from talk import dialogue, main


@dialogue
def control(t):
	for i, ask in enumerate(('help nonsense', 'show stat', 'disable server back/one', 'show servers state back', 'enable server back/one', 'show errors',
			'show acl', 'set server back/one weight 50%', 'get weight back/one', 'nonsense')):
		c = t.open(f'c{i}')
		c.send(ask + '\n').eof()
		if ask.startswith('show s'):
			# Names and states; the rest are counters and times.
			lines = c.got.decode().split('\n')
			rows = [line.split(',') for line in lines] if ask == 'show stat' else [line.split() for line in lines]
			t.note(f'c{i}', [(r[0], r[1], len(r) > 17 and r[17]) if ask == 'show stat' else r[1:6] for r in rows if len(r) > 5])
			c.got = bytearray()
		elif ask == 'show errors':
			c.got = bytearray()
	# The prompt keeps a connection for several.
	c = t.open('prompt')
	c.send('prompt\n').until(b'> ')
	for ask in 'get weight back/one', 'show acl', 'get weight back/one':
		c.send(ask + '\n').until(b'> ')
	c.send('quit\n').eof()


main()
