# SPDX-License-Identifier: MIT
"""echo-talk.py - dialogues with a server that sends back what it gets; talk.py says how they are run."""
import time

from talk import dialogue, main, pattern


@dialogue
def echo(t):
	c = t.open('c')
	for n in (1, 100, 8192, 100000, 2000000):
		c.send(pattern(n, n)).take(n)
	c.send(pattern(300, 'byte'), piece=1).take(300)
	c.shut().eof()


@dialogue
def slow(t):
	c = t.open('c', rcvbuf=2304)
	c.send(pattern(50000, 's'))
	time.sleep(0.05)
	c.slow(20000, 1000, 0.001).take(50000)
	c.send(pattern(300000, 't')).take(300000)
	c.shut().eof()


@dialogue
def aborts(t):
	for i in range(5):
		c = t.open(f'c{i}', rcvbuf=4096)
		c.stalled = True
		c.send(pattern(30000, i))
		c.reset()
	t.open('last').send(b'x').shut().eof()


main()
