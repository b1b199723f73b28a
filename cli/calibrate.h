/* SPDX-License-Identifier: MIT */
/* calibrate.h - measure the cost profile of this host. */
#ifndef ESCA_CLI_CALIBRATE_H
#define ESCA_CLI_CALIBRATE_H

#include <analyzer/cost.h>

/**
 * calibrate() - fill @c by measuring, in about half a second, on loopback sockets and a temporary
 * file. A part that this host does not allow stays 0. Return: 0, or negative errno if not even a
 * crossing could be timed.
 */
int calibrate(struct cost *c);

/**
 * calibrate_backends() - only what decides between the backends: crossing, uring, uring_enter,
 * uring_op; in a few milliseconds. The rest of @c is 0. Return: as calibrate().
 */
int calibrate_backends(struct cost *c);

/** calibrate_crossing() - only the crossing, in a few milliseconds; 0 if it cannot be timed. */
double calibrate_crossing(void);

#endif
